"""A target's own bounded queue: room, overflow, fairness and counts."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Coroutine, Iterable
from contextvars import Context, ContextVar
from typing import Any, Generic, Protocol, TypeVar, cast

from relaybox_hooks.clock import Clock
from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.observer import Notifier
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.validation import Overflow

#: The lane whose worker the current code runs in; set for subscribers, which may emit.
current_lane: ContextVar[Lane[Any] | None] = ContextVar("relaybox_hooks_lane", default=None)

ItemT = TypeVar("ItemT")


class Hub(Protocol):
    """What a lane needs of the dispatcher it belongs to."""

    clock: Clock
    #: The context variables that workers begin with.
    context: Context
    notifier: Notifier
    loop: asyncio.AbstractEventLoop

    #: What all lanes have pending, together.
    outstanding: int

    def settled(self, events: int = 1) -> None:
        """Accepted events are off the books of a lane."""


class Waiter(Generic[ItemT]):
    """An emit that waits for room in one lane.

    Attributes:
        taken: whether the lane took the item or turned it away; ``None`` while it waits.
    """

    __slots__ = ("future", "item", "origin", "taken")

    def __init__(self, item: ItemT, future: asyncio.Future[bool], origin: Lane[Any] | None) -> None:
        self.item = item
        self.future = future
        self.origin = origin
        self.taken: bool | None = None


class Lane(ABC, Generic[ItemT]):
    """The part that lanes of subscribers and of webhooks share.

    ``pending`` counts what waits, is in flight, or waits for a retry, against ``limit``.
    While anyone waits for room the lane is full: freed room goes to the first who waits.
    Mutable state: the counts, ``waiters``, ``waits_for`` and ``workers``.
    """

    __slots__ = (
        "accepted",
        "delivered",
        "dropped",
        "failed",
        "hub",
        "limit",
        "overflow",
        "pending",
        "waiters",
        "waits_for",
        "workers",
    )

    def __init__(self, hub: Hub, limit: int, overflow: Overflow) -> None:
        self.hub = hub
        self.limit = limit
        self.overflow = overflow
        self.pending = 0
        self.accepted = 0
        self.delivered = 0
        self.failed = 0
        self.dropped = 0
        #: First come first served; one that gives up leaves from the middle at no cost.
        self.waiters: OrderedDict[Waiter[ItemT], None] | None = None
        #: Lanes that this lane's own subscriber waits for, each as often as it does.
        self.waits_for: Counter[Lane[Any]] | None = None
        self.workers: set[asyncio.Task[None]] = set()

    @property
    @abstractmethod
    def target(self) -> str:
        """The webhook's id or the subscriber's name."""

    @abstractmethod
    def put(self, item: ItemT) -> None:
        """Take ``item``; the caller has made sure that there is room."""

    @abstractmethod
    def evict(self) -> bool:
        """Drop the oldest item that is not being handled; false where there is none."""

    @abstractmethod
    def bury(self, item: ItemT, reason: Reason) -> None:
        """Record and tell that an item was given up on."""

    def halt(self) -> None:
        """Begin nothing more: a subscriber may swallow the cancellation that is to come."""

    @abstractmethod
    def abandon(self) -> int:
        """Give up everything pending, as closing has run out of time; returns how many."""

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """Everything that runs for this lane now."""
        return self.workers

    def stop(self) -> None:
        """Set no timer off any more."""

    @abstractmethod
    def stats(self) -> TargetStats:
        """The counts as they are now."""

    def squeeze(self, item: ItemT) -> bool:
        """Take ``item`` though the lane is full, as its dropping policy says.

        Returns:
            Whether the lane holds ``item`` now.
        """
        if self.overflow == "drop_oldest" and self.evict() and self.pending < self.limit:
            self.put(item)  # no observer of the drop has taken the room with an event of its own
            return True
        self.turn_away(item)
        return False

    def turn_away(self, item: ItemT, reason: Reason = "overflow") -> None:
        """Give ``item`` up on arrival: counted, told, and recorded."""
        self.accepted += 1
        if reason == "overflow":
            self.dropped += 1
        else:
            self.failed += 1
        self.bury(item, reason)

    def queue_up(self, item: ItemT, origin: Lane[Any] | None) -> Waiter[ItemT]:
        """Wait for room for ``item``; the waiter's future becomes true when it is put."""
        waiter = Waiter(item, self.hub.loop.create_future(), origin)
        if self.waiters is None:
            self.waiters = OrderedDict()
        self.waiters[waiter] = None
        if origin is not None:
            if origin.waits_for is None:
                origin.waits_for = Counter()
            origin.waits_for[self] += 1
        return waiter

    def dismiss(self, waiter: Waiter[ItemT], reason: Reason = "overflow") -> None:
        """No room will come for this waiter: turn its item away, unless it was served."""
        if waiter.taken is None:
            if self.waiters is not None:
                self.waiters.pop(waiter, None)
            self._answer(waiter, False)
            self.turn_away(waiter.item, reason)

    def _answer(self, waiter: Waiter[ItemT], taken: bool) -> None:
        """Let a waiter know at once, in the books too: its emit goes on only a while later."""
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

    def would_deadlock(self, origin: Lane[Any]) -> bool:
        """Whether room here can come only after ``origin``'s own subscriber has gone on."""
        seen: set[Lane[Any]] = set()
        frontier: list[Lane[Any]] = [self]
        while frontier:
            lane = frontier.pop()
            if lane is origin:
                return True
            if lane not in seen:
                seen.add(lane)
                frontier.extend(lane.waits_for or ())
        return False

    def freed(self) -> None:
        """One pending item is settled: its room goes to the first waiter, if there is one."""
        self.pending -= 1
        while self.waiters and self.pending < self.limit:
            waiter, _ = self.waiters.popitem(last=False)
            if waiter.future.cancelled():
                self.dismiss(waiter)
            else:
                self.put(waiter.item)
                self._answer(waiter, True)
        self.hub.settled()

    def spawn(self, work: Coroutine[Any, Any, None], context: Context) -> None:
        """Start a worker, kept from the garbage collector while it runs.

        A worker takes itself off ``workers`` in the same step in which it finds no more work,
        so that the next ``put`` sees it gone; the callback is for one that never begins.
        """
        # Not through the loop's task factory: an eager one would run handlers inside emit,
        # before the lanes further on have been handed the event.
        task = asyncio.Task(work, loop=self.hub.loop, context=context)
        self.workers.add(task)
        task.add_done_callback(self.workers.discard)

    def begin(self) -> asyncio.Task[None]:
        """What a worker does first. It sees to ``workers`` itself from now on: the callback would
        cost it a turn of the event loop more.

        Returns:
            The worker's task.
        """
        task = cast("asyncio.Task[None]", asyncio.current_task())
        task.remove_done_callback(self.workers.discard)
        return task

    def dismiss_waiters(self, reason: Reason) -> None:
        """No room will come for anyone."""
        for waiter in tuple(self.waiters or ()):
            self.dismiss(waiter, reason)
