"""One open websocket: whose it is, and what is on its way to it."""

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

#: Messages that may wait for one browser. One that falls further behind is hung up on.
_OUTBOX: Final = 256


class Connection:
    """One browser tab of somebody signed in.

    Its ``session`` is made once and goes with every event that happens on this socket.
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
        """Queue a message. Nobody waits here: a slow browser stalls no other."""
        try:
            self._outbox.put_nowait(orjson.dumps(message).decode())
        except asyncio.QueueFull:
            if self._transport is not None:
                self._transport.abort()

    async def write(self) -> None:
        """Send what is queued, until cancelled or the socket is gone."""
        try:
            while True:
                await self._socket.send_str(await self._outbox.get())
        except ConnectionError:
            pass
