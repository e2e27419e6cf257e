"""Virtual clock for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

#: Iterations of the event loop after a timer has fired, so that the tasks it wakes, and those
#: that they wake, run before the next timer fires.
_ITERATIONS: Final = 20

#: Rounding error of sums of delays, seconds: doubles added in different orders differ slightly.
_ROUNDING: Final = 1e-9


class VirtualTimer:
    """Timer of a :class:`VirtualClock`."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Cancel the timer; has no effect after it has fired."""
        self.callback = None

    def fire(self) -> None:
        """Call the callback, unless the timer has fired or was cancelled."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class VirtualClock:
    """Clock for ``Hooks(clock=...)`` that advances only by :meth:`advance`.

    Controls retries, cooldowns, timeouts and deadlines, but not sockets: wait for the state that
    you expect of a server, then advance. A timer that is due when it is set fires in the next
    iteration of the event loop, like a timer of the loop.

    Args:
        start: initial wall time, seconds since the Unix epoch.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._now = 0.0
        self._sequence = 0
        self._timers: list[tuple[float, int, VirtualTimer]] = []

    def time(self) -> float:
        """Return the wall time, seconds since the Unix epoch."""
        return self._start + self._now

    def monotonic(self) -> float:
        """Return the seconds since the clock was created."""
        return self._now

    def call_at(self, when: float, callback: Callable[[], object]) -> VirtualTimer:
        """Call ``callback`` when :meth:`advance` reaches ``when`` (monotonic, seconds)."""
        timer = VirtualTimer(callback)
        if when <= self._now:
            asyncio.get_running_loop().call_soon(timer.fire)
            return timer
        self._sequence += 1
        heappush(self._timers, (when, self._sequence, timer))
        return timer

    @property
    def next_timer(self) -> float | None:
        """Return the seconds until the next timer is due, ``None`` without a timer."""
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
        return self._timers[0][0] - self._now if self._timers else None

    async def advance(self, seconds: float) -> None:
        """Advance the time by ``seconds`` and fire due timers, each at its own time.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if not seconds >= 0:
            raise ValueError(f"advance({seconds!r}): time does not go back; pass 0 or more seconds")
        until = self._now + seconds
        await self._run_ready_tasks()
        while self.next_timer is not None and self._timers[0][0] <= until + _ROUNDING:
            when, _, timer = heappop(self._timers)
            self._now = max(self._now, when)
            timer.fire()
            await self._run_ready_tasks()
        self._now = max(self._now, until)

    async def _run_ready_tasks(self) -> None:
        for _ in range(_ITERATIONS):
            await asyncio.sleep(0)
