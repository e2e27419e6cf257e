"""The limit: fixed bytes from bare sockets and protocols, without an HTTP client.

:class:`RawClient` is what any sender on an event loop can at best come to, and :func:`sink_rate`
what the receiver can take, so that it is never the receiver that was measured.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from itertools import cycle, islice, repeat
from types import TracebackType
from typing import Final, Self, cast
from urllib.parse import urlsplit

from benchmarks.bare import IN_FLIGHT, Post, prepared
from benchmarks.children import Child

#: What a process's CPU time is counted in, seconds.
_TICK: Final = 0.01


def request_of(post: Post) -> bytes:
    """Return a request as it goes over the wire."""
    url = urlsplit(post.url)
    head = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", f"Content-Length: {len(post.body)}"]
    head += [f"{name}: {value}" for name, value in post.headers.items()]
    return "\r\n".join((*head, "", "")).encode() + post.body


class _Connection(asyncio.Protocol):
    """Sends a request as soon as the one before is answered: an answer comes in one piece."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only look like one.
        self.transport = cast("asyncio.Transport", transport)
        self._answered: asyncio.Future[None] | None = None

    def send(self, requests: Iterator[bytes]) -> asyncio.Future[None]:
        """Take requests until there are none; the future is done when the last is answered."""
        self._requests = requests
        self._answered = asyncio.get_running_loop().create_future()
        self.data_received(b"")
        return self._answered

    def data_received(self, data: bytes) -> None:
        request = next(self._requests, None)
        if request is not None:
            self.transport.write(request)
        elif self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("the receiver has closed"))


class RawClient(AbstractAsyncContextManager["RawClient"]):
    """Connections that stay open while the ``async with`` block lasts.

    Args:
        post: the request that is sent again and again.
        connections: as many are in flight.
    """

    def __init__(self, post: Post, connections: int = IN_FLIGHT) -> None:
        self._request = request_of(post)
        self._address = urlsplit(post.url)
        self._count = connections
        self._connections: list[_Connection] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            host, port = str(self._address.hostname), int(self._address.port or 80)
            _, connection = await loop.create_connection(_Connection, host, port)
            self._connections.append(connection)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.sleep(0)

    async def send(self, requests: int) -> None:
        """Send so many and wait for the answers."""
        left = repeat(self._request, requests)
        await asyncio.gather(*(connection.send(left) for connection in self._connections))


def flood(post: Post, requests: int) -> None:
    """Send a request again and again, from sockets without an HTTP client or an event loop."""
    url, request = urlsplit(post.url), request_of(post)
    with ExitStack() as stack:
        sockets = [stack.enter_context(_open(url.scheme, url.port)) for _ in range(IN_FLIGHT)]
        for each in sockets:
            each.sendall(request)
        for each in islice(cycle(sockets), requests - IN_FLIGHT):
            each.recv(4096)  # an answer is much shorter, and comes in one piece
            each.sendall(request)
        for each in sockets:
            each.recv(4096)


def _open(scheme: str, port: int | None) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port))
    if scheme == "http":
        return opened
    return ssl.create_default_context().wrap_socket(opened, server_hostname="127.0.0.1")


def sink_rate(requests: int, options: Sequence[str] = (), scheme: str = "http") -> float:
    """Return the requests per second of its own CPU time that the sink takes.

    Args:
        requests: how many are counted; as many before them are not.
        options: of the sink.
        scheme: ``https`` where these make it speak TLS.
    """
    with Child("benchmarks.servers.sink", *options, scheme=scheme) as sink:
        (post,) = prepared([sink.url("/flooded")])
        flood(post, requests)  # what it imports and opens does not count
        began = sink.cpu()
        flood(post, requests)
        return requests / max(sink.cpu() - began, _TICK)
