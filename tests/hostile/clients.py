"""The host's own clients: they open new connections all the time, and each has to be served."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from aiohttp import ClientSession, TCPConnector

#: Seconds within which each client is served: one, and ten times as long on a busy machine.
SERVED: Final = 10.0
#: Clients of each kind at a time, and seconds that each pauses after it was served.
_CLIENTS: Final = 3
_PAUSE: Final = 0.03
#: Messages on a websocket.
_MESSAGES: Final = 3


class Clients:
    """Clients of a server: of its page, and of its websocket.

    Args:
        url: of the server.
        seed: of the random choices.

    Attributes:
        served: how many were so far.
        longest: seconds that the slowest of them took since this was set to 0.
        errors: of those that were not.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.served: int = 0
        self.longest: float = 0.0
        self.errors: list[str] = []
        self._url = url
        self._draw = random.Random(seed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Return a context in which they come and go."""
        async with ClientSession(connector=TCPConnector(force_close=True)) as session:
            kinds: list[Callable[[ClientSession], Awaitable[None]]] = [self._page, self._chat]
            clients = [
                asyncio.ensure_future(self._come_again(kind, session))
                for kind in kinds
                for _ in range(_CLIENTS)
            ]
            try:
                yield
            finally:
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)

    async def _come_again(
        self, visit: Callable[[ClientSession], Awaitable[None]], session: ClientSession
    ) -> None:
        while True:
            began = monotonic()
            try:
                async with asyncio.timeout(SERVED):
                    await visit(session)
                self.served += 1
            except Exception as error:
                self.errors.append(f"{visit.__name__}: {error!r}")
            self.longest = max(self.longest, monotonic() - began)
            await asyncio.sleep(_PAUSE)

    async def _page(self, session: ClientSession) -> None:
        async with session.get(self._url) as response:
            assert await response.text() == "served"

    async def _chat(self, session: ClientSession) -> None:
        name = f"client-{self._draw.randrange(10**6)}"
        async with session.ws_connect(f"{self._url}socket", params={"name": name}) as socket:
            for number in range(_MESSAGES):
                await socket.send_str(f"message {number}")
                assert await socket.receive_str() == f"message {number}"
