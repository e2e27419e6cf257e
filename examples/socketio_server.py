"""Rooms and presence on python-socketio and aiohttp, of which webhooks and a function are told.

    pip install -e ".[examples]"
    python examples/receiver.py --key KEY
    python examples/socketio_server.py --key KEY --webhook http://127.0.0.1:4000/webhook

the last two in a terminal each. In a third start ``python -m asyncio`` and be a client:

    import socketio; ada = socketio.AsyncClient()
    await ada.connect("http://127.0.0.1:8002", auth={"name": "ada"})
    await ada.call("join", "lobby")
    await ada.call("presence", ("lobby", {"mood": "fine"}))
    await ada.call("say", ("lobby", "hello"))
    await ada.call("status", "away")
    await ada.disconnect()

Each line is an event, which the server prints, and the receiver prints verified. The last is two,
a ``presence:leave`` and a ``room:leave``, and so is a client that is cut off, or Ctrl-C in the
server.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"
# (python-socketio comes without types)

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import socketio
from aiohttp import web

from relaybox_hooks import ConfigError, Event, Hooks, PayloadError, Session, User, Webhook
from relaybox_hooks.events import PresenceEventName, RoomMessageData

# No client waits for a webhook: a full lane drops its oldest events, each of them counted, logged
# and kept as a dead letter.
hooks = Hooks(overflow="drop_oldest", close_timeout=3)

# Without async_handlers the requests of a client are handled in order.
sio = socketio.AsyncServer(async_mode="aiohttp", async_handlers=False, max_http_buffer_size=16_384)


@dataclass(frozen=True)
class Person:
    """Connection with its session, and its presence data by room."""

    session: Session
    rooms: dict[str, object] = field(default_factory=dict)


people: dict[str, Person] = {}


@hooks.on("*")
def show(event: Event) -> None:
    print(f"{event.name:<24}{event.session.client_id!a:<8}{json.dumps(event.data)}", flush=True)


@sio.event
async def connect(sid: str, environ: object, auth: object) -> None:
    match auth:
        case {"name": str(name)} if name.isprintable():  # a real server requires a token
            user = User(id=name, username=name, is_online=True)
        case _:
            raise socketio.exceptions.ConnectionRefusedError('connect with auth={"name": NAME}')
    session = Session(app_pid="chat", client_id=name, connection_id=sid, user=user)
    await hooks.emit("auth:session:initialize", None, session)
    people[sid] = Person(session)


@sio.on("*")
async def act(action: str, sid: str, *arguments: object) -> str:
    """Handle a client's request. Emits first, so that a PayloadError changes no state."""
    who = people[sid]
    try:
        match action, arguments:
            case "join", [str(room)] if room not in who.rooms:
                await hooks.emit("room:join", {"roomId": room}, who.session)
                who.rooms[room] = None
                await sio.enter_room(sid, room)
            case "presence", [str(room), dict(shown)] if room in who.rooms:
                new = who.rooms[room] is None
                name: PresenceEventName = "presence:join" if new else "presence:update"
                await hooks.emit(name, {"roomId": room, "userData": shown}, who.session)
                who.rooms[room] = shown
            case "say", [str(room), str(text)] if room in who.rooms:
                said: RoomMessageData = {"message": text, "roomId": room, "event": "said"}
                await hooks.emit("room:publish", said, who.session)
                await sio.emit("said", (who.session.client_id, text), room=room)
            case "status", [str(status)]:
                await hooks.emit("user:status:update", {"status": status}, who.session)
            case "leave", [str(room)] if room in who.rooms:
                await part(who, room)
                await sio.leave_room(sid, room)
            case _:
                return "refused"
    except PayloadError as error:  # for example binary data, which JSON cannot represent
        return str(error)
    return "ok"


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    """Emit the end of all visits, however the connection ended."""
    who = people.pop(sid)
    for room in list(who.rooms):
        await part(who, room)


async def part(who: Person, room: str) -> None:
    shown = who.rooms.pop(room)
    if shown is not None:
        await hooks.emit("presence:leave", {"roomId": room, "userData": shown}, who.session)
    await hooks.emit("room:leave", {"roomId": room}, who.session)


def make_app(address: str) -> web.Application:
    async def lifespan(app: web.Application) -> AsyncIterator[None]:
        async with hooks:
            print(address, flush=True)
            yield

    async def disconnect_all(app: web.Application) -> None:
        for sid in list(people):
            await sio.disconnect(sid)
        await sio.shutdown()

    app = web.Application()
    sio.attach(app)
    # aiohttp shuts down in this order: it stops accepting connections, closes the open ones, and
    # last the hooks deliver all pending events.
    app.on_shutdown.append(disconnect_all)
    app.cleanup_ctx.append(lifespan)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="A Socket.IO server that emits webhooks.")
    parser.add_argument("--port", type=int, default=8002, help="0 selects a free one")
    parser.add_argument("--webhook", metavar="URL", help="target of all events")
    parser.add_argument("--key", default=os.environ.get("RELAYBOX_SIGNING_KEY", ""))
    options = parser.parse_args()
    try:
        if options.webhook:
            hooks.add_webhook(Webhook(options.webhook, ["*"], options.key))
        listener = socket.create_server(("127.0.0.1", options.port))
    except (ConfigError, OSError) as error:
        parser.error(str(error))
    app = make_app(f"http://127.0.0.1:{listener.getsockname()[1]}")
    # Connections that clients do not close are aborted after half a second.
    web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=0.5)


if __name__ == "__main__":
    main()
