"""Disconnections of clients whose connections are not read."""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable


class Hangups:
    """Watches sockets that are not read for the FIN or RST of their clients.

    An event loop notices neither without reading. Linux's epoll does, unless the client's FIN is
    behind bytes for which the receive buffer has no room. On other systems a watched connection
    stays open until the receiver closes.
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the client of the socket disconnects, until ``unwatch(fd)``."""
        if sys.platform != "linux":
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._call_back)
        self._epoll.register(fd, select.EPOLLRDHUP)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Stop watching a watched socket, which may be closed already; frees all with the last."""
        epoll = self._epoll
        if epoll is None:  # not Linux
            return
        del self._callbacks[fd]
        try:
            epoll.unregister(fd)
        except OSError:  # the socket is closed
            pass
        if not self._callbacks:
            self._epoll = None
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()

    def _call_back(self) -> None:
        if self._epoll is not None:
            for fd, _ in self._epoll.poll(0):
                self._callbacks[fd]()
