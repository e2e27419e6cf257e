"""A websocket server that echoes, with and without the library in its process.

Run as a child process, see :class:`benchmarks.children.Child`. A message to ``/plain`` comes
back, and that is all. A message to ``/hooked`` is emitted as ``room:publish`` first, to a webhook
at the URL in the query's ``sink``. Each answer to the parent tells the loop lag since the last.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from aiohttp import web

from benchmarks.bare import KEY, SESSIONS
from benchmarks.children import serve_parent
from benchmarks.loop_turns import LoopTurns, lag
from benchmarks.traffic import message
from relaybox_hooks import Hooks, Webhook


async def main(turns: LoopTurns) -> None:
    """Serve until the parent goes away, on the event loop whose turns these are."""
    async with AsyncExitStack() as stack:
        hooks: Hooks | None = None
        connections = 0

        async def plain(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for frame in socket:
                await socket.send_str(frame.data)
            return socket

        async def hooked(request: web.Request) -> web.WebSocketResponse:
            nonlocal hooks, connections
            if hooks is None:
                hooks = Hooks([Webhook(request.query["sink"], ["room:publish"], KEY)])
                await stack.enter_async_context(hooks)
            session = SESSIONS[connections % len(SESSIONS)]
            connections += 1
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            number = 0
            async for frame in socket:
                number += 1
                await hooks.emit("room:publish", message(number), session)
                await socket.send_str(frame.data)
            return socket

        def take() -> dict[str, float]:
            found = {"lag": lag(turns.take())}
            if hooks is not None:
                stats = hooks.stats()
                found |= {"delivered": stats.delivered, "failed": stats.failed}
            return found

        app = web.Application()
        app.add_routes([web.get("/plain", plain), web.get("/hooked", hooked)])
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await serve_parent(runner.addresses[0][1], take)


if __name__ == "__main__":
    noted = LoopTurns()
    with asyncio.Runner(loop_factory=noted.new_loop) as runner:
        runner.run(main(noted))
