"""How long a retry waits: pure arithmetic, with the dice given."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import STEADY

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.targets.policies import RetryPolicy


def never() -> float:
    raise AssertionError("no dice were to be rolled")


def lowest() -> float:
    """The draw that makes full jitter wait longest: nothing is taken off."""
    return 0.0


def test_relaybox_own_schedule_is_the_default_without_jitter() -> None:
    waits = [STEADY.delay(made, None, lowest) for made in range(1, 6)]
    assert waits == [0.5, 1.0, 2.0, 4.0, None]


def test_factor_and_maximum_shape_the_waits() -> None:
    policy = RetryPolicy(attempts=6, initial=2, factor=3, maximum=20, jitter=0)
    assert [policy.delay(made, None, lowest) for made in range(1, 7)] == [2, 6, 18, 20, 20, None]


def test_one_attempt_means_no_retry() -> None:
    assert RetryPolicy(attempts=1).delay(1, 5.0, never) is None


def test_durations_may_be_timedeltas() -> None:
    policy = RetryPolicy(
        initial=timedelta(milliseconds=250), maximum=timedelta(minutes=1), jitter=0
    )
    assert policy.delay(1, None, lowest) == 0.25
    assert policy.delay(2, 3600.0, lowest) == 60.0


def test_full_jitter_draws_from_zero_to_the_ceiling() -> None:
    policy = RetryPolicy(initial=8, factor=1)
    assert policy.delay(1, None, lambda: 0.0) == 8.0
    assert policy.delay(1, None, lambda: 0.75) == 2.0


def test_half_jitter_keeps_half_of_the_wait() -> None:
    policy = RetryPolicy(initial=8, factor=1, jitter=0.5)
    assert policy.delay(1, None, lambda: 0.5) == 6.0


@given(
    attempts=st.integers(2, 10_000),
    made=st.integers(1, 10_000),
    initial=st.floats(0, 1e6),
    factor=st.one_of(st.floats(1, 1e12), st.integers(1, 10**12)),
    maximum=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    draw=st.floats(0, 1, exclude_max=True),
    retry_after=st.none() | st.floats(0, 1e9),
)
def test_every_wait_lies_within_its_bounds(
    attempts: int,
    made: int,
    initial: float,
    factor: float,
    maximum: float,
    jitter: float,
    draw: float,
    retry_after: float | None,
) -> None:
    """Whatever the numbers: no overflow, never above the maximum, never under Retry-After."""
    policy = RetryPolicy(
        attempts=attempts, initial=initial, factor=factor, maximum=maximum, jitter=jitter
    )
    wait = policy.delay(made, retry_after, lambda: draw)
    if made >= attempts:
        assert wait is None
        return
    assert wait is not None
    assert 0 <= wait <= maximum
    if retry_after is not None:
        assert wait >= min(retry_after, maximum)
    if made == 1:
        assert wait >= min(initial, maximum) * (1 - jitter)


@given(made=st.integers(1, 200), factor=st.floats(1, 100))
def test_waits_never_shrink_from_attempt_to_attempt(made: int, factor: float) -> None:
    policy = RetryPolicy(attempts=1000, factor=factor, jitter=0, maximum=3600)
    before, after = (policy.delay(number, None, lowest) for number in (made, made + 1))
    assert before is not None
    assert after is not None
    assert before <= after


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("attempts", 0),
        ("attempts", 1.5),
        ("attempts", True),
        ("initial", -1),
        ("initial", float("nan")),
        ("initial", "1"),
        ("maximum", -0.1),
        ("maximum", None),
        ("factor", 0.5),
        ("factor", float("nan")),
        ("factor", "2"),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", float("nan")),
        ("statuses", [200]),
        ("statuses", [410]),
        ("statuses", ["503"]),
        ("statuses", [600]),
    ],
)
def test_a_policy_that_cannot_work_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(**{option: value})  # type: ignore[arg-type]
    assert caught.value.option == f"RetryPolicy.{option}"
