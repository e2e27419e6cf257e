"""Open websocket with its session and its outgoing messages."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final
from uuid import uuid4

import orjson
from aiohttp import web

from chat.accounts import APP_PID, SignedIn
from chat.wire import Message, now
from relaybox_hooks import Session

#: Maximum number of queued messages per browser. A slower one is disconnected.
_OUTBOX: Final = 256


class Connection:
    """Connection of one browser tab of a user.

    Its ``session`` is created once and used for every event of this socket.
    """

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, signed_in: SignedIn
    ) -> None:
        self.account = signed_in.account
        self.status = "online"
        self.session = Session(
            app_pid=APP_PID,
            client_id=self.account.id,
            connection_id=f"{APP_PID}:{secrets.token_urlsafe(9)}",
            socket_id=str(uuid4()),
            timestamp=now(),
            exp=signed_in.exp,
            user=self.account.user(online=True),
        )
        self._socket = socket
        self._transport = request.transport
        self._outbox: asyncio.Queue[str] = asyncio.Queue(_OUTBOX)

    def send(self, message: Message) -> None:
        """Enqueue a message without waiting, so that a slow browser delays no other."""
        try:
            self._outbox.put_nowait(orjson.dumps(message).decode())
        except asyncio.QueueFull:
            if self._transport is not None:
                self._transport.abort()

    async def write(self) -> None:
        """Send queued messages until cancelled or disconnected."""
        try:
            while True:
                await self._socket.send_str(await self._outbox.get())
        except ConnectionError:
            pass
