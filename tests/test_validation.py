"""Values that users give: returned in their normal form, or refused by their option's name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from relaybox_hooks import ConfigError, RetryPolicy
from relaybox_hooks.validation import check_int, check_kind, check_overflow, to_seconds, to_utc


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (0.25, 0.25), (timedelta(minutes=2), 120.0), (float("inf"), float("inf"))],
)
def test_a_duration_is_seconds_or_a_timedelta(value: Any, expected: float) -> None:
    assert to_seconds("x", value) == expected


def test_no_duration_is_without_end_where_that_is_allowed() -> None:
    assert to_seconds("x", None, none=True) == float("inf")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (0, "more than 0 seconds"),
        (-1, "more than 0 seconds"),
        (timedelta(seconds=-1), "more than 0 seconds"),
        (timedelta(0), "more than 0 seconds"),
        (float("nan"), "give seconds or a timedelta"),
        ("5", "give seconds or a timedelta"),
        (True, "give seconds or a timedelta"),
        (None, "give seconds or a timedelta"),
    ],
)
def test_what_is_no_duration_is_refused(value: Any, advice: str) -> None:
    with pytest.raises(ConfigError, match=f"^limit=.*{advice}") as caught:
        to_seconds("limit", value)
    assert caught.value.option == "limit"


def test_zero_seconds_only_where_they_make_sense() -> None:
    assert to_seconds("x", 0, zero=True) == 0
    with pytest.raises(ConfigError, match="at least 0 seconds"):
        to_seconds("x", -0.1, zero=True)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_a_count_is_a_whole_number_of_at_least_one(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^n=.*whole number of at least 1") as caught:
        check_int("n", value)
    assert caught.value.value == value


def test_an_overflow_policy_is_one_of_four() -> None:
    with pytest.raises(ConfigError, match="'wait', 'drop_oldest', 'drop_newest', 'raise'"):
        check_overflow("overflow", "drop")  # type: ignore[arg-type]


def test_a_moment_is_kept_in_utc() -> None:
    behind = timezone(timedelta(hours=-7))
    moment = to_utc("since", datetime(2026, 3, 1, 5, tzinfo=behind))
    assert moment == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (datetime(2026, 3, 1), "give a datetime with a time zone"),  # noqa: DTZ001
        ("2026-03-01", "give a datetime with a time zone"),
        (1_700_000_000, "give a datetime with a time zone"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "not one of 1 to 9999"),
    ],
)
def test_what_is_no_moment_is_refused(value: Any, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice) as caught:
        to_utc("since", value)
    assert caught.value.option == "since"


def test_a_value_of_its_kind_or_none_is_taken() -> None:
    check_kind("retry", RetryPolicy(), RetryPolicy)
    check_kind("retry", None, RetryPolicy)
    with pytest.raises(ConfigError, match="give a RetryPolicy or None"):
        check_kind("retry", 5, RetryPolicy)
