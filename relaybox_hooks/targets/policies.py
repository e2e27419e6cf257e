"""How a delivery is timed, retried and held back: small values, validated when made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from relaybox_hooks.errors import ConfigError

#: What a full lane does with one more event.
Overflow: TypeAlias = Literal["wait", "drop_oldest", "drop_newest", "raise"]

OVERFLOWS: Final[tuple[Overflow, ...]] = ("wait", "drop_oldest", "drop_newest", "raise")

#: Statuses that say "later": RFC 9110 §15.5.9 and RFC 8470 (408, 425), RFC 6585 (429), and the
#: server errors that a restart or a deployment causes. RelayBox retries 429 and up of these.
RETRY_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


def seconds(
    option: str, value: float | timedelta | None, *, zero: bool = False, none: bool = False
) -> float:
    """``value`` as seconds; ``inf`` for ``None`` where ``none`` allows it.

    Raises:
        ConfigError: not a duration, negative, or zero where ``zero`` does not allow it.
    """
    if value is None and none:
        return float("inf")
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ConfigError(option, value, "give seconds or a timedelta")
    if value < 0 or (value == 0 and not zero):
        raise ConfigError(option, value, f"must be {'at least' if zero else 'more than'} 0 seconds")
    return float(value)


def count(option: str, value: int, *, least: int = 1) -> int:
    """``value`` if it is a whole number of at least ``least``.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(option, value, f"give a whole number of at least {least}")
    return value


def moment(option: str, value: datetime) -> datetime:
    """``value`` in UTC.

    Raises:
        ConfigError: it is no moment: no datetime, or without a time zone.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigError(option, value, "give a datetime with a time zone: datetime.now(UTC)")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ConfigError(option, value, "in UTC its year is not one of 1 to 9999") from None


def overflow_policy(option: str, value: Overflow) -> Overflow:
    """``value`` if it names a policy.

    Raises:
        ConfigError: it does not.
    """
    if value not in OVERFLOWS:
        raise ConfigError(option, value, f"choose one of {', '.join(map(repr, OVERFLOWS))}")
    return value


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
        _set(self, total=seconds("Timeouts.total", self.total))
        if self.connect is not None:
            _set(self, connect=seconds("Timeouts.connect", self.connect))


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
        count("RetryPolicy.attempts", self.attempts)
        _set(
            self,
            initial=seconds("RetryPolicy.initial", self.initial, zero=True),
            maximum=seconds("RetryPolicy.maximum", self.maximum, zero=True),
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
        initial = seconds("initial", self.initial, zero=True)
        maximum = seconds("maximum", self.maximum, zero=True)
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
        count("BreakerPolicy.failures", self.failures)
        cooldown = seconds("BreakerPolicy.cooldown", self.cooldown)
        maximum = seconds("BreakerPolicy.maximum", self.maximum)
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
            value = seconds(f"RetentionPolicy.{option}", getattr(self, option), zero=True)
            _set(self, **{option: value})
        count("RetentionPolicy.count", self.count, least=0)
