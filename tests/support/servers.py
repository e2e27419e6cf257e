"""Web applications on real loopback servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from aiohttp import web


@asynccontextmanager
async def uvicorn_server(app: Any, path: str = "") -> AsyncIterator[str]:
    """Serve an ASGI application; yields the URL of ``path``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield url
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def aiohttp_server(app: web.Application, path: str = "") -> AsyncIterator[str]:
    """Serve an aiohttp application; yields the URL of ``path``."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}{path}"
    finally:
        await runner.cleanup()
