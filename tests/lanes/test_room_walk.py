"""A random walk through a room, beside a model that knows only lists."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from support.rooms import Entry, FullError, Parcel, Shelf

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.lanes.room import Waiter
from relaybox_hooks.validation import OVERFLOWS, Overflow

SIZE = 4


class RoomWalk(RuleBasedStateMachine):
    """A shelf, and beside it what ought to be on it, who ought to wait, and the log of both."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.shelf = Shelf(SIZE)
        self.inside: list[Parcel] = []
        self.waiting: list[Waiter[Parcel]] = []
        self.cancelled: set[Waiter[Parcel]] = set()
        self.results: dict[Waiter[Parcel], bool] = {}
        self.log: list[Entry] = []
        self.offered = 0

    def teardown(self) -> None:
        self.loop.close()

    @initialize(overflow=st.sampled_from(OVERFLOWS))
    def choose(self, overflow: Overflow) -> None:
        self.shelf = Shelf(SIZE, overflow)

    # The model

    def fits(self, parcel: Parcel) -> bool:
        return sum(each.size for each in self.inside) + parcel.size <= SIZE

    def take(self, parcel: Parcel) -> None:
        self.inside.append(parcel)
        self.log.append(("taken", parcel.number, None))

    def reject(self, waiter: Waiter[Parcel], reason: Reason) -> None:
        self.waiting.remove(waiter)
        self.results[waiter] = False
        self.log.append(("rejected", waiter.item.number, reason))

    def serve(self) -> None:
        while self.waiting and self.fits(self.waiting[0].item):
            waiter = self.waiting[0]
            if waiter in self.cancelled:
                self.reject(waiter, "overflow")
            else:
                self.waiting.remove(waiter)
                self.results[waiter] = True
                self.take(waiter.item)

    # The walk

    @rule(size=st.integers(1, SIZE), wait=st.booleans())
    def offer(self, size: int, wait: bool) -> None:
        parcel, overflow = Parcel(self.offered, size), self.shelf.overflow
        self.offered += 1
        full = bool(self.waiting) or not self.fits(parcel)
        if full and self.is_refused(wait):
            for log in (self.log, self.shelf.log):  # the caller has an error, and keeps it
                log.append(("rejected", parcel.number, None))
            return
        outcome = self.loop.run_until_complete(self.offering(parcel, wait))
        if full and overflow == "wait":
            assert isinstance(outcome, Waiter)
            self.waiting.append(outcome)
            return
        if full and overflow == "drop_oldest":
            while not self.fits(parcel):
                self.log.append(("dropped", self.inside.pop(0).number, None))
            full = False
        assert outcome is not full
        if full:
            self.log.append(("rejected", parcel.number, "overflow"))
        else:
            self.take(parcel)

    async def offering(self, parcel: Parcel, wait: bool) -> bool | Waiter[Parcel]:
        return self.shelf.offer(parcel, wait=wait)

    def is_refused(self, wait: bool) -> bool:
        """Whether the policy is an error, which leaves everything as it was."""
        refused = self.shelf.overflow == "raise" or (self.shelf.overflow == "wait" and not wait)
        try:
            self.shelf.check_policy(wait=wait, origin=None)
        except FullError:
            assert refused
        else:
            assert not refused
        return refused

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        parcel = data.draw(st.sampled_from(self.inside))
        self.shelf.settle(parcel)
        self.inside.remove(parcel)
        self.serve()

    @precondition(lambda self: set(self.waiting) - self.cancelled)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel an emit, which has not run again yet."""
        waiter = data.draw(st.sampled_from([w for w in self.waiting if w not in self.cancelled]))
        waiter.future.cancel()
        self.cancelled.add(waiter)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Let an emit run again that was cancelled, or wait no longer."""
        waiter = data.draw(st.sampled_from(self.waiting))
        self.shelf.reject_waiter(waiter)
        self.reject(waiter, "overflow")
        self.serve()

    @rule(reason=st.sampled_from(["shutdown", "removed", "disabled"]))
    def reject_waiters(self, reason: Reason) -> None:
        self.shelf.reject_waiters(reason)
        for waiter in self.waiting[:]:
            self.reject(waiter, reason)

    # The comparison

    @invariant()
    def parcels_lie_and_wait_in_order(self) -> None:
        assert self.shelf.parcels == self.inside
        assert list(self.shelf.waiters or ()) == self.waiting
        assert self.shelf.waiters is None or self.waiting

    @invariant()
    def everything_happened_in_the_order_of_the_model(self) -> None:
        assert self.shelf.log == self.log

    @invariant()
    def each_parcel_is_taken_or_rejected_exactly_once(self) -> None:
        ends = Counter(number for what, number, _ in self.shelf.log if what != "dropped")
        ends.update(waiter.item.number for waiter in self.shelf.waiters or ())
        assert ends == Counter(range(self.offered))

    @invariant()
    def each_waiter_knows_its_result(self) -> None:
        for waiter in self.waiting:
            assert waiter.taken is None
            assert waiter.future.done() is (waiter in self.cancelled)
        for waiter, taken in self.results.items():
            assert waiter.taken is taken
            assert waiter.future.cancelled() is (waiter in self.cancelled)
            assert waiter in self.cancelled or waiter.future.result() is taken


TestRoom = RoomWalk.TestCase
TestRoom.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
