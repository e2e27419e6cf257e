"""The aiohttp decorator and middleware, beyond what all front ends have in common."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from aiohttp import ClientSession, web
from support import KEY
from support.front_ends import PATH
from support.servers import aiohttp_server
from support.signing import signed

from relaybox_hooks import ConfigError, ReceivedEvent, WebhookVerifier
from relaybox_hooks.receive.aiohttp import received_event, webhook_handler, webhook_middleware

TENANT = web.RequestKey("tenant", str)


async def post(app: web.Application, path: str = PATH, **headers: str) -> tuple[int, str]:
    """The status and the text that a good request is answered."""
    signature, body = signed()
    data = gzip.compress(body) if headers.get("Content-Encoding") == "gzip" else body
    async with (
        aiohttp_server(app, PATH) as url,
        ClientSession() as http,
        http.post(url.replace(PATH, path), headers={**signature, **headers}, data=data) as response,
    ):
        return response.status, await response.text()


def application(handler: Any, *middlewares: Any) -> web.Application:
    app = web.Application(middlewares=middlewares)
    app.router.add_post("/{path}", handler)
    return app


async def test_a_handler_may_answer_for_itself() -> None:
    @webhook_handler(WebhookVerifier(KEY))
    async def webhook(request: web.Request, event: ReceivedEvent) -> web.Response:
        """Docstring."""
        return web.Response(status=202, text=event.name)

    assert (webhook.__name__, webhook.__doc__) == ("webhook", "Docstring.")
    assert await post(application(webhook)) == (202, "room:join")


async def test_a_handler_may_raise_an_answer() -> None:
    @webhook_handler(WebhookVerifier(KEY))
    async def webhook(request: web.Request, event: ReceivedEvent) -> None:
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "5"})

    assert (await post(application(webhook)))[0] == 503


async def test_what_the_route_and_other_middlewares_know_is_still_known() -> None:
    @web.middleware
    async def outer(request: web.Request, handler: Any) -> web.StreamResponse:
        request[TENANT] = "acme"
        response: web.StreamResponse = await handler(request)
        return response

    async def webhook(request: web.Request) -> web.Response:
        event = received_event(request)
        return web.Response(text=f"{request[TENANT]} {request.match_info['path']} {event.id}")

    inner = webhook_middleware(WebhookVerifier(KEY), PATH)
    assert await post(application(webhook, outer, inner)) == (200, "acme webhook e-1")


async def test_other_paths_are_left_alone_and_have_no_event() -> None:
    async def other(request: web.Request) -> web.Response:
        with pytest.raises(ConfigError, match="path='/other': its requests are not verified"):
            received_event(request)
        return web.Response(body=await request.read())

    middleware = webhook_middleware(WebhookVerifier(KEY), PATH, max_body=1)
    status, text = await post(application(other, middleware), "/other")
    assert (status, text[:8]) == (200, '{"data":')


@pytest.mark.parametrize(("coding", "status"), [("gzip", 204), ("deflate", 400)])
async def test_a_body_that_does_not_decode_is_malformed(coding: str, status: int) -> None:
    """aiohttp undoes a content coding by itself."""

    @webhook_handler(WebhookVerifier(KEY))
    async def webhook(request: web.Request, event: ReceivedEvent) -> None: ...

    answered, text = await post(application(webhook), **{"Content-Encoding": coding})
    assert answered == status
    assert ("MalformedBodyError" in text) is (status == 400)


async def test_a_body_is_bounded_as_it_decodes() -> None:
    """Or else a kilobyte could become a gigabyte."""

    @webhook_handler(WebhookVerifier(KEY), max_body=100)
    async def webhook(request: web.Request, event: ReceivedEvent) -> None: ...

    async with (
        aiohttp_server(application(webhook), PATH) as url,
        ClientSession() as http,
        http.post(
            url, data=gzip.compress(bytes(10_000)), headers={"Content-Encoding": "gzip"}
        ) as response,
    ):
        assert response.status == 413


def test_options_that_cannot_work_are_refused() -> None:
    verifier = WebhookVerifier(KEY)
    with pytest.raises(ConfigError, match="paths="):
        webhook_middleware(verifier)
    for make in (
        webhook_handler,
        lambda *args, **kwargs: webhook_middleware(*args, PATH, **kwargs),
    ):
        with pytest.raises(ConfigError, match="max_body="):
            make(verifier, max_body=0)
