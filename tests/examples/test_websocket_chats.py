"""The one-file chats on FastAPI and websockets: every visit is told whole, in order, to its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final, TypeAlias

import pytest
from support.examples import Endpoint, Run
from support.programs import Program
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

JOINS: Final = ["room:join", "presence:join"]
LEAVES: Final = ["presence:leave", "room:leave"]

Visit: TypeAlias = Callable[[str], Coroutine[Any, Any, ClientConnection]]


@pytest.fixture(params=["fastapi_chat.py", "websockets_server.py"])
async def chat(request: pytest.FixtureRequest, endpoint: Endpoint, run: Run) -> Program:
    return await run(request.param, "--port", "0", *endpoint.arguments)


@pytest.fixture
async def address(chat: Program) -> str:
    return (await chat.line()).replace("ROOM", "lobby")


@pytest.fixture
async def visit(address: str) -> AsyncIterator[Visit]:
    """Connects somebody to the lobby, and waits until they are in."""
    async with AsyncExitStack() as connections:

        async def visit(name: str) -> ClientConnection:
            url = address.replace("NAME", name)
            connection = await connections.enter_async_context(connect(url))
            assert await heard(connection) == f"* {name} joined"
            return connection

        yield visit


async def heard(connection: ClientConnection) -> str:
    """The next message."""
    async with asyncio.timeout(20):
        return await connection.recv(decode=True)


async def test_visit_is_told_whole_and_in_order(visit: Visit, endpoint: Endpoint) -> None:
    ada = await visit("ada")
    await ada.send(b"binary frames are nothing to a chat")
    await ada.send("hello")
    assert await heard(ada) == "ada: hello"
    await ada.send("/status away")
    await ada.close()
    story = await endpoint.gets("ada", "room:leave")
    assert [(event.name, event.data) for event in story] == [
        ("room:join", {"roomId": "lobby"}),
        ("presence:join", {"roomId": "lobby", "userData": {}}),
        ("room:publish", {"message": "hello", "roomId": "lobby", "event": "message"}),
        ("user:status:update", {"status": "away"}),
        ("presence:leave", {"roomId": "lobby", "userData": {}}),
        ("room:leave", {"roomId": "lobby"}),
    ]
    assert story[0].session.connection_id is not None
    assert all(event.session == story[0].session for event in story)


async def test_client_that_vanishes_has_left(
    chat: Program, visit: Visit, endpoint: Endpoint
) -> None:
    """In the middle of a talk: there are messages on their way from it, and to it."""
    ada, ben = await visit("ada"), await visit("ben")
    for number in range(50):
        await ben.send(str(number))
    ben.transport.abort()
    while await heard(ada) != "* ben left":
        pass
    names = [event.name for event in await endpoint.gets("ben", "room:leave")]
    assert (names[:2], names[-2:]) == (JOINS, LEAVES)
    assert set(names[2:-2]) <= {"room:publish"}
    assert not any(event.name in LEAVES for event in endpoint.story("ada"))
    assert "Traceback" not in (await chat.ends(signal.SIGTERM))[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopped_server_delivers_that_everybody_left(
    chat: Program, visit: Visit, endpoint: Endpoint, number: signal.Signals
) -> None:
    """Before it exits: what the endpoint does not have by then it will never get."""
    for name in ("ada", "ben"):
        await visit(name)
    code, output, errors = await chat.ends(number)
    assert (code, errors) == (0, "")
    for name in ("ada", "ben"):
        assert [event.name for event in endpoint.story(name)] == JOINS + LEAVES
        shown = [line.split()[0] for line in output.splitlines() if repr(name) in line]
        assert shown == JOINS + LEAVES


async def test_hanging_webhook_stalls_no_socket(
    chat: Program, visit: Visit, endpoint: Endpoint
) -> None:
    """It loses its own oldest events once it is a thousand behind, and says so."""
    ada = await visit("ada")
    endpoint.receiver.hold()
    for start in range(0, 1_100, 50):
        numbers = range(start, start + 50)
        for number in numbers:
            await ada.send(str(number))
        for number in numbers:
            assert await heard(ada) == f"ada: {number}"
    endpoint.receiver.release()
    await ada.close()
    story = await endpoint.gets("ada", "room:leave")
    assert [event.name for event in story[-2:]] == LEAVES
    assert story[-3].data["message"] == "1099"
    code, _, errors = await chat.ends(signal.SIGTERM)
    assert code == 0
    assert "is full (overflow='drop_oldest')" in errors
    assert "Traceback" not in errors


async def test_visitor_without_a_name_makes_no_event(
    chat: Program, address: str, endpoint: Endpoint
) -> None:
    with pytest.raises((ConnectionClosed, InvalidStatus)):
        async with connect(address.partition("?")[0]) as connection:
            await heard(connection)
    assert await chat.ends(signal.SIGTERM) == (0, "", "")
    assert endpoint.receiver.requests == []
