"""Forwarding of requests to another URL, unchanged, and of its responses back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar
from multidict import CIMultiDict
from yarl import URL

from relaybox_hooks.testing import Answer, Exchange, Fault, ReceivedRequest

#: Hop-by-hop headers (RFC 9110 §7.6.1), ``Host`` and ``Content-Length``, which the client sets
#: anew for the next connection.
_HOP_BY_HOP: Final = (
    "Connection",
    "Content-Length",
    "Expect",
    "Host",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)
#: Headers that aiohttp would add.
_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

#: Timeout of a forwarded request, seconds.
_TIMEOUT: Final = 30.0


class Forwarded(NamedTuple):
    """Result of a forwarded request.

    Attributes:
        request: the request as received.
        status: status of the response, ``None`` without a response.
        error: description of the failure; ``""`` with a response.
        elapsed: duration, seconds.
    """

    request: ReceivedRequest
    status: int | None
    error: str
    elapsed: float


class Forwarder:
    """Client that forwards requests to one URL. Use it as an async context manager.

    Args:
        url: target URL.
        on_forwarded: called with the result of each request.
    """

    def __init__(self, url: URL, on_forwarded: Callable[[Forwarded], None]) -> None:
        self._url = url
        self._on_forwarded = on_forwarded
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=_AUTOMATIC,
            timeout=ClientTimeout(total=_TIMEOUT),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def forward(self, request: ReceivedRequest, on_answer: Callable[[Answer], None]) -> None:
        """Forward ``request`` in a task and call ``on_answer`` with the response, or a 502."""
        task = asyncio.get_running_loop().create_task(self._send(request, on_answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, request: ReceivedRequest, on_answer: Callable[[Answer], None]) -> None:
        began = time.monotonic()
        error = ""
        try:
            async with self._session.request(
                request.method,
                self._url,
                data=request.body or None,
                headers=_end_to_end(request.headers),
                allow_redirects=False,
            ) as response:
                answer = Answer(
                    response.status, _end_to_end(response.headers), await response.read()
                )
        except (ClientError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}" if str(failure) else "no answer in time"
            answer = Answer(502, body=b"the request could not be forwarded\n")
        status = None if error else answer.status
        self._on_forwarded(Forwarded(request, status, error, time.monotonic() - began))
        on_answer(answer)


class ForwardFault(Fault):
    """Fault that forwards the request and responds with the other server's response.

    Args:
        forwarder: client that forwards the request.
        request: the request.
        alter: returns the fault to play for the other server's response.
    """

    __slots__ = ("_alter", "_forwarder", "_request")

    def __init__(
        self,
        forwarder: Forwarder,
        request: ReceivedRequest,
        alter: Callable[[Answer], Fault],
    ) -> None:
        self._forwarder = forwarder
        self._request = request
        self._alter = alter

    def play(self, exchange: Exchange) -> None:
        # If the sender has disconnected by then, writing to the exchange has no effect.
        self._forwarder.forward(
            self._request, lambda answer: exchange.later(0, self._alter(answer))
        )


def _end_to_end(fields: CIMultiDict[str] | object) -> CIMultiDict[str]:
    """Return header fields without hop-by-hop headers."""
    kept: CIMultiDict[str] = CIMultiDict(fields)  # type: ignore[arg-type]
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept
