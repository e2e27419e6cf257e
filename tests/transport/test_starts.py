"""Starts of workers: paced, and ended for the sake of others; see test_starts_fairness.py too."""

from __future__ import annotations

import pytest
from support.fake_lanes import (
    FakeLane,
    in_order,
    made,
    new_starts,
    settle,
    slow_lanes,
    turn,
    workers_of,
)

from relaybox_hooks.transport import starts as module

#: Attempts of a lane's only worker before it gives way.
SHARE = 8


# Pacing


class Stopwatch:
    """The time that work takes, as a test has it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(module, "thread_time", lambda: self.now)

    def turn(self, lanes: list[FakeLane], seconds: float) -> int:
        """Let workers begin, each of which takes so long."""
        starting = [worker for worker in in_order(lanes) if not worker.begun]
        for worker in starting:
            if worker is not starting[0]:
                self.now += seconds
            worker.begin()
        return len(starting)


@pytest.mark.parametrize(
    ("seconds", "batches"),
    [
        # Powers of two, which add up exactly.
        (2**-12, [10, 10, 4, 4]),
        (2**-11, [10, 10, 2, 2]),
        (2**-3, [10, 10, 1, 2, 1]),  # of a single one it is not known how long it takes
        (2**-16, [10, 10, 10, 10]),
        (0.0, [10, 10, 10, 10]),
    ],
)
def test_as_many_workers_begin_in_a_turn_as_it_has_time_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float, batches: list[int]
) -> None:
    watch, starts = Stopwatch(monkeypatch), new_starts(1000)
    lanes = made(starts, 200)
    for lane in lanes:
        lane.put()
    assert [watch.turn(lanes, seconds) for _ in batches] == batches


def test_workers_that_take_less_time_are_started_in_larger_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, starts = Stopwatch(monkeypatch), new_starts(1000)
    lanes = made(starts, 200)
    for lane in lanes:
        lane.put()
    seconds = [2**-9, 2**-9, 2**-13, 2**-13, 2**-13]
    assert [watch.turn(lanes, each) for each in seconds] == [10, 10, 1, 2, 8]


def test_the_time_that_passes_between_two_bursts_is_not_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, starts = Stopwatch(monkeypatch), new_starts(8)
    lanes = made(starts, 20, concurrency=1)
    for lane in lanes[:8]:
        lane.put(1)
    watch.turn(lanes, 0.0001)
    watch.now += 60  # the endpoints take their time
    for lane in lanes[8:]:
        lane.put(1)
    for lane in lanes[:8]:
        next(iter(lane.workers)).finish()
    assert starts.beginning == 8


def test_no_more_begin_at_once_when_work_comes_one_by_one() -> None:
    starts = new_starts(1000)
    lanes = made(starts, 30)
    for lane in lanes:
        lane.put()
        assert starts.beginning <= 10
    assert [turn(lanes) <= 10 for _ in range(30)] == [True] * 30
    assert sum(workers_of(lanes)) == 30


# Giving way, and wanting none any more


def test_a_lane_that_wants_none_any_more_is_passed_over() -> None:
    starts = new_starts(1)
    first, emptied, last = lanes = made(starts, 3)
    for lane in lanes:
        lane.put()
    settle(lanes)
    emptied.ready = 0
    first.workers.copy().pop().finish()
    settle(lanes)
    assert workers_of(lanes) == [0, 0, 1]
    assert (emptied.asked, starts.waiting) == (None, 0)
    emptied.put()
    last.workers.copy().pop().finish()
    settle(lanes)
    assert workers_of(lanes) == [0, 1, 0]


@pytest.mark.parametrize("slow", [False, True])
def test_without_others_that_wait_no_worker_gives_way(slow: bool) -> None:
    starts = new_starts(1)
    (lane,) = lanes = made(starts, 1, ready=100, concurrency=1)
    lane.slow = slow
    lane.fill()
    settle(lanes)
    assert not starts.must_yield(lane, 1000)


def test_a_worker_gives_way_where_a_lane_has_none_and_all_are_taken() -> None:
    starts = new_starts(2)
    two, _ = lanes = made(starts, 2, ready=10)
    two.fill()
    settle(lanes)
    assert not starts.must_yield(two, 1000)
    lanes[1].fill()
    assert starts.must_yield(two, 1)
    two.workers.pop()
    assert not starts.must_yield(two, SHARE - 1)
    assert starts.must_yield(two, SHARE)


def test_a_slow_lane_s_worker_gives_way_to_the_next_slow_lane() -> None:
    starts = new_starts(4)
    hanging = slow_lanes(starts, 3)
    running = [lane for lane in hanging if lane.workers]
    assert len(running) == 2
    assert all(starts.must_yield(lane, 1) for lane in running)


@pytest.mark.parametrize(
    ("maximum", "hanging", "gives_way"),
    [(1, 1, True), (16, 1, False), (16, 2, False), (16, 3, True), (16, 8, True)],
)
def test_a_slow_lane_s_worker_gives_way_to_others_if_more_than_an_eighth_are_slow(
    maximum: int, hanging: int, gives_way: bool
) -> None:
    starts = new_starts(maximum)
    slow = slow_lanes(starts, hanging)
    others = made(starts, maximum + 1, concurrency=1)
    for lane in others:
        lane.put()
    settle([*slow, *others])
    assert starts.running == maximum
    assert {starts.must_yield(lane, 1) for lane in slow} == {gives_way}
