"""How a delivery is timed, retried and held back: small values, validated when made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.validation import check_int, to_seconds

#: Statuses that say "later": RFC 9110 §15.5.9 and RFC 8470 (408, 425), RFC 6585 (429), and the
#: server errors that a restart or a deployment causes. RelayBox retries 429 and up of these.
RETRY_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


#: Where a webhook's breaker stands.
BreakerState: TypeAlias = Literal["closed", "open", "half-open"]

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"


def _set(policy: Any, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(policy, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long one attempt may take, in seconds (or as ``timedelta``).

    Attributes:
        total: from the start of the attempt to the response's status. RelayBox allows 5 s.
        connect: for the TCP and TLS connection alone; ``None`` leaves it to ``total``.
    """

    total: float | timedelta = 5.0
    connect: float | timedelta | None = None

    def __post_init__(self) -> None:
        _set(self, total=to_seconds("Timeouts.total", self.total))
        if self.connect is not None:
            _set(self, connect=to_seconds("Timeouts.connect", self.connect))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is made again: exponential back-off with jitter.

    The wait before attempt ``n + 1`` is drawn evenly from the upper part of
    ``min(maximum, initial * factor ** (n - 1))`` seconds: with ``jitter=1`` (full jitter) from
    zero up, with ``jitter=0`` it is exactly that.

    Attributes:
        attempts: how many in all, the first included. RelayBox makes 5.
        initial: the first wait's upper end, seconds. RelayBox begins at 0.5 s.
        factor: what it grows by from wait to wait. RelayBox doubles.
        maximum: the longest wait, seconds; a ``Retry-After`` is capped to it too.
        jitter: which share of the wait is random, 0 to 1.
        statuses: the HTTP statuses that are tried again.
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
        """Seconds until the next attempt, or ``None`` when the attempts are used up.

        Args:
            attempts: how many were made so far.
            retry_after: what the receiver asked for, seconds; it is never undercut, but capped.
            random: draws from [0, 1).
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


#: The retries of deliveries that a journal keeps: ten attempts over three days on average, as
#: the Standard Webhooks specification recommends, the first within seconds.
DURABLE_RETRY: Final = RetryPolicy(attempts=10, initial=5, factor=6, maximum=86_400, jitter=0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a webhook whose attempts keep failing is left alone for a while.

    Attributes:
        failures: this many attempts failing in a row open the breaker.
        cooldown: seconds it stays open before one probe is let through.
        maximum: each failed probe doubles the cooldown up to this many seconds.
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
    """How long a journal keeps what is settled, and what nobody asks for.

    Attributes:
        delivered: seconds that the log keeps a delivery that arrived.
        dead: seconds that a dead letter is kept for replay.
        count: how many of each are kept at the most; the oldest go first.
        unregistered: seconds that deliveries wait for a webhook that is not registered again
            after a restart, from when it was last seen; then they are dead letters.
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
