"""Hooks that live with a web application: open before it, closed after its last connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from aiohttp import ClientSession, WSMsgType, web
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from support.servers import aiohttp_server

from relaybox_hooks import HOOKS_KEY, ConfigError, Hooks, HooksClosedError
from relaybox_hooks.testing import record


async def test_aiohttp_application_finds_them_and_its_sockets_last_events_are_accepted() -> None:
    """A socket that ``on_shutdown`` closes leaves its room while the hooks are still open."""
    sockets: set[web.WebSocketResponse] = set()

    async def chat(request: web.Request) -> web.WebSocketResponse:
        hooks = request.app[HOOKS_KEY]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sockets.add(socket)
        await hooks.emit("room:join", {"roomId": "lobby"})
        async for _ in socket:
            pass
        await hooks.emit("room:leave", {"roomId": "lobby"})
        return socket

    async def hang_up(app: web.Application) -> None:
        for socket in sockets:
            await socket.close()

    hooks = Hooks()
    handled = []
    hooks.add_subscriber("room:*", lambda event: handled.append(event.name))
    app = web.Application()
    app.router.add_get("/", chat)
    app.on_shutdown.append(hang_up)
    hooks.setup(app)

    async with record(hooks) as recording, ClientSession() as browser:
        async with aiohttp_server(app) as url:
            socket = await browser.ws_connect(url)
            await recording.wait_for("room:join")
            closing = asyncio.create_task(socket.receive())
        assert (await closing).type is WSMsgType.CLOSE

    assert recording.names == handled == ["room:join", "room:leave"]
    with pytest.raises(HooksClosedError):
        await hooks.emit("room:join", {"roomId": "lobby"})


async def test_later_cleanup_contexts_and_startup_find_them_open() -> None:
    hooks = Hooks()
    app = web.Application()
    hooks.setup(app)

    async def first(app: web.Application) -> None:
        await app[HOOKS_KEY].emit("room:create", {"id": "r", "uuid": "u", "visibility": "public"})

    @asynccontextmanager
    async def rooms(app: web.Application) -> AsyncIterator[None]:
        await hooks.emit("room:join", {"roomId": "r"})
        yield
        await hooks.emit("room:leave", {"roomId": "r"})

    app.on_startup.append(first)
    app.cleanup_ctx.append(rooms)
    async with record(hooks) as recording, aiohttp_server(app):
        pass
    assert recording.names == ["room:join", "room:create", "room:leave"]


async def test_closing_with_the_application_drains_for_close_timeout() -> None:
    hooks = Hooks(close_timeout=0, logging=False)
    hooks.add_subscriber("room:join", lambda event: asyncio.Event().wait())
    app = web.Application()
    hooks.setup(app)
    async with aiohttp_server(app):
        await hooks.emit("room:join", {"roomId": "lobby"})
    report = await hooks.aclose()
    assert (report.left, report.ending) == (1, "timed out")


async def test_setup_says_what_to_do_with_an_application_that_it_cannot_use() -> None:
    served, twice, outer, inner = (web.Application() for _ in range(4))
    async with aiohttp_server(served):
        with pytest.raises(ConfigError, match=r"it runs already, .* where the application is made"):
            Hooks().setup(served)
    outer.add_subapp("/chat", inner)
    with pytest.raises(ConfigError, match="was added to another application"):
        Hooks().setup(inner)
    hooks = Hooks()
    hooks.setup(twice)
    with pytest.raises(ConfigError, match=r"before: app\[HOOKS_KEY\] are those"):
        hooks.setup(twice)
    with pytest.raises(ConfigError, match=r"Starlette\(lifespan=hooks\.lifespan\)"):
        Hooks().setup(Starlette())  # type: ignore[arg-type]


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_lifespan_keeps_them_open_until_a_websockets_last_event(
    framework: type[Starlette],
) -> None:
    """Under uvicorn, which hangs up on its websockets before it ends the lifespan."""
    hooks = Hooks()

    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        await hooks.emit("room:join", {"roomId": "lobby"})
        try:
            await socket.receive_text()
        except WebSocketDisconnect:
            await hooks.emit("room:leave", {"roomId": "lobby"})

    app = framework(routes=[WebSocketRoute("/", chat)], lifespan=hooks.lifespan)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", ws="websockets-sansio", lifespan="on")
    )
    async with record(hooks) as recording, ClientSession() as browser, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve())
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0)
        port = server.servers[0].sockets[0].getsockname()[1]
        await browser.ws_connect(f"http://127.0.0.1:{port}")
        await recording.wait_for("room:join")
        server.should_exit = True
    assert recording.names == ["room:join", "room:leave"]
    with pytest.raises(HooksClosedError):
        await hooks.emit("room:join", {"roomId": "lobby"})
