"""Chat on the websockets library that loses no event at shutdown.

    pip install -e ".[examples]"
    python examples/receiver.py --key KEY
    python examples/websockets_server.py --key KEY --webhook http://127.0.0.1:4000/webhook
    python -m websockets "ws://127.0.0.1:8001/rooms/lobby?name=ada"

Run the last three in a terminal each. A connection emits ``room:join`` and ``presence:join``, a
line ``room:publish``, ``/status away`` emits ``user:status:update``. Now stop the server by Ctrl-C
or SIGTERM: it closes all connections, prints a ``presence:leave`` and ``room:leave`` for each,
and exits when the receiver has them, or after three seconds if it does not respond.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from urllib.parse import parse_qs, unquote
from uuid import uuid4

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError
from websockets.frames import CloseCode

from relaybox_hooks import ConfigError, Event, Hooks, Session, User, Webhook

# No socket waits for a webhook: a full lane drops its oldest events, each of them counted, logged
# and kept as a dead letter.
hooks = Hooks(overflow="drop_oldest", close_timeout=3)
people: dict[ServerConnection, str] = {}


@hooks.on("*")
def show(event: Event) -> None:
    print(f"{event.name:<20}{event.session.client_id!a:<8}{json.dumps(event.data)}", flush=True)


async def chat(websocket: ServerConnection) -> None:
    asked = asked_for(websocket)
    if asked is None:
        await websocket.close(CloseCode.POLICY_VIOLATION, "connect to /rooms/ROOM?name=NAME")
        return
    room_id, name = asked
    # One session per connection for all of its events. A real server identifies the user by a
    # token, not by the URL.
    user = User(id=name, username=name, is_online=True)
    session = Session(app_pid="chat", client_id=name, connection_id=str(uuid4()), user=user)
    await hooks.emit("room:join", {"roomId": room_id}, session)
    await hooks.emit("presence:join", {"roomId": room_id, "userData": {}}, session)
    people[websocket] = room_id
    say(room_id, f"* {name} joined")
    try:
        async for text in websocket:
            if isinstance(text, str):
                await act(room_id, session, text)
    except ConnectionClosedError:
        pass  # the connection was lost
    finally:
        # Emit the end of the visit, however the connection ended.
        del people[websocket]
        say(room_id, f"* {name} left")
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
    """Send to all connections in the room without waiting; pings detect clients that hang."""
    broadcast([websocket for websocket, room in people.items() if room == room_id], text)


def asked_for(websocket: ServerConnection) -> tuple[str, str] | None:
    """Return room and name of ``/rooms/ROOM?name=NAME``, ``None`` for another path."""
    path, _, query = (websocket.request.path if websocket.request else "").partition("?")
    match path.split("/"), parse_qs(query):
        case ["", "rooms", room_id], {"name": [name]} if room_id:
            return unquote(room_id), name
    return None


async def serve_until_stopped(port: int) -> None:
    stop = asyncio.Event()
    if sys.platform != "win32":  # on Windows Ctrl-C cancels this task instead
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Exits in reverse order: the server closes all connections and waits for their handlers, then
    # the hooks deliver all pending events.
    async with (
        hooks,
        serve(chat, "127.0.0.1", port, max_size=16_384, close_timeout=1) as server,
    ):
        bound = next(iter(server.sockets)).getsockname()[1]
        print(f"ws://127.0.0.1:{bound}/rooms/ROOM?name=NAME", flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat on websockets that emits webhooks.")
    parser.add_argument("--port", type=int, default=8001, help="0 selects a free one")
    parser.add_argument("--webhook", metavar="URL", help="target of all events")
    parser.add_argument("--key", default=os.environ.get("RELAYBOX_SIGNING_KEY", ""))
    options = parser.parse_args()
    try:
        if options.webhook:
            hooks.add_webhook(Webhook(options.webhook, ["*"], options.key))
        asyncio.run(serve_until_stopped(options.port))
    except (ConfigError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:  # on Windows
        pass


if __name__ == "__main__":
    main()
