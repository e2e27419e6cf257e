"""The audit trail: as many rows as events, in their order, whatever becomes of the webhooks."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from support.examples import Endpoint, Run
from support.programs import Program


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
async def server(endpoint: Endpoint, run: Run, trail: Path) -> Program:
    return await run("audit_to_sqlite.py", "--port", "0", "--db", str(trail), *endpoint.arguments)


def rows(trail: Path) -> list[tuple[Any, ...]]:
    """Event, session and data of each row, the last two from their JSON."""
    with closing(sqlite3.connect(trail)) as db:
        found = db.execute("SELECT id, event, session, data FROM events ORDER BY number").fetchall()
    return [
        (key, name, json.loads(session), json.loads(data)) for key, name, session, data in found
    ]


async def test_every_event_is_a_row_and_a_webhook(
    server: Program, endpoint: Endpoint, trail: Path
) -> None:
    """Those of clients too that vanish, or are connected when the server is stopped."""
    url = (await server.line()).replace("ROOM", "lobby")
    async with asyncio.timeout(20), ClientSession() as http:
        async with ClientSession() as another:
            ben = await another.ws_connect(url.replace("NAME", "ben"))
            assert await ben.receive_str() == "* ben joined"
        await endpoint.gets("ben", "room:leave")
        ada = await http.ws_connect(url.replace("NAME", "ada"))
        assert await ada.receive_str() == "* ada joined"
        await ada.send_str("hello")
        assert await ada.receive_str() == "ada: hello"
        code, output, errors = await server.ends(signal.SIGTERM)
    assert (code, errors) == (0, "")
    assert output == "2 room:join, 2 room:leave, 1 room:publish\n"
    written = rows(trail)
    assert [(name, session["clientId"]) for _, name, session, _ in written] == [
        ("room:join", "ben"),
        ("room:leave", "ben"),
        ("room:join", "ada"),
        ("room:publish", "ada"),
        ("room:leave", "ada"),
    ]
    assert written == [
        (event.id, event.name, event.session.to_wire(), event.data)
        for who in ("ben", "ada")
        for event in endpoint.story(who)
    ]


async def test_trail_has_what_a_hanging_webhook_lost(
    server: Program, endpoint: Endpoint, trail: Path
) -> None:
    url = (await server.line()).replace("ROOM", "lobby")
    endpoint.receiver.hold()
    async with asyncio.timeout(60), ClientSession() as http:
        ada = await http.ws_connect(url.replace("NAME", "ada"))
        assert await ada.receive_str() == "* ada joined"
        for number in range(1_100):
            await ada.send_str(str(number))
        for number in range(1_100):
            assert await ada.receive_str() == f"ada: {number}"
        endpoint.receiver.release()
        code, _, errors = await server.ends(signal.SIGINT)
    assert code == 0
    assert "is full (overflow='drop_oldest')" in errors
    assert "Traceback" not in errors
    written = rows(trail)
    assert len(endpoint.story("ada")) < len(written)
    assert [name for _, name, _, _ in written] == [
        "room:join",
        *["room:publish"] * 1_100,
        "room:leave",
    ]
    said = [data["message"] for _, name, _, data in written if name == "room:publish"]
    assert said == [str(number) for number in range(1_100)]
