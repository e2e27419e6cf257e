"""Wall time, monotonic time and timers behind one protocol, so that tests can control them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """A timer that can be cancelled."""

    def cancel(self) -> None:
        """Cancel it; harmless when it has fired."""


class Clock(Protocol):
    """Wall time, monotonic time and timers."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        """Call ``callback`` in the event loop at ``when`` on the monotonic clock."""


class LoopClock:
    """The event loop's clock and timers, and the machine's wall time."""

    __slots__ = ("call_at", "monotonic", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time: Callable[[], float] = time.time
        self.monotonic: Callable[[], float] = loop.time
        self.call_at: Callable[[float, Callable[[], object]], Handle] = loop.call_at


class Clocked(Protocol):
    """An object that has a clock, from its start on."""

    clock: Clock


class Alarm:
    """One timer, set to the earliest of the moments that it was asked for."""

    __slots__ = ("_callback", "_handle", "_owner", "_when")

    def __init__(self, owner: Clocked, callback: Callable[[], object]) -> None:
        self._owner = owner
        self._callback = callback
        self._handle: Handle | None = None
        self._when = 0.0

    def now(self) -> float:
        """Return the present moment on the clock that it goes by (monotonic)."""
        return self._owner.clock.monotonic()

    def set(self, when: float) -> None:
        """Fire at ``when`` (monotonic), unless it will fire earlier anyway."""
        if self._handle is not None:
            if self._when <= when:
                return
            self._handle.cancel()
        self._when = when
        self._handle = self._owner.clock.call_at(when, self._fire)

    def cancel(self) -> None:
        """Do not fire."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._callback()


async def sleep(clock: Clock, seconds: float) -> None:
    """Sleep for so many seconds on ``clock``."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handle = clock.call_at(clock.monotonic() + seconds, lambda: _wake(woken))
    try:
        await woken
    finally:
        handle.cancel()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
