"""A clock that moves only when a test moves it, for parts that need no event loop."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from relaybox_hooks.clock import Clock


class Timer:
    """A timer of :class:`ManualClock`."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Wall time, monotonic time and timers; ``advance`` fires what is due, in order."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._number = 0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(callback)
        self._number += 1
        heappush(self._timers, (when, self._number, timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                timer.callback()
        self.now = end


class Clocked:
    """Whoever has a clock."""

    def __init__(self) -> None:
        self.manual = ManualClock()
        self.clock: Clock = self.manual
