"""The budget of connections: how many a ``Hooks`` may hold, and which idle ones it closes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from relaybox_hooks.clock import Alarm, Clocked

#: The most connections, unless the user says otherwise.
_MOST: Final = 512
#: Seconds for which a connection may idle, unless the user says otherwise. Few servers keep one
#: for less; and ten thousand webhooks that were used once are not to hold as many sockets.
KEEPALIVE: Final = 15.0


def default_max_connections() -> int:
    """Return half the limit on open files, 512 at most: the host's own sockets need theirs."""
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return _MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(1, min(_MOST, soft // 2))


class Idle(Protocol):
    """A connection that idles."""

    def abort(self) -> None:
        """End it: it idles no more, and calls :meth:`Budget.closing` or :meth:`Budget.closed`."""


class Budget:
    """Counts the connections of one ``Hooks``, and closes those that idle.

    ``maximum`` is never exceeded: who wants one more has the longest idle connection closed, or
    waits until another ends where none idles. A connection that has idled for ``keepalive``
    seconds is closed by a timer, of which there is one.

    Args:
        owner: has the clock.
        maximum: the most connections, those being dialled included.
        keepalive: seconds; 0 keeps none.

    Attributes:
        idle: connections that idle, each with the moment since when (monotonic); the longest first.
        owner: has the clock.
        timed: the timer is set, as it has to be while any idles.
        used: the connections that there are, those being dialled included.
        waiters: those who wait for room; there are none while there is some, or any idles.
    """

    __slots__ = (
        *("_alarm", "_loop", "idle", "keepalive", "maximum", "owner", "timed", "used", "waiters"),
    )

    _loop: asyncio.AbstractEventLoop

    def __init__(self, owner: Clocked, maximum: int, keepalive: float) -> None:
        self.maximum: int = maximum
        self.keepalive: float = keepalive
        self.used: int = 0
        self.idle: dict[Idle, float] = {}
        self.timed: bool = False
        self.waiters: deque[asyncio.Future[None]] = deque()
        self.owner: Clocked = owner
        self._alarm = Alarm(owner, self._close_old)

    async def reserve(self) -> None:
        """Count one more connection, as soon as there may be one, in the order of the calls.

        Whoever has the connection reports its end by :meth:`closed` or :meth:`closing`.
        """
        loop = self._loop = asyncio.get_running_loop()
        if self.used < self.maximum:
            self.used += 1
            return
        waiter: asyncio.Future[None] = loop.create_future()
        self.waiters.append(waiter)
        if self.idle:
            next(iter(self.idle)).abort()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            elif not waiter.cancelled():
                self.closed()  # the room was this one's
            raise

    def closed(self) -> None:
        """Count one connection less: its room goes to who has waited longest for some."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.used -= 1

    def closing(self) -> None:
        """Count one connection less once its socket is closed.

        That of an aborted one is closed in the next turn of the event loop.
        """
        if not self._loop.is_closed():
            self._loop.call_soon(self.closed)

    def set_timer(self) -> None:
        """Let the connections that idle be closed in time."""
        self.timed = True
        self._alarm.set(next(iter(self.idle.values())) + self.keepalive)

    def close(self) -> None:
        """Close every connection that idles, keep none from now on, and end the timer."""
        self.keepalive = 0.0
        self._alarm.cancel()
        self.timed = False
        for connection in tuple(self.idle):
            connection.abort()

    def _close_old(self) -> None:
        self.timed = False
        now = self._alarm.now()
        while self.idle:
            connection, since = next(iter(self.idle.items()))
            if since + self.keepalive > now:
                self.set_timer()
                break
            connection.abort()
