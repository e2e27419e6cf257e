"""Webhooks in an ASGI application: Starlette, FastAPI, or none of the frameworks.

::

    app = Starlette(routes=[Route("/webhook", webhook, methods=["POST"])])
    app.add_middleware(WebhookMiddleware, WebhookVerifier(KEY), "/webhook")

    async def webhook(request: Request) -> Response:
        event = received_event(request)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from multidict import CIMultiDict

from relaybox_hooks.receive.guard import (
    MAX_BODY,
    RefusedError,
    RequestGuard,
    not_verified,
    webhook_paths,
)
from relaybox_hooks.receive.verifier import ReceivedEvent, WebhookVerifier

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where in a request's scope its event is.
EVENT: Final = "relaybox_hooks.event"


class WebhookMiddleware:
    """Verifies the requests to some paths before the application sees them.

    A request that is not to be trusted is answered here (:mod:`relaybox_hooks.receive.guard` has
    the statuses) and never reaches the application. Of the others the application gets the
    event from :func:`received_event`, and the body as if nobody had read it yet. Other paths,
    websockets and the lifespan pass untouched.

    Args:
        app: the application.
        verifier: whose requests pass. Webhooks with keys of their own take a path each, and
            one middleware around the other.
        paths: as the application's routes have them, below ``root_path``; matched exactly.
        max_body: bytes of the longest body that is read; a longer one is refused as soon as
            that is known.

    Raises:
        ConfigError: no path, or an option that cannot work.
    """

    def __init__(
        self, app: ASGIApp, verifier: WebhookVerifier, *paths: str, max_body: int = MAX_BODY
    ) -> None:
        self._app = app
        self._guard = RequestGuard(verifier, max_body)
        self._paths = webhook_paths(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _route_path(scope) not in self._paths:
            await self._app(scope, receive, send)
            return
        headers = CIMultiDict(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        try:
            self._guard.check_head(scope["method"], _length(headers))
            body = await self._read(receive)
            if body is None:
                return
            # The scope is not copied, for what the router adds to it is read outside of here
            # (the route that a trace or a metric is named after).
            scope[EVENT] = await self._guard.verify(headers, body)
        except RefusedError as refused:
            refused.log()
            await _answer(refused, send)
        else:
            await self._app(scope, _again(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or ``None`` where the client left in the middle of it."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            self._guard.check_length(len(body) + len(chunk))
            body += chunk
            more = message.get("more_body", False)
        return bytes(body)


def received_event(request: Mapping[str, Any]) -> ReceivedEvent:
    """The event of a request that :class:`WebhookMiddleware` has verified.

    Args:
        request: Starlette's or FastAPI's request, or an ASGI scope.

    Raises:
        ConfigError: no middleware has the request's path.
    """
    event = request.get(EVENT)
    if not isinstance(event, ReceivedEvent):
        raise not_verified(request["path"])
    return event


def _route_path(scope: Scope) -> str:
    """The path as routes have it: servers put what the application is mounted at before it."""
    path: str = scope["path"]
    rest = path.removeprefix(scope.get("root_path", ""))
    return rest if rest.startswith("/") else path


def _length(headers: Mapping[str, str]) -> int | None:
    try:
        return int(headers.get("content-length", ""))
    except ValueError:
        # None was stated. One that is no number is the server's to refuse.
        return None


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that begins with a body already read."""
    unread = True

    async def receive_again() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_again


async def _answer(refused: RefusedError, send: Send) -> None:
    headers = {**refused.headers, "Content-Length": str(len(refused.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": refused.body})
