"""A delivery queue in memory: in order per key, side by side across keys."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from relaybox_hooks.clock import Clocked
from relaybox_hooks.lanes.delivery import (
    BLOCKED,
    IN_FLIGHT,
    READY,
    REMOVED,
    WAITING_RETRY,
    Delivery,
)
from relaybox_hooks.lanes.retry_queue import RetryQueue

#: Removed entries a deque may hold beyond half its length before it is swept.
_SLACK: Final = 32


class MemoryQueue:
    """A :class:`~relaybox_hooks.lanes.delivery_queue.DeliveryQueue` in memory.

    All operations cost O(1), waiting for a retry O(log n).

    Args:
        clocked: has the clock that ``retry_at`` goes by.
        on_ready: called when deliveries have become ready because their retry is due.
    """

    __slots__ = (
        "_clocked",
        "_newest",
        "_oldest",
        "_on_ready",
        "_ready",
        "_removed",
        "_retries",
        "_tails",
    )

    oldest_first: Final = True

    def __init__(self, clocked: Clocked, on_ready: Callable[[], object]) -> None:
        self._clocked = clocked
        self._on_ready = on_ready
        self._oldest: Delivery | None = None
        self._newest: Delivery | None = None
        self._tails: dict[str, Delivery] = {}
        # No deque while nothing is ready: an empty one would cost each idle webhook 700 bytes.
        self._ready: deque[Delivery] | tuple[()] = ()
        # Entries of _ready that were removed while they waited there, since the last sweep.
        self._removed = 0
        # Made when it is first needed, for the sake of webhooks that never fail.
        self._retries: RetryQueue | None = None

    def __iter__(self) -> Iterator[Delivery]:
        delivery = self._oldest
        while delivery is not None:
            newer = delivery.newer
            yield delivery
            delivery = newer

    @property
    def ready_count(self) -> int:
        return len(self._ready) - self._removed

    def put(self, delivery: Delivery) -> bool:
        newest = self._newest
        if newest is None:
            self._oldest = delivery
        else:
            newest.newer = delivery
            delivery.older = newest
        self._newest = delivery
        key = delivery.key
        if key is not None:
            tail = self._tails.get(key)
            self._tails[key] = delivery
            if tail is not None:
                tail.after = delivery
                delivery.before = tail
                delivery.state = BLOCKED
                return True
        if isinstance(self._ready, tuple):
            self._ready = deque()
        self._ready.append(delivery)
        return True

    def next(self) -> Delivery | None:
        ready = self._ready
        while ready:
            delivery = ready.popleft()
            if delivery.state == READY:
                delivery.state = IN_FLIGHT
                return delivery
            self._removed -= 1
        self._ready = ()
        return None

    def complete(self, delivery: Delivery) -> None:
        self.discard(delivery)

    def retry_at(self, delivery: Delivery, due: float) -> None:
        delivery.state = WAITING_RETRY
        if self._retries is None:
            self._retries = RetryQueue(self._clocked, self._requeue_due)
        self._retries.push(delivery, due)

    def requeue(self, delivery: Delivery) -> None:
        delivery.state = READY
        self._append_ready(delivery)

    def discard(self, delivery: Delivery) -> None:
        state = delivery.state
        delivery.state = REMOVED
        older, newer = delivery.older, delivery.newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        delivery.older = delivery.newer = None
        if state == READY:
            self._sweep_ready()
        if delivery.key is not None:
            self._unchain(delivery, delivery.key)

    def discard_key(self, delivery: Delivery) -> list[Delivery]:
        """Take out a delivery and all that are blocked by it; none becomes ready for that."""
        chain = [delivery]
        while (after := chain[-1].after) is not None:
            chain.append(after)
        for each in reversed(chain):
            self.discard(each)
        return chain

    def take_waiting(self) -> list[tuple[float, Delivery]]:
        """Return what waits for a retry, each with when it is due, and wait for it no longer."""
        return [] if self._retries is None else self._retries.take_all()

    def drop_oldest(self) -> Delivery | None:
        for delivery in self:
            if delivery.state != IN_FLIGHT:
                self.discard(delivery)
                return delivery
        return None

    def close(self) -> None:
        """Do nothing: all of it is in memory, and given up by the lane."""

    def reopen(self) -> None:
        """Do nothing: nothing is left from before."""

    def clear(self) -> Iterable[Delivery]:
        deliveries = tuple(self)
        for delivery in deliveries:
            self.discard(delivery)
        return deliveries

    def suspend(self) -> None:
        """Do nothing: this queue starts no task."""

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return ()

    def cancel_timers(self) -> None:
        if self._retries is not None:
            self._retries.cancel()

    def _requeue_due(self) -> None:
        for delivery in self._retries.pop_due() if self._retries else ():
            if delivery.state == WAITING_RETRY:
                self.requeue(delivery)
        self._on_ready()

    def _unchain(self, delivery: Delivery, key: str) -> None:
        """Take a delivery out of the list of its key; the next one becomes ready."""
        before, after = delivery.before, delivery.after
        if after is not None:
            after.before = before
        elif before is not None:
            self._tails[key] = before
        else:
            del self._tails[key]
            if not self._tails:
                self._tails = {}  # an emptied dict keeps the room it grew to
        if before is not None:
            before.after = after
        elif after is not None:
            after.state = READY
            self._append_ready(after)
        delivery.before = delivery.after = None

    def _append_ready(self, delivery: Delivery) -> None:
        if isinstance(self._ready, tuple):
            self._ready = deque()
        self._ready.append(delivery)

    def _sweep_ready(self) -> None:
        self._removed += 1
        if self._removed > len(self._ready) // 2 + _SLACK:
            self._ready = deque(each for each in self._ready if each.state == READY)
            self._removed = 0
