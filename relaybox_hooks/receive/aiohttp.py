"""aiohttp integration: a decorator for one handler, a middleware for paths.

::

    @webhook_handler(WebhookVerifier(KEY))
    async def webhook(request: web.Request, event: ReceivedEvent) -> None: ...

    app.router.add_post("/webhook", webhook)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relaybox_hooks.errors import MalformedBodyError
from relaybox_hooks.receive.guard import (
    MAX_BODY,
    ErrorResponseError,
    RequestGuard,
    not_verified,
    webhook_paths,
)
from relaybox_hooks.receive.verifier import ReceivedEvent, WebhookVerifier

#: Handler of a request and its event; returning ``None`` responds with 204.
EventHandler: TypeAlias = Callable[
    [web.Request, ReceivedEvent], Awaitable[web.StreamResponse | None]
]

_EVENT: Final = web.RequestKey("event", ReceivedEvent)


def webhook_handler(
    verifier: WebhookVerifier, *, max_body: int = MAX_BODY
) -> Callable[[EventHandler], Handler]:
    """Decorate a function of the request and its event as an aiohttp handler.

    Returning ``None`` responds with 204. A request that fails verification gets an error
    response (statuses in :mod:`relaybox_hooks.receive.guard`) and the function is not called.

    Args:
        verifier: verifier of the requests.
        max_body: maximum length of a body in bytes, regardless of the application's
            ``client_max_size``; a longer one is rejected as soon as its length is known.

    Raises:
        ConfigError: ``max_body`` is not a whole number of at least 1.
    """
    guard = RequestGuard(verifier, max_body)

    def decorate(function: EventHandler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            response = await function(request, received_event(request))
            return web.Response(status=204) if response is None else response

        @wraps(function)
        async def handler(request: web.Request) -> web.StreamResponse:
            return await _verify_and_call(guard, request, handle)

        return handler

    return decorate


def webhook_middleware(
    verifier: WebhookVerifier, *paths: str, max_body: int = MAX_BODY
) -> Middleware:
    """Return a middleware that verifies requests to ``paths`` before their handlers run.

    A request that fails verification gets an error response and reaches no handler. Other
    handlers get the event from :func:`received_event` and may still read the body. Place
    middlewares that read bodies after this one, because ``max_body`` cannot limit a body that
    was read already.

    Args:
        verifier: verifier of the requests. Webhooks with different keys need a path and a
            middleware each.
        paths: complete paths, matched exactly.
        max_body: as for :func:`webhook_handler`.

    Raises:
        ConfigError: ``paths`` is empty, or an argument is invalid.
    """
    guard = RequestGuard(verifier, max_body)
    verified = webhook_paths(paths)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in verified:
            return await _verify_and_call(guard, request, handler)
        return await handler(request)

    return middleware


def received_event(request: web.Request) -> ReceivedEvent:
    """Return the event of a verified request.

    Raises:
        ConfigError: no middleware verifies the request's path.
    """
    try:
        return request[_EVENT]
    except KeyError:
        raise not_verified(request.path) from None


async def _verify_and_call(
    guard: RequestGuard, request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Call ``handler`` with the verified request, or return an error response."""
    # The clone enforces the limit, and keeps the body that it reads for the handler.
    bounded = request.clone(client_max_size=guard.max_body)
    try:
        guard.check_head(request.method, request.content_length)
        bounded[_EVENT] = await guard.verify(request.headers, await _read(guard, bounded))
    except ErrorResponseError as error:
        error.log()
        return web.Response(status=error.status, headers=error.headers, body=error.body)
    return await handler(bounded)


async def _read(guard: RequestGuard, request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise guard.too_large() from None
    except (web.RequestPayloadError, OSError):
        # The client disconnected, or sent invalid chunks or an invalid content coding.
        # Not chained: aiohttp's message may contain part of the payload.
        error = MalformedBodyError("it did not arrive as its headers say")
        raise ErrorResponseError.of(error) from None
