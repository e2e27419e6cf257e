"""A backlog keeps each key's order, offers every delivery once, and stays small."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relaybox_hooks.lanes.memory_queue import Backlog, Delivery, State
from relaybox_hooks.wire.envelope import Envelope

ENVELOPE = Envelope("id", "room:join", b"", 0.0)

#: Sweeping begins at this many forgotten entries; see ``_SLACK`` in ``dispatch/order.py``.
SLACK = 32


def delivery(key: str | None = None) -> Delivery:
    return Delivery(ENVELOPE, key)


class BacklogMachine(RuleBasedStateMachine):
    """A backlog beside a model that recomputes everything from one list, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog()
        self.alive: list[Delivery] = []
        self.gone: list[Delivery] = []
        self.ready: list[Delivery] = []  # in the order in which pop() must return them
        self.held: list[Delivery] = []
        self.busy: list[Delivery] = []

    def is_head(self, delivery: Delivery) -> bool:
        """No older delivery of its key is left."""
        if delivery.key is None:
            return True
        return next(d for d in self.alive if d.key == delivery.key) is delivery

    def next_of_key(self, delivery: Delivery) -> Delivery | None:
        later = self.alive[self.alive.index(delivery) + 1 :]
        return next((d for d in later if d.key == delivery.key), None)

    def expected_state(self, delivery: Delivery) -> State:
        if delivery in self.busy:
            return State.BUSY
        if delivery in self.held:
            return State.HELD
        return State.READY if delivery in self.ready else State.BEHIND

    @rule(key=st.sampled_from(["a", "b", "c", None]), times=st.integers(1, 4))
    def push(self, key: str | None, times: int) -> None:
        for _ in range(times):
            added = delivery(key)
            self.alive.append(added)
            if self.is_head(added):
                self.ready.append(added)
            self.backlog.push(added)

    @rule()
    def pop(self) -> None:
        popped = self.backlog.pop()
        if not self.ready:
            assert popped is None
            return
        assert popped is self.ready.pop(0)
        self.busy.append(popped)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        chosen = self.busy.pop(data.draw(st.integers(0, len(self.busy) - 1)))
        self.backlog.hold(chosen)
        self.held.append(chosen)

    @precondition(lambda self: self.busy or self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.busy + self.held))
        (self.busy if chosen in self.busy else self.held).remove(chosen)
        assert self.backlog.release(chosen)
        self.ready.append(chosen)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def release_what_is_gone(self, data: st.DataObject) -> None:
        assert not self.backlog.release(data.draw(st.sampled_from(self.gone)))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.remove_one(data.draw(st.sampled_from(self.alive)))

    @rule()
    def remove_all_that_are_idle_on_the_way(self) -> None:
        for each in self.backlog:
            if each.state is not State.BUSY:
                self.remove_one(each)

    @rule()
    def drop_the_oldest(self) -> None:
        oldest = self.backlog.oldest_idle()
        assert oldest is next((d for d in self.alive if d not in self.busy), None)
        if oldest is not None:
            self.remove_one(oldest)

    def remove_one(self, chosen: Delivery) -> None:
        following = None
        if chosen.key is not None and self.is_head(chosen):
            following = self.next_of_key(chosen)
        self.backlog.remove(chosen)
        self.alive.remove(chosen)
        self.gone.append(chosen)
        for group in (self.ready, self.held, self.busy):
            if chosen in group:
                group.remove(chosen)
        if following is not None:
            self.ready.append(following)

    @invariant()
    def iterates_from_the_oldest_on(self) -> None:
        assert list(self.backlog) == self.alive

    @invariant()
    def counts_what_pop_would_return(self) -> None:
        assert self.backlog.ready_count == len(self.ready)

    @invariant()
    def every_state_is_the_models(self) -> None:
        assert [d.state for d in self.alive] == [self.expected_state(d) for d in self.alive]
        assert all(d.state is State.GONE for d in self.gone)

    @invariant()
    def only_the_head_of_a_key_moves(self) -> None:
        for each in self.alive:
            assert (each.state is State.BEHIND) == (not self.is_head(each))

    @invariant()
    def remembers_no_more_than_it_must(self) -> None:
        assert len(self.backlog._ready) <= 2 * (len(self.ready) + SLACK) + 2
        assert set(self.backlog._tails) == {d.key for d in self.alive if d.key is not None}

    def teardown(self) -> None:
        """Whatever happened before: what is left comes out once each, each key in order."""
        for each in (*self.busy, *self.held):
            self.backlog.release(each)
        out: list[Delivery] = []
        while (popped := self.backlog.pop()) is not None:
            out.append(popped)
            self.backlog.remove(popped)
        assert len(out) == len(self.alive)
        assert set(out) == set(self.alive)
        for key in {d.key for d in self.alive} - {None}:
            assert [d for d in out if d.key == key] == [d for d in self.alive if d.key == key]
        assert not list(self.backlog)


TestBacklog = BacklogMachine.TestCase
TestBacklog.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_dropped_entries_are_swept_while_nothing_is_popped() -> None:
    """Ready deliveries that come and go without a worker leave no trail behind them."""
    backlog = Backlog()
    keeper = delivery("kept")
    backlog.push(keeper)
    longest = 0
    for _ in range(10_000):
        passing = delivery()
        backlog.push(passing)
        backlog.remove(passing)
        longest = max(longest, len(backlog._ready))
    assert longest <= 2 * (SLACK + 2)
    assert backlog.ready_count == 1
    assert backlog.pop() is keeper


def test_passing_keys_leave_nothing_behind() -> None:
    backlog = Backlog()
    for number in range(10_000):
        backlog.push(delivery(str(number)))
        popped = backlog.pop()
        assert popped is not None
        backlog.remove(popped)
    assert not backlog._tails
    assert not backlog._ready
