"""A breaker at work: what it admits and when, and who is called."""

from __future__ import annotations

from typing import Final, cast

import pytest
from support.manual_clock import ManualClock

from relaybox_hooks import BreakerPolicy
from relaybox_hooks.lanes.breaker_gate import BreakerGate
from relaybox_hooks.lanes.delivery_queue import DeliveryQueue
from relaybox_hooks.observer import Notifier
from relaybox_hooks.outcome import DELIVERED, ENDPOINT_GONE, FAILED, RETRY, Outcome
from relaybox_hooks.targets.policies import CLOSED, HALF_OPEN, OPEN
from relaybox_hooks.transport.runtime import Runtime

POLICY: Final = BreakerPolicy(failures=2, cooldown=10, maximum=40)
FAILURE: Final = Outcome(RETRY, 503)
SUCCESS: Final = Outcome(DELIVERED, 200)
#: As where an address is refused: nothing of the endpoint was seen.
NEITHER: Final = Outcome(FAILED, error="EgressError")


class Ready:
    """A queue with a delivery that is ready."""

    ready_count = 1

    def __init__(self) -> None:
        self.taken = 0

    def next(self) -> object:
        self.taken += 1
        return object()


class Gate:
    """A gate on a clock that a test moves, and the calls it makes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.calls: list[str] = []
        self.gate = BreakerGate(
            Runtime(Notifier(()), lambda: 0.0, clock=self.clock),
            POLICY,
            lambda: self.calls.append("probe"),
            lambda before: self.calls.append(f"{before} to {self.gate.breaker.state}"),
        )

    @property
    def state(self) -> str:
        return self.gate.breaker.state

    def judge(self, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            self.gate.judge(outcome, self.gate.breaker.generation)

    def admit(self) -> bool:
        """Ask for a probe, of which a change is reported once it has its delivery."""
        queue, told = Ready(), len(self.calls)
        delivery = self.gate.next_probe(cast("DeliveryQueue", queue))
        assert (delivery is not None) == (queue.taken == 1)
        if delivery is None:
            return False
        assert self.calls[told:] == ["open to half-open"]
        del self.calls[told:]
        return True

    def open(self) -> None:
        self.judge(FAILURE, FAILURE)
        assert self.state == OPEN
        self.calls.clear()


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_it_opens_after_failures_and_says_so_once(gate: Gate) -> None:
    gate.judge(FAILURE)
    assert (gate.state, gate.calls) == (CLOSED, [])
    gate.judge(FAILURE)
    assert (gate.state, gate.calls) == (OPEN, ["closed to open", "probe"])
    gate.judge(FAILURE)  # of an attempt that was under way
    assert gate.calls == ["closed to open", "probe"]


@pytest.mark.parametrize(
    "outcome", [SUCCESS, Outcome(FAILED, 404), Outcome(ENDPOINT_GONE, 410)], ids=str
)
def test_any_answer_but_later_shows_a_working_endpoint(gate: Gate, outcome: Outcome) -> None:
    for _ in range(5):
        gate.judge(FAILURE, outcome)
    assert (gate.state, gate.calls) == (CLOSED, [])


def test_an_attempt_that_saw_nothing_of_the_endpoint_shows_nothing(gate: Gate) -> None:
    """Neither a success, which would begin the count anew, nor a failure."""
    gate.judge(FAILURE, NEITHER, NEITHER)
    assert gate.state == CLOSED
    gate.judge(FAILURE)
    assert gate.state == OPEN


def test_a_probe_is_due_after_the_cooldown_and_whoever_asked_is_called(gate: Gate) -> None:
    gate.open()
    assert not gate.gate.probe_is_due()
    assert not gate.gate.probe_is_due()
    gate.clock.advance(9.9)
    assert (gate.gate.probe_is_due(), gate.calls) == (False, [])
    gate.clock.advance(0.1)
    assert (gate.gate.probe_is_due(), gate.calls) == (True, ["probe"])
    gate.clock.advance(100)
    assert gate.calls == ["probe"]


@pytest.mark.parametrize("state", [CLOSED, HALF_OPEN])
def test_no_probe_is_due_while_it_is_not_open(gate: Gate, state: str) -> None:
    if state == HALF_OPEN:
        gate.open()
        gate.clock.advance(10)
        assert gate.admit()
    assert gate.state == state
    assert not gate.gate.probe_is_due()
    gate.clock.advance(100)
    assert gate.calls == []


def test_before_the_cooldown_is_over_no_attempt_is_admitted(gate: Gate) -> None:
    """And the next probe is waited for."""
    gate.open()
    assert not gate.admit()
    gate.clock.advance(10)
    assert gate.calls == ["probe"]
    assert gate.admit()


def test_one_probe_is_admitted_at_a_time(gate: Gate) -> None:
    gate.open()
    gate.clock.advance(10)
    assert (gate.admit(), gate.state) == (True, HALF_OPEN)
    assert not gate.admit()
    gate.clock.advance(100)
    assert gate.calls == []


def probing(gate: Gate) -> None:
    """Admit a probe."""
    gate.open()
    gate.clock.advance(10)
    assert gate.admit()


def test_a_probe_that_succeeds_closes_it_and_lets_the_others_follow(gate: Gate) -> None:
    probing(gate)
    gate.judge(SUCCESS)
    assert (gate.state, gate.calls) == (CLOSED, ["half-open to closed", "probe"])


def test_a_probe_that_fails_opens_it_for_longer(gate: Gate) -> None:
    probing(gate)
    gate.judge(FAILURE)
    assert (gate.state, gate.calls) == (OPEN, ["half-open to open", "probe"])
    assert not gate.gate.probe_is_due()
    gate.clock.advance(19.9)
    assert not gate.gate.probe_is_due()
    gate.clock.advance(0.1)
    assert gate.gate.probe_is_due()


def test_a_probe_that_is_interrupted_may_be_made_again_at_once(gate: Gate) -> None:
    probing(gate)
    gate.gate.inconclusive(gate.gate.breaker.generation)
    assert gate.state == OPEN
    assert gate.gate.probe_is_due()


def test_an_attempt_from_before_it_opened_ends_no_probe(gate: Gate) -> None:
    before = gate.gate.breaker.generation
    probing(gate)
    gate.gate.judge(FAILURE, before)
    gate.gate.inconclusive(before)
    assert (gate.state, gate.calls) == (HALF_OPEN, [])


def test_a_new_breaker_is_closed_and_has_the_policy(gate: Gate) -> None:
    gate.open()
    gate.gate.renew()
    assert (gate.state, gate.calls) == (CLOSED, [])
    gate.judge(FAILURE)
    assert gate.state == CLOSED
    gate.judge(FAILURE)
    assert gate.state == OPEN


def test_once_its_timer_is_cancelled_it_calls_no_more(gate: Gate) -> None:
    gate.gate.cancel_timer()  # harmless where there is none
    gate.open()
    assert not gate.gate.probe_is_due()
    gate.gate.cancel_timer()
    gate.clock.advance(100)
    assert gate.calls == []


def test_an_open_one_is_open_after_a_restart_and_a_closed_one_is_not_saved(gate: Gate) -> None:
    assert gate.gate.saved() is None
    gate.open()
    gate.clock.advance(4)
    saved = gate.gate.saved()
    assert saved is not None
    later = Gate()
    later.clock.now = gate.clock.now
    later.gate.restore(saved)
    assert later.state == OPEN
    later.clock.advance(5.9)
    assert not later.gate.probe_is_due()
    later.clock.advance(0.1)
    assert later.gate.probe_is_due()


def test_without_a_delivery_that_is_ready_there_is_no_probe(gate: Gate) -> None:
    """The breaker stays open, for the next one to be the probe."""
    gate.open()
    gate.clock.advance(10)
    queue = Ready()
    queue.ready_count = 0
    assert gate.gate.next_probe(cast("DeliveryQueue", queue)) is None
    assert (queue.taken, gate.state, gate.calls) == (0, OPEN, [])
