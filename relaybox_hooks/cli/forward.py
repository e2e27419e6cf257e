"""Requests passed on to another URL, unchanged, and its answers passed back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar
from multidict import CIMultiDict
from yarl import URL

from relaybox_hooks.testing import Answer, Exchange, Fault, ReceivedRequest

#: Headers of one connection (RFC 9110 §7.6.1), and those that say where and how long: the next
#: connection has its own.
_HOP: Final = (
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
#: What aiohttp would add.
_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

#: Seconds that the other server may take.
_PATIENCE: Final = 30.0


class Forwarded(NamedTuple):
    """What came of a request that was passed on.

    Attributes:
        request: as it came.
        status: what the other server answered, ``None`` where it did not.
        error: why not.
        elapsed: seconds that it took.
    """

    request: ReceivedRequest
    status: int | None
    error: str
    elapsed: float


class Forwarder:
    """Passes requests on to one URL. Use it as ``async with``.

    Args:
        url: where to.
        tell: told of what came of each.
    """

    def __init__(self, url: URL, tell: Callable[[Forwarded], None]) -> None:
        self._url = url
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=_AUTOMATIC,
            timeout=ClientTimeout(total=_PATIENCE),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def start(self, request: ReceivedRequest, then: Callable[[Answer], None]) -> None:
        """Pass ``request`` on, and hand its answer to ``then``."""
        task = asyncio.get_running_loop().create_task(self._pass_on(request, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, request: ReceivedRequest, then: Callable[[Answer], None]) -> None:
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
            answer = Answer(502, body=b"the request could not be passed on\n")
        status = None if error else answer.status
        self._tell(Forwarded(request, status, error, time.monotonic() - began))
        then(answer)


class PassOn(Fault):
    """What becomes of a request that is passed on: the other server's answer.

    Args:
        forwarder: passes it on.
        request: the request.
        becoming: what becomes of the answer on its way back.
    """

    __slots__ = ("_becoming", "_forwarder", "_request")

    def __init__(
        self,
        forwarder: Forwarder,
        request: ReceivedRequest,
        becoming: Callable[[Answer], Fault],
    ) -> None:
        self._forwarder = forwarder
        self._request = request
        self._becoming = becoming

    def play(self, exchange: Exchange) -> None:
        # A sender that has left meanwhile is past being answered: writing to it does nothing.
        self._forwarder.start(
            self._request, lambda answer: exchange.later(0, self._becoming(answer))
        )


def _end_to_end(fields: CIMultiDict[str] | object) -> CIMultiDict[str]:
    """Header fields without those of the connection they came by."""
    kept: CIMultiDict[str] = CIMultiDict(fields)  # type: ignore[arg-type]
    for name in _HOP:
        kept.popall(name, None)
    return kept
