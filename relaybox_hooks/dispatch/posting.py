"""What the shared session makes responses of."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from aiohttp import ClientResponse
from aiohttp.connector import Connection


class PeerResponse(ClientResponse):
    """A response that remembers who answered; the connection is gone once it has been read."""

    #: As the socket has it: the address, the port, and for IPv6 two numbers more.
    peername: tuple[Any, ...] | None = None

    # Not async: it would be one more coroutine for every step of the response to go through.
    def start(self, connection: Connection) -> Coroutine[Any, Any, ClientResponse]:
        """Note the peer's address, then read the head of the response."""
        if connection.transport is not None:
            self.peername = connection.transport.get_extra_info("peername")
        return super().start(connection)
