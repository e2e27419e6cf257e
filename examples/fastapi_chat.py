"""Chat on FastAPI websockets that emits events to webhooks and to a local function.

    pip install -e ".[examples]"
    python examples/receiver.py --key KEY
    python examples/fastapi_chat.py --key KEY --webhook http://127.0.0.1:4000/webhook
    python -m websockets "ws://127.0.0.1:8000/rooms/lobby?name=ada"

Run the last three in a terminal each. A connection emits ``room:join`` and ``presence:join``, a
line ``room:publish``, ``/status away`` emits ``user:status:update``. When a connection ends, also
by Ctrl-C in the server, it emits ``presence:leave`` and ``room:leave``. The server prints each
event, and the receiver prints it when verified. To start the server by uvicorn:

    WEBHOOK_URL=... RELAYBOX_SIGNING_KEY=KEY uvicorn --app-dir examples fastapi_chat:app
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypeAlias
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import StringConstraints

from relaybox_hooks import ConfigError, Event, Hooks, Session, User, Webhook

Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=40)]
Outbox: TypeAlias = asyncio.Queue[str]

# No socket waits for a webhook: a full lane drops its oldest events, each of them counted, logged
# and kept as a dead letter.
hooks = Hooks(overflow="drop_oldest", close_timeout=3)
people: dict[Outbox, str] = {}


@hooks.on("*")
def show(event: Event) -> None:
    print(f"{event.name:<20}{event.session.client_id!a:<8}{json.dumps(event.data)}", flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start and close the hooks; uvicorn closes the websockets first, so no event is lost."""
    if not hooks.webhooks and (url := os.environ.get("WEBHOOK_URL")):
        hooks.add_webhook(Webhook(url, ["*"], os.environ["RELAYBOX_SIGNING_KEY"]))
    async with hooks:
        yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/rooms/{room_id}")
async def chat(websocket: WebSocket, room_id: Name, name: Name) -> None:
    await websocket.accept()
    # One session per connection for all of its events. A real server identifies the user by a
    # token, not by the URL.
    user = User(id=name, username=name, is_online=True)
    session = Session(app_pid="chat", client_id=name, connection_id=str(uuid4()), user=user)
    async with asyncio.TaskGroup() as tasks:
        outbox = Outbox(100)
        writer = tasks.create_task(write(websocket, outbox))
        async with visit(room_id, session, outbox):
            while (message := await websocket.receive())["type"] == "websocket.receive":
                await act(room_id, session, (message.get("text") or "")[:2000])
        writer.cancel()


@asynccontextmanager
async def visit(room_id: str, session: Session, outbox: Outbox) -> AsyncIterator[None]:
    """Join the room and its presence set, and leave both however the connection ends."""
    await hooks.emit("room:join", {"roomId": room_id}, session)
    await hooks.emit("presence:join", {"roomId": room_id, "userData": {}}, session)
    people[outbox] = room_id
    say(room_id, f"* {session.client_id} joined")
    try:
        yield
    finally:
        del people[outbox]
        say(room_id, f"* {session.client_id} left")
        await hooks.emit("presence:leave", {"roomId": room_id, "userData": {}}, session)
        await hooks.emit("room:leave", {"roomId": room_id}, session)


async def act(room_id: str, session: Session, text: str) -> None:
    if text.startswith("/status "):
        await hooks.emit("user:status:update", {"status": text.removeprefix("/status ")}, session)
    elif text:
        say(room_id, f"{session.client_id}: {text}")
        await hooks.emit(
            "room:publish", {"message": text, "roomId": room_id, "event": "message"}, session
        )


def say(room_id: str, text: str) -> None:
    """Send to all connections in the room; a slow one misses the message instead of blocking."""
    for outbox, room in people.items():
        if room == room_id and not outbox.full():
            outbox.put_nowait(text)


async def write(websocket: WebSocket, outbox: Outbox) -> None:
    try:
        while True:
            await websocket.send_text(await outbox.get())
    except WebSocketDisconnect:  # the reader gets the disconnect, too
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat on FastAPI that emits webhooks.")
    parser.add_argument("--port", type=int, default=8000, help="0 selects a free one")
    parser.add_argument("--webhook", metavar="URL", help="target of all events")
    parser.add_argument("--key", default=os.environ.get("RELAYBOX_SIGNING_KEY", ""))
    options = parser.parse_args()
    try:
        if options.webhook:
            hooks.add_webhook(Webhook(options.webhook, ["*"], options.key))
        listener = socket.create_server(("127.0.0.1", options.port))
    except (ConfigError, OSError) as error:
        parser.error(str(error))
    # After its graceful shutdown, uvicorn raises the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGINT, lambda *_: sys.exit())
    print(f"ws://127.0.0.1:{listener.getsockname()[1]}/rooms/ROOM?name=NAME", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
