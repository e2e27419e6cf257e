"""ASGI integration: a middleware for Starlette, FastAPI or any other ASGI application.

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
    ErrorResponseError,
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

#: Key of the event in a request's scope.
EVENT: Final = "relaybox_hooks.event"


class WebhookMiddleware:
    """Middleware that verifies requests to some paths before the application gets them.

    A request that fails verification gets an error response (statuses in
    :mod:`relaybox_hooks.receive.guard`) and does not reach the application. For verified
    requests the application gets the event from :func:`received_event`, and can read the body
    as usual. Other paths, websockets and the lifespan pass unchanged.

    Args:
        app: the ASGI application.
        verifier: verifier of the requests. Webhooks with different keys need a path and a
            middleware each.
        paths: paths as in the application's routes, below ``root_path``; matched exactly.
        max_body: maximum length of a body, bytes; a longer one is rejected as soon as its
            length is known.

    Raises:
        ConfigError: ``paths`` is empty, or an argument is invalid.
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
            self._guard.check_head(scope["method"], _content_length(headers))
            body = await self._read(receive)
            if body is None:
                return
            # The scope is not copied, because outer middlewares read what the router adds to it
            # (for example the route, for the name of a span or metric).
            scope[EVENT] = await self._guard.verify(headers, body)
        except ErrorResponseError as error:
            error.log()
            await _respond(error, send)
        else:
            await self._app(scope, _with_body(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body, or ``None`` if the client disconnected before its end."""
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
    """Return the event of a request that :class:`WebhookMiddleware` has verified.

    Args:
        request: a Starlette or FastAPI request, or an ASGI scope.

    Raises:
        ConfigError: no middleware verifies the request's path.
    """
    event = request.get(EVENT)
    if not isinstance(event, ReceivedEvent):
        raise not_verified(request["path"])
    return event


def _route_path(scope: Scope) -> str:
    """Return the path below ``root_path``, the mount point, as routes match it."""
    path: str = scope["path"]
    rest = path.removeprefix(scope.get("root_path", ""))
    return rest if rest.startswith("/") else path


def _content_length(headers: Mapping[str, str]) -> int | None:
    try:
        return int(headers.get("content-length", ""))
    except ValueError:
        # No header. The server rejects a value that is not a number.
        return None


def _with_body(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that yields ``body`` first, then what ``receive`` yields."""
    unread = True

    async def receive_body() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_body


async def _respond(error: ErrorResponseError, send: Send) -> None:
    headers = {**error.headers, "Content-Length": str(len(error.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": error.body})
