"""Room for one more: a bound on what is pending, and the four policies where it is reached."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from relaybox_hooks.clock import Clock
from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.errors import RelayboxHooksError
from relaybox_hooks.validation import Overflow

ItemT = TypeVar("ItemT")


class Waiter(Generic[ItemT]):
    """An emit that waits for room.

    Attributes:
        future: done as soon as the item was taken (true) or rejected (false).
        item: what there is to be room for.
        origin: the lane whose subscriber waits, ``None`` where no subscriber does.
        taken: the future's result, known a moment earlier; ``None`` while it waits.
    """

    __slots__ = ("future", "item", "origin", "taken")

    def __init__(self, item: ItemT, future: asyncio.Future[bool], origin: Room[Any] | None) -> None:
        self.item: ItemT = item
        self.future: asyncio.Future[bool] = future
        self.origin: Room[Any] | None = origin
        self.taken: bool | None = None


class Room(ABC, Generic[ItemT]):
    """A bound on what is pending, and the policy for what comes beyond it.

    Waiters are served first come, first served; while any waits nothing else gets in.

    Attributes:
        overflow: ``"wait"``, ``"drop_oldest"``, ``"drop_newest"`` or ``"raise"``.
        waiters: in the order in which they came; one may leave from the middle at no cost.
        waits_for: rooms that this lane's own subscriber waits for, each as often as it does.
    """

    __slots__ = ("overflow", "waiters", "waits_for")

    def __init__(self, overflow: Overflow) -> None:
        self.overflow = overflow
        self.waiters: OrderedDict[Waiter[ItemT], None] | None = None
        self.waits_for: Counter[Room[Any]] | None = None

    @abstractmethod
    def has_room(self, item: ItemT) -> bool:
        """Return whether ``item`` can be taken now."""

    @abstractmethod
    def enqueue(self, item: ItemT) -> None:
        """Take ``item``, for which there is room."""

    @abstractmethod
    def drop_oldest(self, item: ItemT) -> None:
        """Make room for ``item`` by dropping the oldest, if there is any to drop."""

    @abstractmethod
    def reject(self, item: ItemT, reason: Reason) -> None:
        """Give ``item`` up on arrival: count, report and record it."""

    @abstractmethod
    def full_error(self, advice: str) -> RelayboxHooksError:
        """Return the error that says that there is no room, and what to do."""

    def check_policy(self, *, wait: bool, origin: Room[Any] | None) -> None:
        """Check that a full room's policy, and the caller, allow one more item to be offered.

        Args:
            wait: whether the caller can wait.
            origin: the lane whose subscriber is the caller, if one is.

        Raises:
            RelayboxHooksError: ``full_error``. Nothing was dropped or queued.
        """
        if self.overflow == "raise":
            raise self.full_error('overflow="raise"; slow down, or raise queue_size')
        if self.overflow != "wait":
            return
        if not wait:
            raise self.full_error("emit_nowait does not wait; await emit(...) instead")
        if origin is not None and self._would_deadlock(origin):
            raise self.full_error(
                f"{origin} would wait for itself; raise queue_size, choose a "
                "dropping overflow, or emit from a task with a context of its own"
            )

    def offer(
        self, item: ItemT, *, wait: bool, origin: Room[Any] | None = None
    ) -> bool | Waiter[ItemT]:
        """Take ``item`` if there is room; else do as the policy says.

        Returns:
            Whether ``item`` was taken, or a waiter whose future says so.
        """
        if not self.waiters and self.has_room(item):
            self.enqueue(item)
            return True
        if wait and self.overflow == "wait":
            return self._wait(item, origin)
        if self.overflow == "drop_oldest":
            self.drop_oldest(item)
            if self.has_room(item):  # no observer of the drop has used it for an event of its own
                self.enqueue(item)
                return True
        self.reject(item, "overflow")
        return False

    def serve_waiters(self) -> None:
        """Let those in who came first, as far as there is room."""
        while self.waiters:
            waiter = next(iter(self.waiters))
            if not self.has_room(waiter.item):
                break
            del self.waiters[waiter]
            if waiter.future.cancelled():
                self._reject_waiter(waiter, "overflow")
            else:
                self.enqueue(waiter.item)
                self._answer(waiter, True)

    def reject_waiter(self, waiter: Waiter[ItemT]) -> None:
        """Reject a waiter's item, unless it was served: its caller waits no longer."""
        if waiter.taken is None:
            self._reject_waiter(waiter, "overflow")
            self.serve_waiters()  # those behind it may fit

    def reject_waiters(self, reason: Reason) -> None:
        """Reject what everyone waits with: no room will come."""
        for waiter in tuple(self.waiters or ()):
            if waiter.taken is None:  # else an observer of the one before has changed that
                self._reject_waiter(waiter, reason)

    def _reject_waiter(self, waiter: Waiter[ItemT], reason: Reason) -> None:
        if self.waiters is not None:
            self.waiters.pop(waiter, None)
        self._answer(waiter, False)
        self.reject(waiter.item, reason)

    def _wait(self, item: ItemT, origin: Room[Any] | None) -> Waiter[ItemT]:
        waiter = Waiter(item, asyncio.get_running_loop().create_future(), origin)
        if self.waiters is None:
            self.waiters = OrderedDict()
        self.waiters[waiter] = None
        if origin is not None:
            if origin.waits_for is None:
                origin.waits_for = Counter()
            origin.waits_for[self] += 1
        return waiter

    def _answer(self, waiter: Waiter[ItemT], taken: bool) -> None:
        """Record the result at once: the waiting emit goes on only a while later."""
        waiter.taken = taken
        if not waiter.future.done():  # it is where the emit was cancelled
            waiter.future.set_result(taken)
        if not self.waiters:
            self.waiters = None
        origin = waiter.origin
        if origin is not None and origin.waits_for is not None:
            origin.waits_for[self] -= 1
            if origin.waits_for[self] <= 0:
                del origin.waits_for[self]

    def _would_deadlock(self, origin: Room[Any]) -> bool:
        """Return whether room here can come only after ``origin``'s own subscriber has gone on."""
        seen: set[Room[Any]] = set()
        frontier: list[Room[Any]] = [self]
        while frontier:
            room = frontier.pop()
            if room is origin:
                return True
            if room not in seen:
                seen.add(room)
                frontier.extend(room.waits_for or ())
        return False


async def wait_for_room(
    waiting: Iterable[tuple[Room[Any], Waiter[Any]]], clock: Clock, timeout: float
) -> None:
    """Wait until every waiter was served or rejected; after ``timeout`` seconds reject them."""
    waiting = tuple(waiting)

    def reject() -> None:
        for room, waiter in waiting:
            room.reject_waiter(waiter)

    timer = None
    if timeout != float("inf"):
        timer = clock.call_at(clock.monotonic() + timeout, reject)
    try:
        for _, waiter in waiting:
            await waiter.future
    finally:
        if timer is not None:
            timer.cancel()
        reject()  # those that are still unanswered where the emit was cancelled
