"""The Socket.IO example, with python-socketio's own client."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
import socketio  # type: ignore[import-untyped]
from aiohttp import ClientSession
from support.examples import Endpoint, Run
from support.programs import Program

MOOD = {"mood": "☕"}


class Client:
    """Somebody connected, over a connection of their own."""

    def __init__(self, http: ClientSession) -> None:
        self._http = http
        self._sio = socketio.AsyncClient(http_session=http, reconnection=False)

    async def connect(self, url: str, auth: object) -> None:
        await self._sio.connect(url, auth=auth, transports=["websocket"])

    async def asks(self, action: str, *arguments: object) -> str:
        """The server's answer."""
        return str(await self._sio.call(action, arguments, timeout=20))

    async def tells(self, action: str, *arguments: object) -> None:
        """Ask without waiting for the answer."""
        await self._sio.emit(action, arguments)

    async def vanishes(self) -> None:
        """Reset the connection under the websocket."""
        endpoint = self._sio.eio.ws.get_extra_info("socket")
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._http.close()

    async def aclose(self) -> None:
        await self._sio.disconnect()
        await self._http.close()


Visit: TypeAlias = Callable[..., Coroutine[Any, Any, Client]]


@pytest.fixture
async def server(endpoint: Endpoint, run: Run) -> Program:
    return await run("socketio_server.py", "--port", "0", *endpoint.arguments)


@pytest.fixture
async def visit(server: Program) -> AsyncIterator[Visit]:
    """Connects somebody by their name, or with another ``auth``."""
    url = await server.line()
    async with AsyncExitStack() as clients:

        async def visit(name: str, **auth: object) -> Client:
            client = Client(ClientSession())
            clients.push_async_callback(client.aclose)
            await client.connect(url, auth or {"name": name})
            return client

        yield visit


async def test_rooms_and_presence_are_told_in_order(visit: Visit, endpoint: Endpoint) -> None:
    ada = await visit("ada")
    for action, *arguments in (
        ("join", "lobby"),
        ("presence", "lobby", MOOD),
        ("presence", "lobby", {}),
        ("say", "lobby", "hello"),
        ("status", "away"),
        ("leave", "lobby"),
    ):
        assert await ada.asks(action, *arguments) == "ok"
    story = await endpoint.gets("ada", "room:leave")
    assert [(event.name, event.data) for event in story] == [
        ("auth:session:initialize", None),
        ("room:join", {"roomId": "lobby"}),
        ("presence:join", {"roomId": "lobby", "userData": MOOD}),
        ("presence:update", {"roomId": "lobby", "userData": {}}),
        ("room:publish", {"message": "hello", "roomId": "lobby", "event": "said"}),
        ("user:status:update", {"status": "away"}),
        ("presence:leave", {"roomId": "lobby", "userData": {}}),
        ("room:leave", {"roomId": "lobby"}),
    ]
    assert all(event.session == story[0].session for event in story)


async def test_client_that_does_not_wait_for_answers_keeps_its_order(
    visit: Visit, endpoint: Endpoint
) -> None:
    ada = await visit("ada")
    await ada.tells("join", "lobby")
    for number in range(20):
        await ada.tells("say", "lobby", str(number))
    await ada.tells("leave", "lobby")
    _, joined, *said, left = await endpoint.gets("ada", "room:leave")
    assert [event.data["message"] for event in said] == [str(number) for number in range(20)]
    assert (joined.name, left.name) == ("room:join", "room:leave")


async def test_client_that_vanishes_has_left_its_rooms(
    server: Program, visit: Visit, endpoint: Endpoint
) -> None:
    ben = await visit("ben")
    await ben.asks("join", "lobby")
    await ben.asks("presence", "lobby", MOOD)
    await ben.asks("join", "den")
    await ben.vanishes()
    async with asyncio.timeout(20):
        await endpoint.receiver.wait_for(7)
    assert [(event.name, event.data["roomId"]) for event in endpoint.story("ben")[-3:]] == [
        ("presence:leave", "lobby"),
        ("room:leave", "lobby"),
        ("room:leave", "den"),
    ]
    assert (await server.ends(signal.SIGTERM))[2] == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopped_server_delivers_that_everybody_left(
    server: Program, visit: Visit, endpoint: Endpoint, number: signal.Signals
) -> None:
    for name in ("ada", "ben"):
        assert await (await visit(name)).asks("join", "lobby") == "ok"
    code, output, errors = await server.ends(number)
    assert (code, errors) == (0, "")
    for name in ("ada", "ben"):
        names = [event.name for event in endpoint.story(name)]
        assert names == ["auth:session:initialize", "room:join", "room:leave"]
        assert [line.split()[0] for line in output.splitlines() if repr(name) in line] == names


async def test_what_a_client_may_not_do_makes_no_event(
    server: Program, visit: Visit, endpoint: Endpoint
) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        await visit("", token="none")
    ada = await visit("ada")
    for refused in (("say", "lobby", "hi"), ("leave", "lobby"), ("join",), ("join", 7), ("burn",)):
        assert await ada.asks(*refused) == "refused"
    assert "lone surrogate" in await ada.asks("join", "\ud800")
    assert await ada.asks("join", "lobby") == "ok"
    assert await ada.asks("join", "lobby") == "refused"
    assert "bytes are not JSON" in await ada.asks("presence", "lobby", {"mood": b"fine"})
    code, _, errors = await server.ends(signal.SIGTERM)
    assert (code, errors) == (0, "")
    names = [event.name for event in endpoint.story("ada")]
    assert names == ["auth:session:initialize", "room:join", "room:leave"]
    assert len(names) == len(endpoint.receiver.requests)
