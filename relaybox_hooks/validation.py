"""Checks of the values that users give: each returns the value in its normal form or names it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from relaybox_hooks.errors import ConfigError

#: What a full lane does with one more event.
Overflow: TypeAlias = Literal["wait", "drop_oldest", "drop_newest", "raise"]

OVERFLOWS: Final[tuple[Overflow, ...]] = ("wait", "drop_oldest", "drop_newest", "raise")


def to_seconds(
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


def check_int(option: str, value: int, *, least: int = 1) -> int:
    """``value`` if it is a whole number of at least ``least``.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(option, value, f"give a whole number of at least {least}")
    return value


def to_utc(option: str, value: datetime) -> datetime:
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


def check_overflow(option: str, value: Overflow) -> Overflow:
    """``value`` if it names a policy.

    Raises:
        ConfigError: it does not.
    """
    if value not in OVERFLOWS:
        raise ConfigError(option, value, f"choose one of {', '.join(map(repr, OVERFLOWS))}")
    return value


def check_kind(option: str, value: Any, kind: type) -> None:
    """Raise ConfigError unless ``value`` is ``None`` or a ``kind``."""
    if value is not None and not isinstance(value, kind):
        raise ConfigError(option, value, f"give a {kind.__name__} or None")
