"""Loop lag: the CPU time that each turn of an event loop takes its thread.

While a turn lasts nothing else runs, so its length is what a socket that became readable waits.
By the wall clock it would count what other programs did to the core meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from selectors import DefaultSelector, SelectorKey
from time import thread_time

from benchmarks.estimates import percentile


class LoopTurns(DefaultSelector):
    """Selector of an event loop that notes the loop's turns: from one wait to the next."""

    def __init__(self) -> None:
        super().__init__()
        self._took: list[float] = []
        self._began = thread_time()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """End a turn, wait as selectors do, and begin the next."""
        self._took.append(thread_time() - self._began)
        try:
            return super().select(timeout)
        finally:
            self._began = thread_time()

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop whose turns are noted, as ``asyncio.Runner`` wants it."""
        return asyncio.SelectorEventLoop(self)

    def take(self) -> list[float]:
        """Return the milliseconds of the turns that have ended since the last call.

        The one that is under way is not among them; it is the first of the next call's.
        """
        took, self._took = self._took, []
        return [1000 * seconds for seconds in took]


def lag(turns: Sequence[float]) -> float:
    """Return the 99th percentile of turns; 0 of none."""
    return percentile(turns, 0.99) if turns else 0.0
