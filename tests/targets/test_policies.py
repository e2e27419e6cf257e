"""The policies: validated when made, with a message that says which value and what to do."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest

from relaybox_hooks import BreakerPolicy, ConfigError, RetentionPolicy, RetryPolicy, Timeouts
from relaybox_hooks.targets.policies import DURABLE_RETRY, RETRY_STATUSES


def test_the_defaults_are_relayboxs_own() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.initial, policy.factor) == (5, 0.5, 2.0)
    assert policy.statuses is RETRY_STATUSES
    assert sorted(RETRY_STATUSES) == [408, 425, 429, 500, 502, 503, 504]
    assert Timeouts().total == 5.0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"attempts": 0}, "RetryPolicy.attempts=0"),
        ({"attempts": 2.5}, "RetryPolicy.attempts=2.5"),
        ({"initial": -1}, "RetryPolicy.initial=-1"),
        ({"maximum": "60"}, "RetryPolicy.maximum='60'"),
        ({"factor": 0.5}, "RetryPolicy.factor=0.5"),
        ({"factor": "2"}, "RetryPolicy.factor='2'"),
        ({"factor": float("nan")}, "RetryPolicy.factor=nan"),
        ({"jitter": 1.5}, "RetryPolicy.jitter=1.5"),
        ({"jitter": -0.5}, "RetryPolicy.jitter=-0.5"),
        ({"statuses": [200]}, "RetryPolicy.statuses=200"),
        ({"statuses": [410]}, "RetryPolicy.statuses=410"),
        ({"statuses": ["500"]}, "RetryPolicy.statuses='500'"),
        ({"statuses": [600]}, "RetryPolicy.statuses=600"),
    ],
)
def test_a_retry_policy_that_cannot_work_is_refused(options: Any, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(**options)
    assert str(caught.value).startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("policy", "options", "named"),
    [
        (Timeouts, {"total": 0}, "Timeouts.total=0"),
        (Timeouts, {"total": None}, "Timeouts.total=None"),
        (Timeouts, {"connect": -1}, "Timeouts.connect=-1"),
        (BreakerPolicy, {"failures": 0}, "BreakerPolicy.failures=0"),
        (BreakerPolicy, {"cooldown": 0}, "BreakerPolicy.cooldown=0"),
        (BreakerPolicy, {"cooldown": 10, "maximum": 5}, "BreakerPolicy.maximum=5"),
    ],
)
def test_other_policies_that_cannot_work_are_refused(policy: Any, options: Any, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(**options)
    assert str(caught.value).startswith(named)


def test_timedeltas_become_seconds() -> None:
    assert Timeouts(total=timedelta(seconds=2), connect=timedelta(seconds=1)) == Timeouts(
        total=2.0, connect=1.0
    )
    assert RetryPolicy(initial=timedelta(seconds=3)).initial == 3.0


def test_policies_are_frozen_hashable_and_print_themselves() -> None:
    policy = RetryPolicy(attempts=2)
    with pytest.raises(FrozenInstanceError):
        policy.attempts = 3  # type: ignore[misc]
    assert len({RetryPolicy(), RetryPolicy(), policy}) == 2
    assert repr(Timeouts(total=1)) == "Timeouts(total=1.0, connect=None)"


def test_the_wait_grows_by_the_factor_up_to_the_maximum() -> None:
    policy = RetryPolicy(attempts=9, initial=1, factor=3, maximum=20, jitter=0)
    assert [policy.delay(n, None, lambda: 0.5) for n in range(1, 10)] == [
        1,
        3,
        9,
        20,
        20,
        20,
        20,
        20,
        None,
    ]


def test_full_jitter_draws_from_zero_up_and_none_draws_nothing() -> None:
    full = RetryPolicy(initial=8, jitter=1)
    assert full.delay(1, None, lambda: 0.0) == 8
    assert full.delay(1, None, lambda: 0.75) == 2
    assert RetryPolicy(initial=8, jitter=0.5).delay(1, None, lambda: 1.0) == 4
    assert RetryPolicy(initial=8, jitter=0).delay(1, None, lambda: 0.75) == 8


def test_retry_after_is_never_undercut_but_capped() -> None:
    policy = RetryPolicy(initial=1, maximum=60, jitter=0)
    assert policy.delay(1, 30.0, lambda: 0.0) == 30
    assert policy.delay(1, 0.1, lambda: 0.0) == 1
    assert policy.delay(1, 86_400.0, lambda: 0.0) == 60


def test_thousands_of_attempts_do_not_overflow() -> None:
    policy = RetryPolicy(attempts=100_000, factor=2, jitter=0)
    assert policy.delay(50_000, None, lambda: 0.0) == 60


def test_retention_takes_seconds_or_timedeltas_and_refuses_the_rest() -> None:
    policy = RetentionPolicy(delivered=timedelta(hours=1), dead=0, count=0, unregistered=5)
    assert (policy.delivered, policy.dead, policy.unregistered) == (3600.0, 0.0, 5.0)
    with pytest.raises(ConfigError, match=r"RetentionPolicy.dead=-1"):
        RetentionPolicy(dead=-1)
    with pytest.raises(ConfigError, match=r"RetentionPolicy.count=-1"):
        RetentionPolicy(count=-1)


def test_retries_with_a_journal_take_about_three_days() -> None:
    """Standard Webhooks recommends attempts over about three days, the first within seconds."""
    delays = [DURABLE_RETRY.delay(made, None, lambda: 0.5) for made in range(1, 10)]
    assert DURABLE_RETRY.delay(10, None, lambda: 0.5) is None
    assert delays[0] is not None
    assert delays[0] < 6
    assert 2.9 < sum(delay or 0 for delay in delays) / 86_400 < 3.1
