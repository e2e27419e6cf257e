"""An audit trail: every event of a small aiohttp server becomes a row in SQLite, in order.

    pip install -e ".[examples]"
    python examples/receiver.py --key KEY
    python examples/audit_to_sqlite.py --key KEY --webhook http://127.0.0.1:4000/webhook
    python -m websockets "ws://127.0.0.1:8003/rooms/lobby?name=ada"

Run the last three in a terminal each. A connection emits ``room:join``, a line ``room:publish``
(the server echoes it), and a disconnect ``room:leave``. The receiver prints each verified event;
when stopped by Ctrl-C, the server prints the number of events in ``audit.db``. To read them:

    sqlite3 audit.db "SELECT emitted, event, session ->> 'clientId', data FROM events"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from uuid import uuid4

from aiohttp import WSCloseCode, WSMsgType, web

from relaybox_hooks import ConfigError, Event, Hooks, Session, User, Webhook

# With a write-ahead log other processes can read the file while it is written.
_SETUP = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS events (
        number INTEGER PRIMARY KEY, id TEXT, emitted TEXT, event TEXT, session TEXT, data TEXT
    );
"""
_ROW = "INSERT INTO events (id, emitted, event, session, data) VALUES (?, ?, ?, ?, ?)"
_COUNTS = "SELECT event, count(*) FROM events GROUP BY event ORDER BY min(number)"

# No socket waits for a webhook: a full lane drops its oldest events, each of them counted, logged
# and kept as a dead letter. The audit trail still has them.
hooks = Hooks(overflow="drop_oldest", close_timeout=3)
sockets: set[web.WebSocketResponse] = set()


def keep_audit(db: sqlite3.Connection) -> None:
    # One call at a time keeps the order; a thread keeps the disk from stalling the event loop.
    # The trail must be complete, so emit waits when 10,000 events are unwritten. A failed write
    # is logged and counted, and not retried.
    @hooks.on("*", name="audit", in_thread=True, queue_size=10_000, overflow="wait")
    def write(event: Event) -> None:
        session = json.dumps(event.session.to_wire())
        emitted = event.timestamp.isoformat(timespec="milliseconds")
        with db:  # commits
            db.execute(_ROW, (event.id, emitted, event.name, session, json.dumps(event.data)))


async def visit(request: web.Request) -> web.WebSocketResponse:
    room_id, name = request.match_info["room_id"], request.query.get("name", "somebody")
    websocket = web.WebSocketResponse(heartbeat=20, timeout=1, max_msg_size=16_384)
    await websocket.prepare(request)
    # One session per connection for all of its events. A real server identifies the user by a
    # token, not by the URL.
    user = User(id=name, username=name, is_online=True)
    session = Session(app_pid="chat", client_id=name, connection_id=str(uuid4()), user=user)
    await hooks.emit("room:join", {"roomId": room_id}, session)
    sockets.add(websocket)
    try:
        await websocket.send_str(f"* {name} joined")
        async for frame in websocket:
            if frame.type is WSMsgType.TEXT:
                await hooks.emit(
                    "room:publish",
                    {"message": frame.data, "roomId": room_id, "event": "message"},
                    session,
                )
                await websocket.send_str(f"{name}: {frame.data}")
    except ConnectionError:  # the client disconnected during a send
        pass
    finally:
        # Emit the end of the visit, however the connection ended.
        sockets.discard(websocket)
        await hooks.emit("room:leave", {"roomId": room_id}, session)
    return websocket


def make_app(address: str) -> web.Application:
    async def lifespan(app: web.Application) -> AsyncIterator[None]:
        async with hooks:
            print(address, flush=True)
            yield

    async def close_sockets(app: web.Application) -> None:
        going_away = WSCloseCode.GOING_AWAY
        await asyncio.gather(*(s.close(code=going_away, drain=False) for s in sockets))

    app = web.Application()
    app.router.add_get("/rooms/{room_id}", visit)
    # aiohttp shuts down in this order: it stops accepting connections, closes the open ones, and
    # last the hooks deliver and write all pending events.
    app.on_shutdown.append(close_sockets)
    app.cleanup_ctx.append(lifespan)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="An audit trail in SQLite, and webhooks.")
    parser.add_argument("--port", type=int, default=8003, help="0 selects a free one")
    parser.add_argument("--webhook", metavar="URL", help="target of all events")
    parser.add_argument("--key", default=os.environ.get("RELAYBOX_SIGNING_KEY", ""))
    parser.add_argument("--db", default="audit.db", help="file of the audit trail")
    options = parser.parse_args()
    try:
        if options.webhook:
            hooks.add_webhook(Webhook(options.webhook, ["*"], options.key))
        listener = socket.create_server(("127.0.0.1", options.port))
        # Different threads use it, but never at the same time, which is safe.
        db = sqlite3.connect(options.db, check_same_thread=False)
        db.executescript(_SETUP)
    except (ConfigError, OSError, sqlite3.Error) as error:
        parser.error(str(error))
    with closing(db):
        keep_audit(db)
        app = make_app(f"ws://127.0.0.1:{listener.getsockname()[1]}/rooms/ROOM?name=NAME")
        web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=2)
        print(*(f"{count} {event}" for event, count in db.execute(_COUNTS)), sep=", ")


if __name__ == "__main__":
    main()
