"""A chat on the websockets library that is stopped without losing an event.

    pip install -e ".[examples]"
    python examples/receiver.py --key KEY
    python examples/websockets_server.py --key KEY --webhook http://127.0.0.1:4000/webhook
    python -m websockets "ws://127.0.0.1:8001/rooms/lobby?name=ada"

the last three in a terminal each. Connecting is a ``room:join`` and a ``presence:join``; a line
is a ``room:publish``, ``/status away`` a ``user:status:update``. Now stop the server, by Ctrl-C
or SIGTERM: it hangs up on everybody, prints everybody's ``presence:leave`` and ``room:leave``,
and exits when the receiver has them too, or, if it does not answer, after three seconds.
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

# No socket ever waits for a webhook: one that is down costs its own oldest events, each of them
# counted, logged and kept as a dead letter, and the chat goes on.
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
    # One session per connection goes with all that happens on it. A real server learns from a
    # token, not from the URL, whose it is.
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
        pass  # it vanished
    finally:
        # Whoever joined leaves, whatever ended the connection.
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
    """To everybody in the room. Waits for nobody: who reads nothing does not answer pings."""
    broadcast([websocket for websocket, room in people.items() if room == room_id], text)


def asked_for(websocket: ServerConnection) -> tuple[str, str] | None:
    """The room and the name in ``/rooms/ROOM?name=NAME``."""
    path, _, query = (websocket.request.path if websocket.request else "").partition("?")
    match path.split("/"), parse_qs(query):
        case ["", "rooms", room_id], {"name": [name]} if room_id:
            return unquote(room_id), name
    return None


async def serve_until_stopped(port: int) -> None:
    stop = asyncio.Event()
    if sys.platform != "win32":  # where Ctrl-C cancels this task, which comes to the same
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Left from the right: the server hangs up, and waits until everybody's leaving was emitted;
    # then the hooks deliver what is pending.
    async with (
        hooks,
        serve(chat, "127.0.0.1", port, max_size=16_384, close_timeout=1) as server,
    ):
        bound = next(iter(server.sockets)).getsockname()[1]
        print(f"ws://127.0.0.1:{bound}/rooms/ROOM?name=NAME", flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat on websockets that emits webhooks.")
    parser.add_argument("--port", type=int, default=8001, help="0 takes a free one")
    parser.add_argument("--webhook", metavar="URL", help="is sent every event")
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
