"""A queue in memory keeps each key's order, offers every delivery once, and stays small."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.manual_clock import Clocked

from relaybox_hooks.lanes.delivery import (
    BLOCKED,
    IN_FLIGHT,
    READY,
    REMOVED,
    WAITING_RETRY,
    Delivery,
    DeliveryState,
)
from relaybox_hooks.lanes.memory_queue import MemoryQueue
from relaybox_hooks.wire.envelope import Envelope

ENVELOPE = Envelope("id", "room:join", b"", 0.0)

#: Sweeping begins at this many removed entries; see ``_SLACK`` in ``memory_queue``.
SLACK = 32


def delivery(key: str | None = None) -> Delivery:
    return Delivery(ENVELOPE, key)


class MemoryQueueMachine(RuleBasedStateMachine):
    """A queue beside a model that recomputes everything from one list, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.clocked = Clocked()
        self.clock = self.clocked.manual
        self.calls = 0  # of on_ready
        self.queue = MemoryQueue(self.clocked, self.on_ready)
        self.alive: list[Delivery] = []
        self.removed: list[Delivery] = []
        self.ready: list[Delivery] = []  # in the order in which next() must return them
        self.waiting: dict[Delivery, float] = {}  # with when each is due
        self.in_flight: list[Delivery] = []

    def on_ready(self) -> None:
        self.calls += 1

    def is_head(self, delivery: Delivery) -> bool:
        """No older delivery of its key is left."""
        if delivery.key is None:
            return True
        return next(d for d in self.alive if d.key == delivery.key) is delivery

    def next_of_key(self, delivery: Delivery) -> Delivery | None:
        later = self.alive[self.alive.index(delivery) + 1 :]
        return next((d for d in later if d.key == delivery.key), None)

    def expected_state(self, delivery: Delivery) -> DeliveryState:
        if delivery in self.in_flight:
            return IN_FLIGHT
        if delivery in self.waiting:
            return WAITING_RETRY
        return READY if delivery in self.ready else BLOCKED

    @rule(key=st.sampled_from(["a", "b", "c", None]), times=st.integers(1, 4))
    def put(self, key: str | None, times: int) -> None:
        for _ in range(times):
            added = delivery(key)
            self.alive.append(added)
            if self.is_head(added):
                self.ready.append(added)
            assert self.queue.put(added)

    @rule()
    def next(self) -> None:
        found = self.queue.next()
        if not self.ready:
            assert found is None
            return
        assert found is self.ready.pop(0)
        self.in_flight.append(found)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), wait=st.sampled_from([0.5, 1.0, 2.0, 5.0]))
    def retry_at(self, data: st.DataObject, wait: float) -> None:
        chosen = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        due = self.clock.monotonic() + wait
        self.queue.retry_at(chosen, due)
        self.waiting[chosen] = due

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        before, end = self.calls, self.clock.monotonic() + seconds
        self.clock.advance(seconds)
        due = sorted((when, place) for place, when in enumerate(self.waiting.values()))
        chosen = list(self.waiting)
        for when, place in due:
            if when <= end:
                del self.waiting[chosen[place]]
                self.ready.append(chosen[place])
                assert self.calls > before

    @rule()
    def take_what_waits(self) -> None:
        taken = self.queue.take_waiting()
        assert {each: due for due, each in taken} == self.waiting
        for _, each in taken:
            self.queue.requeue(each)
            self.ready.append(each)
        self.waiting.clear()

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        chosen = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.queue.requeue(chosen)
        self.ready.append(chosen)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.in_flight))
        following = self.following(chosen)
        self.queue.complete(chosen)
        self.note_removed(chosen, following)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        self.discard_one(data.draw(st.sampled_from(self.alive)))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def discard_with_its_key(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.in_flight))
        chain = [chosen]
        if chosen.key is not None:
            chain = [each for each in self.alive if each.key == chosen.key]
        assert self.queue.discard_key(chosen) == chain
        for each in chain:
            self.note_removed(each, None)

    @rule()
    def discard_all_that_are_not_in_flight_on_the_way(self) -> None:
        for each in self.queue:
            if each.state != IN_FLIGHT:
                self.discard_one(each)

    @rule()
    def drop_the_oldest(self) -> None:
        expected = next((d for d in self.alive if d not in self.in_flight), None)
        following = None if expected is None else self.following(expected)
        assert self.queue.drop_oldest() is expected
        if expected is not None:
            self.note_removed(expected, following)

    @rule()
    def clear(self) -> None:
        assert list(self.queue.clear()) == self.alive
        for each in tuple(self.alive):
            self.note_removed(each, None)

    def following(self, chosen: Delivery) -> Delivery | None:
        """The delivery that becomes ready when ``chosen`` leaves."""
        if chosen.key is not None and self.is_head(chosen):
            return self.next_of_key(chosen)
        return None

    def discard_one(self, chosen: Delivery) -> None:
        following = self.following(chosen)
        self.queue.discard(chosen)
        self.note_removed(chosen, following)

    def note_removed(self, chosen: Delivery, following: Delivery | None) -> None:
        self.alive.remove(chosen)
        self.removed.append(chosen)
        self.waiting.pop(chosen, None)
        for group in (self.ready, self.in_flight):
            if chosen in group:
                group.remove(chosen)
        if following is not None:
            self.ready.append(following)

    @invariant()
    def iterates_from_the_oldest_on(self) -> None:
        assert list(self.queue) == self.alive

    @invariant()
    def counts_what_next_would_return(self) -> None:
        assert self.queue.ready_count == len(self.ready)

    @invariant()
    def every_state_is_the_models(self) -> None:
        assert [d.state for d in self.alive] == [self.expected_state(d) for d in self.alive]
        assert all(d.state == REMOVED for d in self.removed)

    @invariant()
    def only_the_head_of_a_key_moves(self) -> None:
        for each in self.alive:
            assert (each.state == BLOCKED) == (not self.is_head(each))

    @invariant()
    def keeps_no_more_than_it_must(self) -> None:
        assert len(self.queue._ready) <= 2 * (len(self.ready) + SLACK) + 2
        assert set(self.queue._tails) == {d.key for d in self.alive if d.key is not None}

    def teardown(self) -> None:
        """Whatever happened before: what is left comes out once each, each key in order."""
        self.take_what_waits()
        for each in self.in_flight:
            self.queue.requeue(each)
        out: list[Delivery] = []
        while (found := self.queue.next()) is not None:
            out.append(found)
            self.queue.complete(found)
        assert len(out) == len(self.alive)
        assert set(out) == set(self.alive)
        for key in {d.key for d in self.alive} - {None}:
            assert [d for d in out if d.key == key] == [d for d in self.alive if d.key == key]
        assert not list(self.queue)


TestMemoryQueue = MemoryQueueMachine.TestCase
TestMemoryQueue.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def memory_queue() -> MemoryQueue:
    return MemoryQueue(Clocked(), lambda: None)


def test_removed_entries_are_swept_while_none_is_taken_out() -> None:
    """Ready deliveries that come and go without a worker leave no trail behind them."""
    queue = memory_queue()
    keeper = delivery("kept")
    queue.put(keeper)
    longest = 0
    for _ in range(10_000):
        passing = delivery()
        queue.put(passing)
        queue.discard(passing)
        longest = max(longest, len(queue._ready))
    assert longest <= 2 * (SLACK + 2)
    assert queue.ready_count == 1
    assert queue.next() is keeper


def test_passing_keys_leave_nothing_behind() -> None:
    queue = memory_queue()
    for number in range(10_000):
        queue.put(delivery(str(number)))
        found = queue.next()
        assert found is not None
        queue.complete(found)
    assert not queue._tails
    assert not queue._ready
