"""Starts of workers: shared out fairly among the lanes, and spread over turns of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import thread_time
from typing import Final, Protocol, TypeAlias

#: Seconds of CPU time in one turn of the event loop that the first steps of workers may take.
_TURN: Final = 0.001
#: The most workers that may begin in one turn, and how many may at first. It bounds what falls in
#: later turns, of which a first step tells nothing: one that waits for room is cheap, then dials.
_MOST: Final = 10
#: Attempts that a lane's only worker makes before it gives way to lanes that have none. Each
#: time it may have to dial anew.
_SHARE: Final = 8


#: Lanes that wait for a start, in their order; the values are nothing.
Waiting: TypeAlias = "dict[Starter, None]"


class Starter(Protocol):
    """A lane that wants workers.

    Attributes:
        asked: where it waits for a start; only :class:`Starts` sets it, ``None`` to begin with.
        slow: whether its latest attempt timed out.
        workers: those that run, and those that are to begin.
    """

    asked: Waiting | None
    slow: bool
    workers: set[asyncio.Task[None]]

    def wants_worker(self) -> bool:
        """Return whether there is work for one worker more."""

    def start_one(self) -> None:
        """Start a worker."""


class Starts:
    """Decides which lane may start its next worker, and when.

    There are never more than ``maximum`` workers, for each needs a connection. A lane that has
    work and no worker comes before any that has one. Lanes whose latest attempt timed out have
    half of the workers together, so that the others always have some; and where the others want
    all, an eighth, so that one that has recovered is found out.

    No more workers begin in one turn of the event loop than it has time for. What else the turn
    does, and what other processes do, leaves that number as it is: a busy loop would else start
    one worker a turn, and deliver less the more it has to.

    Lanes and workers count by themselves, without a call on every event's way:

    - a lane that is not slow starts a worker as long as there are some ``at_once``: it takes 1
      from that, and adds 1 to ``beginning`` and to ``running``; else it asks :meth:`admit`;
    - a worker takes 1 from ``beginning`` in its first step. If none is left, it calls
      :meth:`all_begun` where lanes are ``waiting``; else ``at_once`` is the ``batch`` again, as
      far as there is room below ``maximum``;
    - at its end it takes 1 from ``running`` and, if it was started while its lane was slow, from
      ``slow_running``, and calls :meth:`launch` where lanes are ``waiting``.

    Args:
        maximum: the most workers at a time.
        call_soon: has a function called in the next turn of the event loop.

    Attributes:
        at_once: workers that may still begin in this turn; 0 where any lane waits.
        batch: workers that may begin in one turn.
        beginning: workers that were started and have not begun.
        maximum: the most workers at a time.
        running: all workers.
        slow_running: those that were started while their lanes were slow.
        waiting: lanes that wait for a start.
    """

    __slots__ = (
        *("_began_at", "_call_soon", "_first", "_further", "_latest_is_slow", "_launched", "_slow"),
        *("_slow_maximum", "_slow_minimum", "at_once", "batch", "beginning", "maximum"),
        *("running", "slow_running", "waiting"),
    )

    def __init__(
        self, maximum: int, call_soon: Callable[[Callable[[], None]], object] | None = None
    ) -> None:
        self.maximum: int = maximum
        self.batch: int = _MOST
        self.at_once: int = min(_MOST, maximum)
        self.beginning: int = 0
        self.running: int = 0
        self.slow_running: int = 0
        self.waiting: int = 0
        self._call_soon = call_soon or _call_soon
        self._slow_maximum = max(1, maximum // 2)
        self._slow_minimum = max(1, maximum // 8)
        #: Whether the latest start was a slow lane's: where there may be one worker in all, slow
        #: lanes and others take turns.
        self._latest_is_slow = False
        #: Lanes that wait: those without a worker, those with some, and those that are slow.
        self._first: Waiting = {}
        self._further: Waiting = {}
        self._slow: Waiting = {}
        #: How many workers :meth:`launch` started last, and when the first of them began.
        self._launched = 0
        self._began_at = 0.0

    def admit(self, lane: Starter) -> bool:
        """Count a worker that ``lane`` is to start now, and return true.

        Else its ``start_one`` is called as soon as it may have one, if it wants one then.
        """
        if self.waiting or lane.slow or self._room() <= 0:
            if self._enqueue(lane) and not self.beginning:
                self.launch()
            return False
        self._admit(lane)
        self.at_once = self._room()
        return True

    def must_yield(self, lane: Starter, attempts: int) -> bool:
        """Return whether a worker has to end after so many attempts, for others to begin."""
        full = self.running >= self.maximum
        if lane.slow:
            spare = self.slow_running > self._slow_minimum or self.maximum == 1
            return bool(self._slow) or (full and spare and bool(self._first))
        if not full or not (self._first or self._slow_is_due()):
            return False
        return len(lane.workers) > 1 or attempts >= _SHARE

    def all_begun(self) -> None:
        """Adapt to the time that the latest workers took to begin, and start the next ones."""
        launched, self._launched = self._launched, 0
        if launched == 1:  # its first step is still under way
            self.batch = max(self.batch, 2)
        elif launched:
            taken = (thread_time() - self._began_at) / (launched - 1)
            self.batch = min(_MOST, max(1, int(_TURN / taken))) if taken > 0 else _MOST
        self.launch()

    def launch(self) -> None:
        """Start as many workers as may begin in the next turn."""
        while self._room() > 0 and (lane := self._next()) is not None:
            if not self.beginning:
                # Runs just before the first steps of the workers, which follow one another.
                self._call_soon(self._note_begin)
            self._launched += 1
            self._admit(lane)
            lane.start_one()
            if lane.wants_worker():
                self._enqueue(lane)
        self.at_once = 0 if self.waiting else self._room()

    def _room(self) -> int:
        """Return how many workers may still be started in this turn."""
        return min(self.batch - self.beginning, self.maximum - self.running)

    def _note_begin(self) -> None:
        self._began_at = thread_time()

    def _enqueue(self, lane: Starter) -> bool:
        """Let a lane wait where it belongs; return whether it did not wait there before."""
        lanes = self._first
        if lane.slow:
            lanes = self._slow
        elif lane.workers:
            lanes = self._further
        if lane.asked is lanes:
            return False
        self.at_once = 0
        if lane.asked is None:
            self.waiting += 1
        else:  # it has lost its worker since, has recovered, or has become slow
            del lane.asked[lane]
        lane.asked = lanes
        lanes[lane] = None
        return True

    def _slow_is_due(self) -> bool:
        """Return whether the next worker ought to be a slow lane's, whoever else waits."""
        if not self._slow or self.slow_running >= self._slow_minimum:
            return False
        return self.maximum > 1 or not self._latest_is_slow

    def _next(self) -> Starter | None:
        """Return the lane that may start its next worker now."""
        if self.running >= self.maximum:
            return None
        order = self._first, self._slow, self._further
        if self._slow_is_due():
            order = self._slow, self._first, self._further
        slow_may = self.slow_running < self._slow_maximum
        for lanes in order:
            while lanes and (slow_may or lanes is not self._slow):
                lane = next(iter(lanes))
                wants = lane.wants_worker()
                if wants and lane.slow and not slow_may:
                    self._enqueue(lane)  # it has become slow since
                    continue
                self._remove(lane)
                if wants:
                    return lane
        return None

    def _remove(self, lane: Starter) -> None:
        if lane.asked is not None:
            del lane.asked[lane]
            lane.asked = None
            self.waiting -= 1

    def _admit(self, lane: Starter) -> None:
        self.beginning += 1
        self.running += 1
        self.slow_running += lane.slow
        self._latest_is_slow = lane.slow


def _call_soon(function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(function)
