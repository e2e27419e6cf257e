"""Lanes as starts of workers see them, and workers that make attempts one by one."""

from __future__ import annotations

from typing import Any

from relaybox_hooks.transport.starts import Starts, Waiting


class Worker:
    """A worker that a test lets begin, and makes attempts one by one."""

    def __init__(self, lane: FakeLane) -> None:
        self.lane = lane
        self.slow = lane.slow
        self.begun = False
        self.attempts = 0
        self.number = lane.started
        lane.started += 1
        lane.workers.add(self)
        lane.beginning += 1

    def begin(self) -> None:
        """Count itself, and take the first delivery, as a lane's worker does."""
        lane, starts = self.lane, self.lane.starts
        self.begun = True
        lane.beginning -= 1
        starts.beginning -= 1
        if not starts.beginning:
            if starts.waiting:
                starts.all_begun()
            else:
                starts.at_once = min(starts.batch, starts.maximum - starts.running)
        self._go_on()

    def finish(self, *, timed_out: bool = False) -> None:
        """Come to the end of an attempt."""
        lane, starts = self.lane, self.lane.starts
        lane.slow = timed_out
        lane.attempts += 1
        self.attempts += 1
        if lane.slow != self.slow or (starts.waiting and starts.must_yield(lane, self.attempts)):
            self._end()
            lane.fill()
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self.lane.ready:
            self.lane.ready -= 1
        else:
            self._end()

    def _end(self) -> None:
        lane, starts = self.lane, self.lane.starts
        lane.workers.discard(self)
        starts.running -= 1
        starts.slow_running -= self.slow
        if starts.waiting:
            starts.launch()


class FakeLane:
    """A lane as starts see it: so much is ready, and so many workers it may have."""

    def __init__(self, starts: Starts, *, ready: int = 0, concurrency: int = 16) -> None:
        self.starts = starts
        self.ready = ready
        self.concurrency = concurrency
        self.beginning = 0
        self.started = 0
        self.attempts = 0
        self.asked: Waiting | None = None
        self.slow = False
        self.workers: set[Any] = set()

    def wants_worker(self) -> bool:
        return len(self.workers) < self.concurrency and self.ready > self.beginning

    def start_one(self) -> None:
        Worker(self)

    def fill(self) -> None:
        while self.wants_worker() and self.starts.admit(self):
            self.start_one()

    def put(self, events: int = 1) -> None:
        self.ready += events
        self.fill()


def in_order(lanes: list[FakeLane]) -> list[Worker]:
    """All workers, in an order that is the same each time."""
    return [each for lane in lanes for each in sorted(lane.workers, key=lambda each: each.number)]


def turn(lanes: list[FakeLane]) -> int:
    """Let all workers begin that were started before; return how many."""
    starting = [worker for worker in in_order(lanes) if not worker.begun]
    for worker in starting:
        worker.begin()
    return len(starting)


def settle(lanes: list[FakeLane]) -> None:
    """Let workers begin until none is left that may."""
    while turn(lanes):
        pass


def finish_all(lanes: list[FakeLane], *, slow: frozenset[FakeLane] = frozenset()) -> None:
    """End the attempts under way, in vain for those that are slow."""
    for worker in in_order(lanes):
        if worker.begun and worker in worker.lane.workers:
            worker.finish(timed_out=worker.lane in slow)


def new_starts(maximum: int) -> Starts:
    """Starts for lanes whose workers a test lets begin, right after they were started."""
    return Starts(maximum, call_soon=lambda function: function())


def made(starts: Starts, count: int, **options: Any) -> list[FakeLane]:
    return [FakeLane(starts, **options) for _ in range(count)]


def workers_of(lanes: list[FakeLane]) -> list[int]:
    return [len(lane.workers) for lane in lanes]


def slow_lanes(starts: Starts, count: int, events: int = 100) -> list[FakeLane]:
    """Lanes whose latest attempt timed out."""
    lanes = made(starts, count, concurrency=1)
    for lane in lanes:
        lane.slow = True
        lane.put(events)
    settle(lanes)
    return lanes
