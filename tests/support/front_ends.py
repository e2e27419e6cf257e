"""The front ends on real loopback servers, with the same application behind each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Final, TypeAlias

from aiohttp import ClientSession, web
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relaybox_hooks import ReceivedEvent, WebhookVerifier
from relaybox_hooks.receive import HandledEvents, asgi, fastapi
from relaybox_hooks.receive import aiohttp as receive_aiohttp
from support.servers import aiohttp_server, uvicorn_server
from support.signing import Headers

PATH: Final = "/webhook"
MAX_BODY: Final = 40_000


class Application:
    """Notes what it is given, does each event once, and fails as often as it was told to."""

    def __init__(self) -> None:
        self.events: list[ReceivedEvent] = []
        self.bodies: list[bytes] = []
        self.done: list[str] = []
        self.failures = 0
        self._handled = HandledEvents()

    async def handle(self, event: ReceivedEvent, body: bytes) -> None:
        self.events.append(event)
        self.bodies.append(body)
        async with self._handled.claim(event) as unhandled:
            if unhandled:
                if self.failures:
                    self.failures -= 1
                    raise RuntimeError("the handler failed")
                self.done.append(event.id)


class Receiver:
    """A running server, the application behind it, and a client's means to reach it."""

    def __init__(self, url: str, application: Application, http: ClientSession) -> None:
        self.url = url
        self.application = application
        self.http = http

    async def send(self, headers: Headers, body: Any) -> tuple[int, Any]:
        """The status and the JSON of the answer, ``None`` where it has none."""
        async with self.http.post(self.url, headers=headers, data=body) as response:
            said = await response.read()
            return response.status, await response.json() if said.startswith(b"{") else None

    @asynccontextmanager
    async def connection(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A bare connection, to send what no HTTP client would."""
        port = int(self.url.removesuffix(PATH).rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()
            await writer.wait_closed()


Serve: TypeAlias = Callable[[Application, WebhookVerifier], AbstractAsyncContextManager[str]]


def serve_aiohttp_handler(
    application: Application, verifier: WebhookVerifier
) -> AbstractAsyncContextManager[str]:
    @receive_aiohttp.webhook_handler(verifier, max_body=MAX_BODY)
    async def webhook(request: web.Request, event: ReceivedEvent) -> None:
        await application.handle(event, await request.read())

    app = web.Application(client_max_size=10)
    app.router.add_route("*", PATH, webhook)
    return aiohttp_server(app, PATH)


def serve_aiohttp_middleware(
    application: Application, verifier: WebhookVerifier
) -> AbstractAsyncContextManager[str]:
    async def webhook(request: web.Request) -> web.Response:
        event = receive_aiohttp.received_event(request)
        await application.handle(event, await request.read())
        return web.Response(status=204)

    middleware = receive_aiohttp.webhook_middleware(verifier, PATH, max_body=MAX_BODY)
    app = web.Application(middlewares=[middleware])
    app.router.add_post(PATH, webhook)
    return aiohttp_server(app, PATH)


def serve_starlette(
    application: Application, verifier: WebhookVerifier
) -> AbstractAsyncContextManager[str]:
    async def webhook(request: Request) -> Response:
        await application.handle(asgi.received_event(request), await request.body())
        return Response(status_code=204)

    app = Starlette(routes=[Route(PATH, webhook, methods=["POST"])])
    app.add_middleware(asgi.WebhookMiddleware, verifier, PATH, max_body=MAX_BODY)
    return uvicorn_server(app, PATH)


def serve_fastapi(
    application: Application, verifier: WebhookVerifier
) -> AbstractAsyncContextManager[str]:
    app = FastAPI()
    app.add_middleware(fastapi.WebhookMiddleware, verifier, PATH, max_body=MAX_BODY)

    async def webhook(
        request: Request, event: Annotated[ReceivedEvent, Depends(fastapi.received_event)]
    ) -> None:
        await application.handle(event, await request.body())

    app.post(PATH, status_code=204)(webhook)
    return uvicorn_server(app, PATH)


def serve_asgi(
    application: Application, verifier: WebhookVerifier
) -> AbstractAsyncContextManager[str]:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        message = await receive()
        assert not message["more_body"]
        await application.handle(asgi.received_event(scope), message["body"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    protected = asgi.WebhookMiddleware(app, verifier, PATH, max_body=MAX_BODY)
    return uvicorn_server(protected, PATH)


FRONT_ENDS: Final[dict[str, Serve]] = {
    "aiohttp-handler": serve_aiohttp_handler,
    "aiohttp-middleware": serve_aiohttp_middleware,
    "starlette": serve_starlette,
    "fastapi": serve_fastapi,
    "asgi": serve_asgi,
}
