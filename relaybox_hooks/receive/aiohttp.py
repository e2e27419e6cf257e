"""Webhooks in an aiohttp application: a decorator for one handler, a middleware for paths.

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
    RefusedError,
    RequestGuard,
    not_verified,
    webhook_paths,
)
from relaybox_hooks.receive.verifier import ReceivedEvent, WebhookVerifier

#: What is called with a request and its event; returning nothing answers 204.
EventHandler: TypeAlias = Callable[
    [web.Request, ReceivedEvent], Awaitable[web.StreamResponse | None]
]

_EVENT: Final = web.RequestKey("event", ReceivedEvent)


def webhook_handler(
    verifier: WebhookVerifier, *, max_body: int = MAX_BODY
) -> Callable[[EventHandler], Handler]:
    """Make a handler of a function of the request and its event; ``return`` answers 204.

    A request that is not to be trusted is answered for it
    (:mod:`relaybox_hooks.receive.guard` has the statuses).

    Args:
        verifier: whose requests pass.
        max_body: bytes of the longest body that is read, whatever the application's
            ``client_max_size``; a longer one is refused as soon as that is known.

    Raises:
        ConfigError: ``max_body`` cannot work.
    """
    gate = RequestGuard(verifier, max_body)

    def decorate(function: EventHandler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            response = await function(request, received_event(request))
            return web.Response(status=204) if response is None else response

        @wraps(function)
        async def handler(request: web.Request) -> web.StreamResponse:
            return await _pass(gate, request, handle)

        return handler

    return decorate


def webhook_middleware(
    verifier: WebhookVerifier, *paths: str, max_body: int = MAX_BODY
) -> Middleware:
    """A middleware that verifies the requests to some paths before their handlers are called.

    A request that is not to be trusted is answered here and reaches no handler. Of the others
    the handler gets the event from :func:`received_event`, and may read the body. A middleware
    that reads bodies itself goes after this one, for aiohttp bounds no body that was read.

    Args:
        verifier: whose requests pass. Webhooks with keys of their own take a path and a
            middleware each.
        paths: whole paths, matched exactly.
        max_body: as for :func:`webhook_handler`.

    Raises:
        ConfigError: no path, or an option that cannot work.
    """
    gate = RequestGuard(verifier, max_body)
    verified = webhook_paths(paths)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in verified:
            return await _pass(gate, request, handler)
        return await handler(request)

    return middleware


def received_event(request: web.Request) -> ReceivedEvent:
    """The event of a request that was verified.

    Raises:
        ConfigError: no middleware has the request's path.
    """
    try:
        return request[_EVENT]
    except KeyError:
        raise not_verified(request.path) from None


async def _pass(gate: RequestGuard, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Call ``handler`` with the verified request, or answer it."""
    # The clone has the bound, and keeps the body that it reads for the handler.
    bounded = request.clone(client_max_size=gate.max_body)
    try:
        gate.check_head(request.method, request.content_length)
        bounded[_EVENT] = await gate.verify(request.headers, await _read(gate, bounded))
    except RefusedError as refused:
        refused.log()
        return web.Response(status=refused.status, headers=refused.headers, body=refused.body)
    return await handler(bounded)


async def _read(gate: RequestGuard, request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise gate.too_large() from None
    except (web.RequestPayloadError, OSError):
        # The client left, sent chunks that are none, or a content coding that does not decode.
        # It is not chained, for what aiohttp says of it can hold some of the payload.
        error = MalformedBodyError("it did not arrive as its headers say")
        raise RefusedError.of(error) from None
