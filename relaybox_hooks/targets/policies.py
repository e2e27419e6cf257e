"""Policies of a delivery: timeouts, retries, breaker and retention; validated on creation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.validation import check_int, to_seconds

#: Statuses of temporary failures: 408 (RFC 9110 §15.5.9), 425 (RFC 8470 §5.2), 429 (RFC 6585
#: §4), and server errors that a restart or deployment causes. RelayBox retries 429 and above.
RETRY_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


#: State of a webhook's breaker.
BreakerState: TypeAlias = Literal["closed", "open", "half-open"]

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"


def _set(policy: Any, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(policy, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts of one attempt, in seconds or as ``timedelta``.

    Attributes:
        total: from the start of the attempt to the response's status. RelayBox allows 5 s.
        connect: for the TCP and TLS handshakes; ``None`` for no limit except ``total``.

    Raises:
        ConfigError: a value is not a positive duration.
    """

    total: float | timedelta = 5.0
    connect: float | timedelta | None = None

    def __post_init__(self) -> None:
        _set(self, total=to_seconds("Timeouts.total", self.total))
        if self.connect is not None:
            _set(self, connect=to_seconds("Timeouts.connect", self.connect))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Schedule of retries: exponential back-off with jitter.

    The delay before attempt ``n + 1`` is ``min(maximum, initial * factor ** (n - 1))`` seconds,
    of which the share ``jitter`` is random (uniform): with ``jitter=1`` (full jitter) the delay
    is between zero and that value, with ``jitter=0`` exactly that value.

    Attributes:
        attempts: maximum number of attempts, the first included. RelayBox makes 5.
        initial: upper bound of the first delay, seconds. RelayBox starts at 0.5 s.
        factor: growth of the upper bound per retry. RelayBox doubles.
        maximum: longest delay, seconds; also caps ``Retry-After``.
        jitter: random share of the delay, 0 to 1.
        statuses: HTTP statuses to retry.

    Raises:
        ConfigError: a value is invalid; ``option`` is its name.
    """

    attempts: int = 5
    initial: float | timedelta = 0.5
    factor: float = 2.0
    maximum: float | timedelta = 60.0
    jitter: float = 1.0
    statuses: frozenset[int] | Iterable[int] = RETRY_STATUSES

    def __post_init__(self) -> None:
        check_int("RetryPolicy.attempts", self.attempts)
        _set(
            self,
            initial=to_seconds("RetryPolicy.initial", self.initial, zero=True),
            maximum=to_seconds("RetryPolicy.maximum", self.maximum, zero=True),
            statuses=frozenset(self.statuses),
        )
        if not isinstance(self.factor, int | float) or not 1 <= self.factor < float("inf"):
            raise ConfigError("RetryPolicy.factor", self.factor, "give a number of at least 1")
        _set(self, factor=float(self.factor))
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter <= 1:
            raise ConfigError("RetryPolicy.jitter", self.jitter, "give a share from 0 to 1")
        for status in self.statuses:
            if not isinstance(status, int) or not 300 <= status <= 599 or status == 410:
                raise ConfigError(
                    "RetryPolicy.statuses",
                    status,
                    "give statuses from 300 to 599; 2xx delivers and 410 disables the webhook",
                )

    def delay(
        self, attempts: int, retry_after: float | None, random: Callable[[], float]
    ) -> float | None:
        """Return the seconds until the next attempt, ``None`` after the last attempt.

        Args:
            attempts: number of attempts made so far.
            retry_after: value of ``Retry-After``, seconds; lower bound of the delay, itself
                capped to ``maximum``.
            random: returns a float in [0, 1).
        """
        if attempts >= self.attempts:
            return None
        initial = to_seconds("initial", self.initial, zero=True)
        maximum = to_seconds("maximum", self.maximum, zero=True)
        try:
            ceiling = min(maximum, initial * self.factor ** (attempts - 1))
        except OverflowError:  # a large factor, hundreds of attempts
            ceiling = maximum if initial else 0.0
        wait = ceiling * (1 - self.jitter * random())
        if retry_after is not None:
            wait = max(wait, min(retry_after, maximum))
        return wait


#: Default retries of deliveries in a journal: ten attempts over three days on average, as the
#: Standard Webhooks specification recommends, the first retry within seconds.
DURABLE_RETRY: Final = RetryPolicy(attempts=10, initial=5, factor=6, maximum=86_400, jitter=0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """Circuit breaker of a webhook whose attempts keep failing.

    Attributes:
        failures: number of consecutive failed attempts that opens the breaker.
        cooldown: seconds that it stays open before it is half-open and allows one probe.
        maximum: upper bound of the cooldown, seconds; each failed probe doubles it.

    Raises:
        ConfigError: a value is invalid; ``option`` is its name.
    """

    failures: int = 10
    cooldown: float | timedelta = 5.0
    maximum: float | timedelta = 60.0

    def __post_init__(self) -> None:
        check_int("BreakerPolicy.failures", self.failures)
        cooldown = to_seconds("BreakerPolicy.cooldown", self.cooldown)
        maximum = to_seconds("BreakerPolicy.maximum", self.maximum)
        _set(self, cooldown=cooldown, maximum=maximum)
        if maximum < cooldown:
            raise ConfigError(
                "BreakerPolicy.maximum", self.maximum, "must not be below the cooldown"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """Retention of delivered, dead and unregistered deliveries in a journal.

    Attributes:
        delivered: seconds that the log keeps a successful delivery.
        dead: seconds that a dead letter is kept for replay.
        count: maximum number of each; the oldest are deleted first.
        unregistered: seconds after which pending deliveries of a webhook that was not
            registered again after a restart become dead letters; measured from the last time
            it was registered.

    Raises:
        ConfigError: a value is invalid; ``option`` is its name.
    """

    delivered: float | timedelta = timedelta(days=1)
    dead: float | timedelta = timedelta(days=30)
    count: int = 100_000
    unregistered: float | timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        for option in ("delivered", "dead", "unregistered"):
            value = to_seconds(f"RetentionPolicy.{option}", getattr(self, option), zero=True)
            _set(self, **{option: value})
        check_int("RetentionPolicy.count", self.count, least=0)
