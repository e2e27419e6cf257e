"""The part that lanes of subscribers and of webhooks share: bound, counts and workers."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine, Iterable
from contextvars import Context, ContextVar
from typing import Any, TypeVar

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.errors import LaneFullError
from relaybox_hooks.lanes.room import Room
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import Overflow

ItemT = TypeVar("ItemT")

#: The lane whose worker the current code runs in; set for subscribers, which may emit.
current_lane: ContextVar[Lane[Any] | None] = ContextVar("relaybox_hooks_lane", default=None)


class Lane(Room[ItemT]):
    """A target's own bounded queue, and the workers that empty it.

    ``pending`` counts what waits, is in flight, or waits for a retry, against ``limit``. Mutable
    state: the counts and ``workers``.

    Attributes:
        committing: emits that will hand it an event once the journal has committed it, or their
            inline functions have returned.
        limit: how many items may be pending now.
        pending_bytes: bytes of the events that are pending, for webhooks.
        size: how many items may be pending in general.
        workers: the running ones, and of a subscriber those that are parked.
    """

    __slots__ = (
        "accepted",
        "committing",
        "delivered",
        "dropped",
        "failed",
        "limit",
        "pending",
        "pending_bytes",
        "runtime",
        "size",
        "workers",
    )

    accepted: int
    delivered: int
    dropped: int
    failed: int
    pending: int

    def __init__(self, runtime: Runtime, limit: int, overflow: Overflow) -> None:
        super().__init__(overflow)
        self.runtime: Runtime = runtime
        self.limit: int = limit
        self.size: int = limit
        self.pending_bytes: int = 0
        self.pending = 0
        self.accepted = 0
        self.delivered = 0
        self.failed = 0
        self.dropped = 0
        self.committing: int = 0
        self.workers: set[asyncio.Task[None]] = set()

    @property
    @abstractmethod
    def target(self) -> str:
        """The webhook's id or the subscriber's name."""

    @abstractmethod
    def suspend(self) -> None:
        """Begin nothing more: a subscriber may swallow the cancellation that follows."""

    @abstractmethod
    def discard(self) -> int:
        """Give up everything pending, as closing has run out of time; return how many."""

    @abstractmethod
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """Return everything that runs for this lane now."""

    @abstractmethod
    def cancel_timers(self) -> None:
        """Cancel every timer of this lane."""

    @abstractmethod
    def stats(self) -> TargetStats:
        """Return the counts as they are now."""

    @abstractmethod
    def record_loss(self, item: ItemT, reason: Reason, *, rejected: bool = False) -> None:
        """Report, and where it can be kept record, an item that is given up.

        Args:
            item: the event or delivery.
            reason: why.
            rejected: on arrival, so that it was never pending.
        """

    def has_room(self, item: ItemT) -> bool:
        return self.pending < self.limit

    def reject(self, item: ItemT, reason: Reason) -> None:
        self.accepted += 1
        if reason == "overflow":
            self.dropped += 1
        else:
            self.failed += 1
        self.record_loss(item, reason, rejected=True)

    def full_error(self, advice: str) -> LaneFullError:
        if self.limit < self.size:
            advice = f"max_pending_bytes: {self.pending_bytes} bytes are pending; {advice}"
        return LaneFullError(self.target, self.size, advice)

    def settle_one(self) -> None:
        """Count one pending item as settled; its room goes to the first waiter, if there is one."""
        self.pending -= 1
        if self.waiters:
            self.serve_waiters()
        runtime = self.runtime
        runtime.outstanding -= 1
        if not runtime.outstanding and runtime.joiners:
            runtime.settled(0)

    def start_worker(self, work: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
        """Start a worker and return its task, kept from the garbage collector while it runs.

        A worker removes itself from ``workers`` in the same step in which it finds no more work,
        so that the next ``enqueue`` starts another. The callback is for one that never begins:
        any other removes it first, for it would cost another turn of the event loop.
        """
        # Not through the loop's task factory: an eager one would run handlers inside emit,
        # before the lanes further on have been handed the event.
        task = asyncio.Task(work, loop=self.runtime.loop, context=context)
        self.workers.add(task)
        task.add_done_callback(self.workers.discard)
        return task
