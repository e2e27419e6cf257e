"""Starts of workers are shared out fairly: no lane starves, and none has more than its share."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from support.fake_lanes import (
    FakeLane,
    Worker,
    finish_all,
    in_order,
    made,
    new_starts,
    settle,
    slow_lanes,
    workers_of,
)

from relaybox_hooks.transport import starts as module

#: Attempts of a lane's only worker before it gives way.
SHARE = 8


def test_each_lane_with_work_gets_a_worker_before_any_gets_a_second() -> None:
    starts = new_starts(16)
    lanes = made(starts, 6)
    for lane in lanes:
        lane.ready = 100
    lanes[0].fill()
    assert workers_of(lanes) == [10, 0, 0, 0, 0, 0]  # as many as may begin in a turn
    for lane in lanes[1:]:
        lane.fill()
    settle(lanes)
    assert min(workers_of(lanes)) >= 1
    assert sum(workers_of(lanes)) == 16


def test_a_lane_that_comes_when_all_workers_are_taken_gets_one_soon() -> None:
    """One of those whose lane has several ends after its attempt, for the sake of the new one."""
    starts = new_starts(4)
    greedy, modest = made(starts, 2)
    greedy.put(100)
    settle([greedy])
    modest.put()
    assert workers_of([greedy, modest]) == [4, 0]
    worker = next(iter(greedy.workers))
    worker.finish()
    settle([greedy, modest])
    assert workers_of([greedy, modest]) == [3, 1]


def test_a_lane_s_only_worker_gives_way_after_its_share() -> None:
    starts = new_starts(1)
    lanes = made(starts, 2, ready=100)
    for lane in lanes:
        lane.fill()
    settle(lanes)
    for attempts in range(1, SHARE + 1):
        assert workers_of(lanes) == [1, 0]
        next(iter(lanes[0].workers)).finish()
        assert lanes[0].attempts == attempts
    settle(lanes)
    assert workers_of(lanes) == [0, 1]


@pytest.mark.parametrize(("maximum", "most"), [(1, 1), (2, 1), (7, 3), (16, 8)])
def test_lanes_that_time_out_have_half_of_the_workers_at_most(maximum: int, most: int) -> None:
    starts = new_starts(maximum)
    hanging = slow_lanes(starts, 20)
    assert sum(workers_of(hanging)) == most
    for _ in range(50):
        finish_all(hanging, slow=frozenset(hanging))
        settle(hanging)
        assert sum(workers_of(hanging)) == starts.slow_running == most
    assert min(lane.attempts for lane in hanging) > 0


def test_a_lane_that_becomes_slow_while_it_waits_has_its_place_among_the_slow() -> None:
    starts = new_starts(4)
    hanging = slow_lanes(starts, 3)
    assert starts.slow_running == 2
    (late,) = made(starts, 1, concurrency=3)
    late.put(10)
    settle([late])
    assert (workers_of([late]), starts.running) == ([2], 4)
    next(iter(late.workers)).finish(timed_out=True)
    settle([late])
    assert starts.slow_running == sum(workers_of(hanging)) == 2
    assert workers_of([late]) == [1]


def test_a_lane_that_has_recovered_waits_no_longer_behind_the_slow() -> None:
    """Its worker has had an answer; the others hang on."""
    starts = new_starts(4)
    hanging = slow_lanes(starts, 5)
    recovering = next(lane for lane in hanging if lane.workers)
    recovering.concurrency = 2
    recovering.fill()
    assert recovering.asked is not None
    next(iter(recovering.workers)).finish()
    settle(hanging)
    assert len(recovering.workers) == 2
    assert starts.slow_running == 2


def test_where_others_want_all_workers_slow_lanes_have_an_eighth() -> None:
    """Else one that has recovered would never be found out."""
    starts = new_starts(16)
    busy = made(starts, 40, ready=10_000, concurrency=1)
    for lane in busy:
        lane.fill()
    settle(busy)
    hanging = slow_lanes(starts, 4)
    everyone = [*busy, *hanging]
    shares = []
    for _ in range(60):
        finish_all(everyone, slow=frozenset(hanging))
        settle(everyone)
        shares.append(starts.slow_running)
    assert shares[SHARE:] == [2] * (60 - SHARE)
    assert min(lane.attempts for lane in hanging) > 0


def test_slow_lanes_and_others_take_turns_at_a_single_worker() -> None:
    starts = new_starts(1)
    busy = made(starts, 2, ready=1000)
    busy[0].fill()
    busy[1].fill()
    settle(busy)
    hanging = slow_lanes(starts, 2)
    for _ in range(100):
        finish_all([*busy, *hanging], slow=frozenset(hanging))
        settle([*busy, *hanging])
    attempts = [lane.attempts for lane in (*busy, *hanging)]
    assert min(attempts) > 0, attempts
    assert sum(attempts) == 100


def test_a_lane_whose_only_worker_gave_way_waits_among_those_without_one() -> None:
    """It had asked for a second one; lanes that go on coming must not be served before it."""
    starts = new_starts(2)
    eager, *others = made(starts, 5, concurrency=1)
    eager.concurrency = 2
    for lane in (eager, *others):
        lane.put(1000)
    everyone = [eager, *others]
    seen = []
    for _ in range(100):
        settle(everyone)
        seen.append(eager.attempts)
        finish_all(everyone)
    assert seen[50] > seen[25] > 0


@given(
    maximum=st.integers(1, 8),
    kinds=st.lists(
        st.tuples(st.booleans(), st.integers(1, 3)),  # it hangs; workers it may have
        min_size=1,
        max_size=12,
    ),
    patience=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_no_lane_starves(maximum: int, kinds: list[tuple[bool, int]], patience: int) -> None:
    """All have work without end; some hang, and each of their attempts takes several rounds."""
    starts = new_starts(maximum)
    lanes = [FakeLane(starts, ready=10**6, concurrency=concurrency) for _, concurrency in kinds]
    hanging = frozenset(lane for lane, (hangs, _) in zip(lanes, kinds, strict=True) if hangs)
    healthy = [lane for lane in lanes if lane not in hanging]
    for lane in lanes:
        lane.fill()
    window = 20 * (len(lanes) + 1) * patience
    for _ in range(3):
        before = [lane.attempts for lane in lanes]
        for number in range(window):
            settle(lanes)
            finish_all(healthy)
            if number % patience == 0:
                finish_all(list(hanging), slow=hanging)
        assert all(lane.attempts > was for lane, was in zip(lanes, before, strict=True))


class StartsWalk(RuleBasedStateMachine):
    """Work comes, workers begin, and attempts end, in any order."""

    @initialize(maximum=st.integers(1, 6), lanes=st.integers(1, 5))
    def made(self, maximum: int, lanes: int) -> None:
        self.now = 0.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "thread_time", lambda: self.now)
        self.maximum = maximum
        self.starts = new_starts(maximum)
        self.lanes = [FakeLane(self.starts, concurrency=1 + number) for number in range(lanes)]

    @property
    def workers(self) -> list[Worker]:
        return in_order(getattr(self, "lanes", []))

    @rule(number=st.integers(0, 4), events=st.integers(1, 5))
    def put(self, number: int, events: int) -> None:
        self.lanes[number % len(self.lanes)].put(events)

    @rule(number=st.integers(0, 4))
    def lose(self, number: int) -> None:
        """Its deliveries are dropped, or its breaker opens."""
        lane = self.lanes[number % len(self.lanes)]
        lane.ready = lane.beginning

    @precondition(lambda self: any(not worker.begun for worker in self.workers))
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.0001, 0.001, 1.0]))
    def begin(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        starting = [worker for worker in self.workers if not worker.begun]
        data.draw(st.sampled_from(starting)).begin()

    @precondition(lambda self: any(worker.begun for worker in self.workers))
    @rule(data=st.data(), timed_out=st.booleans())
    def finish(self, data: st.DataObject, timed_out: bool) -> None:
        running = [worker for worker in self.workers if worker.begun]
        data.draw(st.sampled_from(running)).finish(timed_out=timed_out)

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    @invariant()
    def bounds_are_kept(self) -> None:
        if not hasattr(self, "starts"):
            return
        workers = self.workers
        assert len(workers) == self.starts.running <= self.maximum
        slow = sum(worker.slow for worker in workers)
        assert slow == self.starts.slow_running <= max(1, self.maximum // 2)
        assert self.starts.beginning == sum(not worker.begun for worker in workers)
        assert self.starts.waiting == sum(lane.asked is not None for lane in self.lanes)

    @invariant()
    def who_could_have_a_worker_will_have_one(self) -> None:
        """As soon as those have begun that were started."""
        if not hasattr(self, "starts") or self.starts.beginning:
            return
        for lane in self.lanes:
            if lane.wants_worker() and not lane.workers:
                slow_may = self.starts.slow_running < max(1, self.maximum // 2)
                full = self.starts.running == self.maximum
                assert full or (lane.slow and not slow_may)
                assert lane.asked is not None


StartsWalk.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestStartsWalk = StartsWalk.TestCase
