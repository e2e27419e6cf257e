"""Lookups by c-ares within the event loop: no thread, and few sockets however many names hang.

pycares, the binding of c-ares, is used as it is. With aiodns on top of it aiohttp would change
the default resolver of every session in the process, the application's own too.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pycares

from relaybox_hooks.transport.lookups import (
    Address,
    LookupFailedError,
    NoDataError,
    NoSuchNameError,
)

#: Seconds between two looks at the time-outs of queries, while there are any. c-ares spreads the
#: queries that it repeats; the longer from look to look, the more of them leave at once.
_TICK: Final = 0.05

#: Queries to a name server before a lookup fails. With the 0.25 s that c-ares gives a fast name
#: server's first query, doubled each time, a lookup takes up to 7.75 s: about as long as glibc's.
_TRIES: Final = 5

#: Lookups under way on a channel. Each takes up to two of its 65,536 query ids, drawn at random
#: until a free one is found, and about 4 KB.
_PER_CHANNEL: Final = 4_096

#: Seconds for which a channel takes lookups. c-ares keeps what a channel was answered, for an hour
#: even that a name has no data, and pycares cannot tell it otherwise.
_USE: Final = 10.0

#: Channels at a time. One more, and the oldest ends, with the lookups that have waited longest.
_CHANNELS: Final = 4

#: What tells c-ares the name servers and search domains, on most systems.
_RESOLV_CONF: Final = Path("/etc/resolv.conf")


def loop_can_watch_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether ``loop`` has ``add_reader``; the proactor of Windows has not."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


class DnsChannels:
    """Lookups by the name servers, search domains and hosts file of the system.

    A new channel is opened when the one in use has enough lookups under way, 10 s have passed, or
    ``resolv_conf`` has changed; the oldest ends when there are too many, with what is left of its
    lookups. An idle channel holds no socket.

    Args:
        nameservers: ``address`` or ``address:port`` of each; the system's unless given.
        resolv_conf: the file that a change of the system's name servers shows in.
        now: a clock in seconds that never goes back.
        per_channel: lookups under way on a channel.
        channels: channels at a time.
    """

    def __init__(
        self,
        *,
        nameservers: Sequence[str] = (),
        resolv_conf: Path = _RESOLV_CONF,
        now: Callable[[], float] = time.monotonic,
        per_channel: int = _PER_CHANNEL,
        channels: int = _CHANNELS,
    ) -> None:
        self._nameservers = tuple(nameservers)
        self._resolv_conf = resolv_conf
        self._now = now
        self._per_channel = per_channel
        self._most_channels = channels
        self._channels: deque[_Channel] = deque()
        self._version: object = None
        self._used_until = 0.0
        self._closed = False

    @property
    def outstanding(self) -> int:
        """Lookups under way."""
        return sum(channel.outstanding for channel in self._channels)

    def look_up(self, host: str, family: socket.AddressFamily) -> asyncio.Future[list[Address]]:
        """Begin a lookup. Its result: addresses, the one to be preferred first.

        The future raises:
            NoSuchNameError: there is no such name, or no address of it.
            LookupFailedError: no answer.
        """
        future: asyncio.Future[list[Address]] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(LookupFailedError(host, "the resolver is closed"))
            return future
        try:
            self._current().look_up(host, family, future)
        except UnicodeError:
            future.set_exception(NoSuchNameError(host))
        except pycares.AresError as error:
            reason = f"{error}; check the name servers in {self._resolv_conf}"
            future.set_exception(LookupFailedError(host, reason))
        return future

    def close(self) -> None:
        """End every lookup as failed, and close the sockets. Waits for nothing."""
        self._closed = True
        while self._channels:
            self._channels.popleft().close()

    def _current(self) -> _Channel:
        version = _version(self._resolv_conf)
        if version == self._version and self._channels:
            newest = self._channels[-1]
            if newest.outstanding < self._per_channel and self._now() < self._used_until:
                return newest
        self._version = version
        self._used_until = self._now() + _USE
        if len(self._channels) >= self._most_channels:
            self._channels.popleft().close()
        channel = _Channel(self._nameservers)
        self._channels.append(channel)
        return channel


class _Channel:
    """One c-ares channel, whose sockets and time-outs the running event loop attends to."""

    def __init__(self, nameservers: tuple[str, ...]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ares = pycares.Channel(
            sock_state_cb=self._socket_changed,
            tries=_TRIES,
            servers=nameservers or None,
        )
        self.outstanding: int = 0

    def look_up(
        self, host: str, family: socket.AddressFamily, future: asyncio.Future[list[Address]]
    ) -> None:
        def ended(found: pycares.AddrInfoResult | None, error: int | None) -> None:
            self.outstanding -= 1
            if future.done():
                return
            addresses = [_address(node) for node in found.nodes] if found else []
            if addresses:
                future.set_result(addresses)
            else:
                future.set_exception(_error(host, error or pycares.errno.ARES_ENODATA))

        self._ares.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM, callback=ended)
        self.outstanding += 1
        if self._timer is None and self.outstanding:
            self._timer = self._loop.call_later(_TICK, self._tick)

    def close(self) -> None:
        self._ares.cancel()
        self._ares.close()
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._ares.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        self._timer = self._loop.call_later(_TICK, self._tick) if self.outstanding else None

    def _socket_changed(self, fd: int, readable: bool, writable: bool) -> None:
        if readable:
            self._loop.add_reader(fd, self._ares.process_read_fd, fd)
        else:
            self._loop.remove_reader(fd)
        if writable:
            self._loop.add_writer(fd, self._ares.process_write_fd, fd)
        else:
            self._loop.remove_writer(fd)


def _version(file: Path) -> object:
    """What changes with the content of a file."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _address(node: pycares.AddrInfoNode) -> Address:
    return Address(socket.AddressFamily(node.family), node.addr[0].decode("ascii"))


def _error(host: str, error: int) -> OSError:
    match error:
        case pycares.errno.ARES_ENODATA:
            return NoDataError(host)
        case pycares.errno.ARES_ENOTFOUND | pycares.errno.ARES_EBADNAME:
            return NoSuchNameError(host)
    return LookupFailedError(host, str(pycares.errno.strerror(error)))
