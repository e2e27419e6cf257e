"""Validation of option values.

Each function returns the value in its normal form or raises a ConfigError that names the option.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from relaybox_hooks.errors import ConfigError

#: Policy of a full lane for the next event.
Overflow: TypeAlias = Literal["wait", "drop_oldest", "drop_newest", "raise"]

OVERFLOWS: Final[tuple[Overflow, ...]] = ("wait", "drop_oldest", "drop_newest", "raise")


def to_seconds(
    option: str, value: float | timedelta | None, *, zero: bool = False, none: bool = False
) -> float:
    """Return ``value`` in seconds.

    Args:
        option: option name to use in errors.
        value: seconds or a timedelta.
        zero: allow 0.
        none: allow ``None``, which returns ``inf``.

    Raises:
        ConfigError: ``value`` is not a duration, is negative, or is zero without ``zero``.
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
    """Return ``value`` if it is an int of at least ``least``.

    Raises:
        ConfigError: ``value`` is not an int, or is less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(option, value, f"give a whole number of at least {least}")
    return value


def to_utc(option: str, value: datetime) -> datetime:
    """Return an aware datetime in UTC.

    Raises:
        ConfigError: ``value`` is not a datetime, has no time zone, or is out of range in UTC.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigError(option, value, "give a datetime with a time zone: datetime.now(UTC)")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ConfigError(option, value, "in UTC its year is not one of 1 to 9999") from None


def check_overflow(option: str, value: Overflow) -> Overflow:
    """Return ``value`` if it is one of ``OVERFLOWS``.

    Raises:
        ConfigError: ``value`` is another one.
    """
    if value not in OVERFLOWS:
        raise ConfigError(option, value, f"choose one of {', '.join(map(repr, OVERFLOWS))}")
    return value


def check_kind(option: str, value: Any, kind: type) -> None:
    """Raise ConfigError unless ``value`` is ``None`` or an instance of ``kind``."""
    if value is not None and not isinstance(value, kind):
        raise ConfigError(option, value, f"give a {kind.__name__} or None")
