"""The breaker alone: a state machine that is told the time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relaybox_hooks import (
    BreakerPolicy,
    ConfigError,
)
from relaybox_hooks.lanes.breaker import Breaker
from relaybox_hooks.targets.policies import CLOSED, HALF_OPEN, OPEN, BreakerState

POLICY = BreakerPolicy(failures=3, cooldown=5, maximum=15)


def opened(policy: BreakerPolicy = POLICY) -> Breaker:
    breaker = Breaker(policy)
    for _ in range(policy.failures):
        breaker.failure(0.0, breaker.generation)
    return breaker


def state(breaker: Breaker) -> BreakerState:
    """Its state, asked anew: a type checker would take it not to change between two calls."""
    return breaker.state


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(POLICY)
    breaker.failure(0.0, breaker.generation)
    breaker.failure(0.0, breaker.generation)
    assert state(breaker) == CLOSED
    assert breaker.admit(0.0)
    breaker.failure(7.0, breaker.generation)
    assert (state(breaker), breaker.until) == (OPEN, 12.0)


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker(POLICY)
    for _ in range(10):
        breaker.failure(0.0, breaker.generation)
        breaker.failure(0.0, breaker.generation)
        breaker.success()
    assert state(breaker) == CLOSED


def test_while_open_nothing_begins_before_the_cooldown_is_over() -> None:
    breaker = opened()
    assert not breaker.admit(0.0)
    assert not breaker.admit(4.999)
    assert state(breaker) == OPEN
    assert breaker.admit(5.0)
    assert state(breaker) == HALF_OPEN


def test_only_one_probe_is_let_through() -> None:
    breaker = opened()
    assert breaker.admit(5.0)
    assert not any(breaker.admit(now) for now in (5.0, 6.0, 1e9))


def test_each_failed_probe_doubles_the_cooldown_up_to_the_maximum() -> None:
    breaker, now, waits = opened(), 0.0, list[float]()
    for _ in range(4):
        waits.append(breaker.until - now)
        now = breaker.until
        assert breaker.admit(now)
        breaker.failure(now, breaker.generation)
    assert waits == [5.0, 10.0, 15.0, 15.0]


def test_a_successful_probe_closes_it_and_forgets_the_past() -> None:
    breaker = opened()
    breaker.admit(5.0)
    breaker.failure(5.0, breaker.generation)
    breaker.admit(15.0)
    breaker.success()
    assert state(breaker) == CLOSED
    for _ in range(3):
        assert state(breaker) == CLOSED
        breaker.failure(20.0, breaker.generation)
    assert breaker.until == 25.0, "the first cooldown again"


def test_late_failures_of_attempts_begun_before_opening_change_nothing() -> None:
    """Not while it is open, and above all not while a probe is under way."""
    breaker = Breaker(POLICY)
    before = breaker.generation
    for _ in range(3):
        breaker.failure(0.0, before)
    breaker.failure(4.0, before)
    assert breaker.until == 5.0
    assert breaker.admit(5.0)
    breaker.failure(6.0, before)
    assert state(breaker) == HALF_OPEN
    breaker.success()
    for _ in range(9):
        breaker.failure(7.0, before)
    assert state(breaker) == CLOSED


def test_a_late_success_closes_it_because_the_endpoint_answers_again() -> None:
    breaker = opened()
    breaker.success()
    assert breaker.admit(0.0)
    assert state(breaker) == CLOSED


def test_an_abandoned_probe_lets_the_next_one_go_at_once() -> None:
    breaker = opened()
    breaker.admit(5.0)
    breaker.inconclusive(6.0, breaker.generation)
    assert (state(breaker), breaker.until) == (OPEN, 6.0)
    assert breaker.admit(6.0)
    breaker.failure(6.0, breaker.generation)
    assert breaker.until == 16.0, "twice the cooldown, as after the first probe"


def test_abandoning_anything_but_the_probe_changes_nothing() -> None:
    breaker = Breaker(POLICY)
    before = breaker.generation
    breaker.inconclusive(0.0, before)
    assert state(breaker) == CLOSED
    for _ in range(3):
        breaker.failure(0.0, before)
    breaker.inconclusive(1.0, before)
    assert (state(breaker), breaker.until) == (OPEN, 5.0)
    breaker.admit(5.0)
    breaker.inconclusive(6.0, before)
    assert state(breaker) == HALF_OPEN


class BreakerMachine(RuleBasedStateMachine):
    """Attempts begin when they may and end as they like, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now = 0.0
        self.under_way: list[int] = []  # the turns in which they began
        self.failed_probes = 0

    @property
    def probes(self) -> int:
        return sum(turn == self.breaker.generation for turn in self.under_way)

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        before, until = state(self.breaker), self.breaker.until
        admitted = self.breaker.admit(self.now)
        assert admitted == (before == CLOSED or (before == OPEN and self.now >= until))
        if admitted:
            self.under_way.append(self.breaker.generation)

    @precondition(lambda self: self.under_way)
    @rule(pick=st.integers(0), how=st.sampled_from(["success", "failure", "abandon"]))
    def end(self, pick: int, how: str) -> None:
        turn = self.under_way.pop(pick % len(self.under_way))
        before = state(self.breaker), self.breaker.until, self.breaker.generation
        current = turn == self.breaker.generation
        if how == "success":
            self.breaker.success()
            self.failed_probes = 0
            assert state(self.breaker) == CLOSED
            return
        if how == "failure":
            self.breaker.failure(self.now, turn)
        else:
            self.breaker.inconclusive(self.now, turn)
        if not current:
            assert before == (state(self.breaker), self.breaker.until, self.breaker.generation)
        elif before[0] == HALF_OPEN:
            self.failed_probes += how == "failure"
            cooldown = min(15, 5 * 2**self.failed_probes) if how == "failure" else 0
            assert (state(self.breaker), self.breaker.until) == (OPEN, self.now + cooldown)

    @invariant()
    def exactly_one_probe_while_half_open_and_none_while_open(self) -> None:
        if state(self.breaker) != CLOSED:
            assert self.probes == (state(self.breaker) == HALF_OPEN)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"failures": 0}, "failures"),
        ({"cooldown": 0}, "cooldown"),
        ({"cooldown": 9, "maximum": 8}, "maximum"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(options: dict[str, int], option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BreakerPolicy(**options)
    assert caught.value.option == f"BreakerPolicy.{option}"


def test_an_open_breaker_is_as_open_after_a_restart() -> None:
    """The wall clock carries it over: monotonic clocks start anew."""
    policy = BreakerPolicy(failures=1, cooldown=10, maximum=100)
    before = Breaker(policy)
    before.failure(50.0, before.generation)
    assert before.admit(60.0)
    before.failure(60.0, before.generation)
    saved = before.saved(61.0, 1000.0)
    assert saved == {"cooldown": 20.0, "until": 1019.0}

    after = Breaker(policy)
    after.restore(saved, 5.0, 1009.0)
    assert after.state == "open"
    assert not after.admit(14.9)
    assert after.admit(15.0)
    after.failure(15.0, after.generation)
    assert after.until == 55.0, "the cooldown goes on doubling"


def test_a_closed_breaker_has_nothing_to_remember() -> None:
    assert Breaker(BreakerPolicy()).saved(0.0, 0.0) is None


def test_a_probe_under_way_at_the_crash_is_made_again_at_once() -> None:
    breaker = Breaker(BreakerPolicy(failures=1, cooldown=10))
    breaker.failure(0.0, breaker.generation)
    assert breaker.admit(10.0)
    saved = breaker.saved(11.0, 100.0)
    assert saved is not None
    after = Breaker(BreakerPolicy(failures=1, cooldown=10))
    after.restore(saved, 0.0, 100.0)
    assert after.admit(0.0)
