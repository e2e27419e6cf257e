"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

#: Passes through the event loop after a timer has fired, so that what it woke, and what
#: that woke in turn, has run before the next timer fires.
_TURNS: Final = 20

#: Seconds by which sums of the same waits in another order may differ: doubles, rounded.
_ROUNDING: Final = 1e-9


class VirtualTimer:
    """A timer on a :class:`VirtualClock`."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Call it off; harmless when it has fired."""
        self.callback = None

    def fire(self) -> None:
        """Call back, unless it has fired or was called off."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class VirtualClock:
    """Time for ``Hooks(clock=...)`` that moves only by :meth:`advance`.

    Retries, cool-downs, time-outs and deadlines all follow it; sockets do not. Wait for what
    you expect of a server by its state, then advance. A timer that is due when it is set fires
    in the event loop's next pass, as the loop's own would.

    Args:
        start: the wall time to begin with, seconds since the Unix epoch.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._now = 0.0
        self._sequence = 0
        self._timers: list[tuple[float, int, VirtualTimer]] = []

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return self._start + self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def call_at(self, when: float, callback: Callable[[], object]) -> VirtualTimer:
        """Call ``callback`` when :meth:`advance` comes to ``when`` (monotonic)."""
        timer = VirtualTimer(callback)
        if when <= self._now:
            asyncio.get_running_loop().call_soon(timer.fire)
            return timer
        self._sequence += 1
        heappush(self._timers, (when, self._sequence, timer))
        return timer

    @property
    def next_timer(self) -> float | None:
        """Seconds until the next timer is due; ``None`` where there is none."""
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
        return self._timers[0][0] - self._now if self._timers else None

    async def advance(self, seconds: float) -> None:
        """Move time forward, firing what comes due on the way, each at its own moment.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not go back: advance({seconds!r})")
        until = self._now + seconds
        await self._settle()
        while self.next_timer is not None and self._timers[0][0] <= until + _ROUNDING:
            when, _, timer = heappop(self._timers)
            self._now = max(self._now, when)
            timer.fire()
            await self._settle()
        self._now = max(self._now, until)

    async def _settle(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
