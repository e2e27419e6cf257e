"""Deliveries that wait for their next attempt, ordered by when it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from relaybox_hooks.clock import Alarm, Clocked
from relaybox_hooks.lanes.delivery import WAITING_RETRY, Delivery

#: Removed entries the heap may hold beyond its own half before it is swept.
_SLACK: Final = 64


class RetryQueue:
    """A heap of deliveries, and a timer that fires when the first is due.

    A delivery that has left its queue meanwhile is passed over.
    """

    __slots__ = ("_alarm", "_heap", "_sequence", "_sweep_at")

    def __init__(self, clocked: Clocked, when_due: Callable[[], object]) -> None:
        self._alarm = Alarm(clocked, when_due)
        self._heap: list[tuple[float, int, Delivery]] = []
        self._sequence = 0
        self._sweep_at = _SLACK

    def push(self, delivery: Delivery, due: float) -> None:
        """Add a delivery that is due at ``due``, monotonic."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].state == WAITING_RETRY]
            heapify(self._heap)
            self._sweep_at = 2 * len(self._heap) + _SLACK
        self._sequence += 1
        heappush(self._heap, (due, self._sequence, delivery))
        self._alarm.set(due)

    def pop_due(self) -> Iterator[Delivery]:
        """Yield what is due, the earliest first, and set the timer for the rest."""
        now = self._alarm.now()
        while self._heap and self._heap[0][0] <= now:
            yield heappop(self._heap)[2]
        if self._heap:
            self._alarm.set(self._heap[0][0])

    def take_all(self) -> list[tuple[float, Delivery]]:
        """Return everything, each with when it is due, monotonic, and be empty."""
        held = [(due, each) for due, _, each in self._heap if each.state == WAITING_RETRY]
        self._heap.clear()
        self.cancel()
        return held

    def cancel(self) -> None:
        """Cancel the timer."""
        self._alarm.cancel()
