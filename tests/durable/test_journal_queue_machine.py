"""A queue in the journal loses nothing, repeats nothing and keeps each key's order.

Whatever is appended, read late or not at all, retried, closed and taken over.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from support.journal_queues import FakeJournal, FakeLane, Finds
from support.manual_clock import ManualClock
from support.turned_loop import Turns

from relaybox_hooks.lanes.delivery import WAITING_RETRY, Delivery

#: Turns of the loop after which every task waits for a read, or is done.
SETTLED = 4

#: Seconds until a retry that is waited for in memory, and until one that is read again.
SOON, LATE = 1.0, 20.0

KEYS = st.sampled_from(["a", "a", "b", "c", "d", None])
#: Moves, each the name of a method and its arguments; several times where it is to come often.
APPEND = st.tuples(
    st.just("append"),
    st.one_of(st.lists(KEYS, min_size=1, max_size=2), st.lists(KEYS, min_size=1, max_size=12)),
    st.integers(0, 2),
    st.sampled_from(["put", "put", "stored", "begun"]),
)
GO_ON_APPENDING = st.tuples(
    st.just("go_on_appending"), st.integers(1, 4), st.sampled_from(["put", "stored", "failed"])
)
OUTCOMES = st.sampled_from(
    [
        *["in flight", "delivered", "retry soon", "retry late"] * 2,
        *["failed", "interrupted"],
    ]
)
ATTEMPT = st.tuples(st.just("attempt"), st.lists(OUTCOMES, min_size=1, max_size=6))
END_ATTEMPT = st.tuples(st.just("end_attempt"), st.integers(0, 15), OUTCOMES)
DELIVER = st.tuples(st.just("deliver"), st.integers(1, 8))
READ = st.tuples(
    st.just("read"),
    st.sampled_from(["begin", "begin", "look up", "answer", "answer", "answer", "all", "fail"]),
)
TIME_PASSES = st.tuples(st.just("time_passes"), st.sampled_from([0.5, SOON, LATE, LATE]))
RESTART = st.tuples(st.just("restart"), st.sampled_from([False, False, True]), st.booleans())
CHANGE = st.sampled_from(
    [
        *[st.just(("drop_oldest",)), st.just(("close",)), RESTART] * 2,
        st.tuples(st.just("register_again"), st.sampled_from([False, False, True])),
    ]
).flatmap(lambda chosen: chosen)
REOPEN = st.just(("reopen",))


class JournalQueueMachine(RuleBasedStateMachine):
    """Queues of one webhook over one fake journal: the current one, and those it had before."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.turns = Turns(self.clock)
        # Small, so that sweeps take several reads, and too many keys are parked.
        self.patches = [
            patch("relaybox_hooks.durable.journal_queue._SWEEP", 3),
            patch("relaybox_hooks.durable.journal_queue._MAX_PARKED", 3),
        ]
        for each in self.patches:
            each.start()
        self.journal: FakeJournal
        self.lane: FakeLane
        self.retired: list[FakeLane] = []

    @initialize(
        finds=st.sampled_from(["at once", "at once", "later", "and answers at once"]),
        size=st.sampled_from([(1, 1), (2, 1), (3, 2), (4, 2), (8, 3)]),
        unit=st.sampled_from([1, 10, 1000]),
        max_age=st.sampled_from([None, None, None, 60.0]),
    )
    def begin(self, finds: Finds, size: tuple[int, int], unit: int, max_age: float | None) -> None:
        self.journal = FakeJournal(self.turns.runtime, finds)
        self.size, self.unit, self.max_age = size, unit, max_age
        self.lane = self.new_lane()
        self.lane.queue.start_after(0)

    def new_lane(self) -> FakeLane:
        queue_size, share = self.size
        return FakeLane(self.journal, queue_size, share=share, unit=self.unit, max_age=self.max_age)

    # One rule for all moves: of many rules, hypothesis leaves out half in an average example.

    @rule(move=st.runner().flatmap(lambda self: self.moves()))
    def move(self, move: tuple[Any, ...]) -> None:
        name, *arguments = move
        getattr(self, name)(*arguments)

    def moves(self) -> st.SearchStrategy[Any]:
        """Return the moves that change anything now, more often those that lead further."""
        lanes = self.lanes
        begun = any(not row.put for row in self.journal.rows.values())
        reading = any(tuple(lane.queue.tasks()) for lane in lanes)
        in_flight = any(lane.in_flight for lane in lanes)
        moves: list[st.SearchStrategy[Any]] = [APPEND] * 4 + [TIME_PASSES] * 2 + [CHANGE] * 3
        moves += [GO_ON_APPENDING] * 2 * begun
        moves += [READ] * 6 * reading
        moves += [END_ATTEMPT] * 5 * in_flight
        moves += ([ATTEMPT] * 6 + [DELIVER]) * bool(self.lane.queue.ready_count)
        moves += [REOPEN] * 3 * self.lane.closed
        return st.sampled_from(moves).flatmap(lambda chosen: chosen)

    def append(self, keys: list[str | None], others: int, stage: str) -> None:
        """Begin to append rows; store them and put them at once, and all begun before, or not."""
        for key in keys:
            self.journal.append(key, self.lane, others=others)
        if stage != "begun":
            self.store(len(self.journal.rows))
        if stage == "put":
            self.put(len(self.journal.rows))

    def go_on_appending(self, times: int, stage: str) -> None:
        if stage == "failed":
            self.journal.fail_to_store()
        self.store(times)
        if stage == "put":
            self.put(times)

    def store(self, times: int) -> None:
        for row in [row for row in self.journal.rows.values() if not row.stored][:times]:
            row.stored = True

    def put(self, times: int) -> None:
        for row in [row for row in self.journal.rows.values() if not row.put][:times]:
            if row.stored:
                row.lane.put(row)

    def attempt(self, outcomes: list[str]) -> None:
        for outcome in outcomes:
            delivery = self.lane.next()
            if delivery is not None:
                self.settle(self.lane, delivery, outcome)

    def end_attempt(self, place: int, outcome: str) -> None:
        in_flight = [(lane, each) for lane in self.lanes for each in lane.in_flight]
        if in_flight:
            lane, delivery = in_flight[place % len(in_flight)]
            self.settle(lane, delivery, outcome)

    def settle(self, lane: FakeLane, delivery: Delivery, outcome: str) -> None:
        if outcome == "delivered":
            lane.complete(delivery)
        elif outcome == "retry soon":
            lane.retry(delivery, SOON)
        elif outcome == "retry late":
            lane.retry(delivery, LATE)
        elif outcome == "failed":
            lane.fail(delivery)
        elif outcome == "interrupted":
            lane.interrupt(delivery)

    def deliver(self, times: int) -> None:
        """Complete deliveries while all reads are answered."""
        for _ in range(times):
            self.answer_all()
            delivery = self.lane.next()
            if delivery is None:
                break
            self.lane.complete(delivery)

    def read(self, how: str) -> None:
        """Let the reads begin, and the journal find rows, answer, now or later, or fail."""
        self.turn(1)
        for read in self.journal.reads:
            if how == "look up":
                read.look()
            elif how in {"answer", "all"}:
                read.answer()
            elif how == "fail":
                read.fail()
        if how in {"answer", "fail"}:
            self.turn(2)
        elif how == "all":
            self.answer_all()

    def answer_all(self) -> None:
        self.turn(SETTLED)
        for _ in range(100):
            if not self.journal.reads:
                break
            for read in self.journal.reads:
                read.answer()
            self.turn(SETTLED)
        else:
            raise AssertionError("it reads on and on")
        for lane in self.lanes:
            if not lane.queue._read_failed:
                assert not [row for row in lane.rows if row.put and row.pending and row.doomed]

    def turn(self, times: int) -> None:
        for _ in range(times):
            self.journal.reads_in_a_turn = 0
            self.turns.turn(self.lanes)

    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def drop_oldest(self) -> None:
        self.lane.drop_oldest()

    def close(self) -> None:
        self.lane.close()

    def reopen(self) -> None:
        if self.lane.closed:
            self.lane.reopen()

    def register_again(self, closed: bool) -> None:
        self.lane.close()
        self.retired.append(self.lane)
        self.lane = self.new_lane()
        if closed:
            self.lane.close()
        self.lane.queue.start_after(self.journal.last_seq())

    def restart(self, closed: bool, crash: bool) -> None:
        while self.journal.fail_to_store():
            pass
        self.end(crash=crash)
        self.retired.clear()
        self.lane = self.new_lane()
        if closed:
            self.lane.close()
        self.lane.take_over()

    def end(self, *, crash: bool = False) -> None:
        """End the process; reads that are answered now, and timers, start nothing any more."""
        for lane in self.lanes:
            lane.suspend()
        begun = self.journal.begun
        if not crash:
            for read in self.journal.reads:
                read.answer()
            self.turn(SETTLED)
        for lane in self.lanes:
            lane.cancel(crash=crash)
        self.clock.advance(LATE if crash else 0.0)
        self.turn(SETTLED)
        for lane in self.lanes:
            lane.discard()
        assert not self.journal.reads
        assert self.journal.begun == begun
        assert all(timer.cancelled for _, _, timer in self.clock._timers)

    # What holds

    @invariant()
    def memory_is_bounded(self) -> None:
        for lane in self.lanes:
            assert len(tuple(lane.queue)) <= lane.bound
            in_memory = sum(len(each.envelope.prefix) for each in lane.queue)
            assert in_memory <= lane.bound_in_bytes

    @invariant()
    def in_flight_is_in_memory(self) -> None:
        for lane in self.lanes:
            assert set(lane.in_flight) <= set(lane.queue)

    @invariant()
    def no_retry_keeps_others_out(self) -> None:
        """What waits for a retry is read again, where there is more than memory has room for."""
        for lane in self.lanes:
            if lane.queue._behind:
                assert all(each.state != WAITING_RETRY for each in lane.queue)

    @invariant()
    def no_key_waits_without_a_retry(self) -> None:
        now = self.clock.monotonic()
        for lane in self.lanes:
            waiting = {row.key for row in lane.rows if row.pending and row.due > now}
            for key, parked in lane.queue._parked.by_key.items():
                assert key in waiting or parked.due <= now or parked.due == float("inf")

    @invariant()
    def every_row_is_counted_once(self) -> None:
        for lane in self.lanes:
            put = sum(row.put for row in lane.rows)
            settled = sum(row.state != "pending" for row in lane.rows)
            assert lane.pending == put - settled

    @property
    def lanes(self) -> list[FakeLane]:
        return [*self.retired, self.lane] if hasattr(self, "lane") else []

    # The end

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and hasattr(self, "lane"):
                self.everything_is_settled_in_the_end()
        finally:
            for each in self.patches:
                each.stop()
            self.turns.close(self.lanes)

    def everything_is_settled_in_the_end(self) -> None:
        self.store(len(self.journal.rows))
        self.put(len(self.journal.rows))
        for _ in range(3 * len(self.journal.rows) + 10):
            self.make_progress()
        stuck = [row for row in self.journal.rows.values() if row.pending]
        assert not stuck, f"stuck: {stuck}"
        for lane in self.lanes:
            assert not lane.pending
            assert not tuple(lane.queue)
            assert not tuple(lane.queue.tasks())
            assert not lane.queue._loaded
            assert not lane.queue._keys_loaded
            assert lane.queue._room == lane.queue._capacity
            assert not lane.queue._parked.entries
        for row in self.journal.rows.values():
            assert row.doomed is not True or row.state == "dead"
        self.end()

    def make_progress(self) -> None:
        self.answer_all()
        for lane in self.lanes:
            while lane.in_flight:
                lane.complete(lane.in_flight[0])
            lane.next()
        self.clock.advance(30.0)


TestJournalQueue = JournalQueueMachine.TestCase
TestJournalQueue.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
