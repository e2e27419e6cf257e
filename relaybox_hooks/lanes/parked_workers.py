"""Parked workers: a subscriber's worker stays for a while when its queue is empty."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from relaybox_hooks.clock import Alarm
from relaybox_hooks.transport.runtime import Runtime

#: Seconds between two looks at the parked workers: one ends after one to two of them. As long as
#: an event comes in every second it is spared a task, which costs more than the rest of its way.
INTERVAL: Final = 1.0

#: Workers that are ended in one turn of the event loop, which takes it about a millisecond.
_BATCH: Final = 200


class HasWorkers(Protocol):
    """A lane whose workers can be parked.

    Attributes:
        parked: what its parked workers wait for, the one parked last at the end. True sends a
            worker back to the queue, false ends it.
        watched: whether it may park a worker without a word to :meth:`ParkedWorkers.watch`.
    """

    parked: list[asyncio.Future[bool]]
    watched: bool


class ParkedWorkers:
    """The parked workers of all lanes of one ``Hooks``, and the one timer that ends them.

    Mutable state: the lanes with parked workers, some of which may be at work again.

    Args:
        runtime: shared with the lanes.
    """

    __slots__ = ("_alarm", "_closed", "_lanes", "_runtime", "_seen", "_stale", "_watchers")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._alarm = Alarm(runtime, self._look)
        self._closed = False
        self._lanes: set[HasWorkers] = set()
        #: What was parked when the timer fired last.
        self._seen: set[asyncio.Future[bool]] = set()
        #: Parked for too long, with its lane.
        self._stale: list[tuple[HasWorkers, asyncio.Future[bool]]] = []
        self._watchers: list[asyncio.Future[None]] = []

    def watch(self, lane: HasWorkers) -> bool:
        """Look after the workers that ``lane`` parks; false where it may not park any."""
        if self._closed:
            return False
        if not self._lanes:
            self._alarm.set(self._alarm.now() + INTERVAL)
        self._lanes.add(lane)
        lane.watched = True
        self._tell_watchers()
        return True

    async def wait_for_next(self) -> None:
        """Wait until a worker is parked, or closing has begun."""
        if not self._closed:
            watcher: asyncio.Future[None] = self._runtime.loop.create_future()
            self._watchers.append(watcher)
            for lane in self._lanes:
                lane.watched = False
            await watcher

    def close(self) -> None:
        """End all parked workers, and park none from now on."""
        self._closed = True
        self._alarm.cancel()
        for lane in self._lanes:
            lane.watched = False
            while lane.parked:
                _let_end(lane.parked.pop())
        self._lanes.clear()
        self._seen.clear()
        self._stale.clear()
        self._tell_watchers()

    def _look(self) -> None:
        """End what was parked already when the timer fired last."""
        seen: set[asyncio.Future[bool]] = set()
        for lane in tuple(self._lanes):
            if not lane.parked:
                self._lanes.discard(lane)
                lane.watched = False
            for future in lane.parked:
                if future in self._seen:
                    self._stale.append((lane, future))
                else:
                    seen.add(future)
        self._seen = seen
        self._end_stale()
        if self._lanes:
            self._alarm.set(self._alarm.now() + INTERVAL)

    def _end_stale(self) -> None:
        for _ in range(min(_BATCH, len(self._stale))):
            lane, future = self._stale.pop()
            if future in lane.parked:  # else it was woken meanwhile
                lane.parked.remove(future)
                _let_end(future)
        if self._stale:
            self._runtime.loop.call_soon(self._end_stale)

    def _tell_watchers(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)


def _let_end(future: asyncio.Future[bool]) -> None:
    if not future.done():  # its worker was cancelled from outside
        future.set_result(False)
