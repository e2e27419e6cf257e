"""When another attempt is made: pure arithmetic, told the time and given the dice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import STEADY

from relaybox_hooks.outcome import (
    Outcome,
    Verdict,
    next_delay,
    of_status,
    parse_retry_after,
)
from relaybox_hooks.targets.policies import RETRY_STATUSES, RetryPolicy

NOW = datetime(2024, 10, 22, 13, 15, 8, tzinfo=UTC)


def never() -> float:
    raise AssertionError("no dice were to be rolled")


def lowest() -> float:
    """The draw that makes full jitter wait longest: nothing is taken off."""
    return 0.0


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("  7\t", 7.0),
        ("0000000000005", 5.0),
        ("999999999", 999_999_999.0),
    ],
)
def test_retry_after_in_seconds(text: str, seconds: float) -> None:
    assert parse_retry_after(text, NOW.timestamp()) == seconds


@pytest.mark.parametrize("digits", [10, 400, 5000, 8000])
def test_a_huge_retry_after_stays_huge_and_is_capped_by_the_policy(digits: int) -> None:
    wait = parse_retry_after("9" * digits, NOW.timestamp())
    assert wait is not None
    assert wait >= 999_999_999
    assert STEADY.delay(1, wait, lowest) == 60.0


@pytest.mark.parametrize(
    "text",
    [
        "Tue, 22 Oct 2024 13:17:08 GMT",
        "Tuesday, 22-Oct-24 13:17:08 GMT",
        "Tue Oct 22 13:17:08 2024",
        "Tue, 22 Oct 2024 13:17:08 -0000",
        "Tue, 22 Oct 2024 13:17:08",
        "Tue, 22 Oct 2024 15:17:08 +0200",
    ],
    ids=["IMF-fixdate", "RFC 850", "asctime", "unknown zone", "no zone", "offset"],
)
def test_retry_after_as_a_date(text: str) -> None:
    """All three forms of RFC 9110 §5.6.7, and what servers send besides; no zone means UTC."""
    assert parse_retry_after(text, NOW.timestamp()) == 120.0


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_a_date_without_a_zone_is_utc_wherever_the_server_stands() -> None:
    assert parse_retry_after("Tue Oct 22 13:17:08 2024", NOW.timestamp()) == 120.0


def test_a_single_digit_day_in_asctime_form() -> None:
    now = datetime(2024, 11, 6, 8, 49, 30, tzinfo=UTC).timestamp()
    assert parse_retry_after("Wed Nov  6 08:49:37 2024", now) == 7.0


def test_a_date_in_the_past_asks_for_nothing() -> None:
    wait = parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", NOW.timestamp())
    assert wait == 0.0
    assert STEADY.delay(1, wait, lowest) == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "0x10",
        "120 seconds",
        "٣",
        "²",
        "Tue, 32 Oct 2024 13:17:08 GMT",
        "Tue, 22 Foo 2024 13:17:08 GMT",
        "Tue, 22 Oct 2024 25:61:61 GMT",
        "Tue, 22 Oct 99999 13:17:08 GMT",
        "2024-10-22T13:17:08Z",
        "\x00",
    ],
)
def test_garbage_asks_for_nothing(text: str) -> None:
    assert parse_retry_after(text, NOW.timestamp()) is None


_DATE_PARTS = st.sampled_from(
    ["Sun", ",", " ", "06", "Nov", "-", "94", "1994", "08:49:37", ":", "GMT", "+9999", "-0000", "("]
)


@given(st.text(max_size=40) | st.lists(_DATE_PARTS, max_size=12).map("".join))
def test_no_text_makes_the_parser_raise_or_go_negative(text: str) -> None:
    """It is the endpoint's text: an exception here would end the lane's worker."""
    wait = parse_retry_after(text, NOW.timestamp())
    assert wait is None or wait >= 0


@given(st.integers(0, 10**10))
def test_any_future_date_is_never_undercut(seconds: int) -> None:
    when = NOW + timedelta(seconds=seconds)
    wait = parse_retry_after(format_datetime(when, usegmt=True), NOW.timestamp())
    assert wait == seconds


# Statuses


def test_what_every_status_comes_to() -> None:
    expected = dict.fromkeys(range(200, 300), "delivered")
    expected |= dict.fromkeys(range(300, 600), "failed")
    expected |= dict.fromkeys((408, 425, 429, 500, 502, 503, 504), "retry")
    expected[410] = "gone"
    outcomes = {status: of_status(status, None, RetryPolicy(), 0.0, "a:1") for status in expected}
    assert {status: outcome.verdict for status, outcome in outcomes.items()} == expected
    assert all(
        (outcome.status, outcome.error, outcome.retry_after, outcome.peer) == (n, None, None, "a:1")
        for n, outcome in outcomes.items()
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_final_and_says_what_to_do(status: int) -> None:
    outcome = of_status(status, "5", RetryPolicy(), 0.0)
    assert outcome.verdict == "failed"
    assert "register the final URL" in str(outcome)


def test_a_policy_chooses_its_own_statuses() -> None:
    policy = RetryPolicy(statuses=[404, 503])
    assert of_status(404, None, policy, 0.0).verdict == "retry"
    assert of_status(503, None, policy, 0.0).verdict == "retry"
    assert of_status(500, None, policy, 0.0).verdict == "failed"
    assert frozenset({408, 425, 429, 500, 502, 503, 504}) == RETRY_STATUSES


def test_retry_after_is_read_where_the_status_is_retried() -> None:
    date = format_datetime(NOW + timedelta(seconds=9), usegmt=True)
    policy, now = RetryPolicy(), NOW.timestamp()
    assert of_status(503, "9", policy, now).retry_after == 9.0
    assert of_status(429, date, policy, now).retry_after == 9.0
    assert of_status(503, "later", policy, now).retry_after is None


# The next attempt


@pytest.mark.parametrize("verdict", ["delivered", "failed", "gone"])
def test_only_a_retry_has_a_next_attempt(verdict: Verdict) -> None:
    assert next_delay(Outcome(verdict, 200), 1, RetryPolicy(), never) is None


def test_the_next_attempt_waits_as_long_as_it_was_asked_to() -> None:
    outcome = Outcome("retry", 503, retry_after=30.0)
    assert next_delay(outcome, 1, STEADY, lowest) == 30.0
    assert next_delay(outcome, 1, RetryPolicy(initial=100, maximum=45), lowest) == 45.0
    assert next_delay(outcome, 5, STEADY, never) is None


def test_a_short_retry_after_does_not_shorten_the_back_off() -> None:
    outcome = Outcome("retry", 429, retry_after=1.0)
    assert next_delay(outcome, 4, STEADY, lowest) == 4.0
