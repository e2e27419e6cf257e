"""The ASGI middleware: what it verifies, what it leaves alone, and how much it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from aiohttp import ClientSession
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from support import KEY
from support.front_ends import PATH
from support.servers import uvicorn_server
from support.signing import Headers, signed

from relaybox_hooks import ConfigError, WebhookVerifier
from relaybox_hooks.receive.asgi import (
    EVENT,
    Message,
    Receive,
    Scope,
    Send,
    WebhookMiddleware,
    received_event,
)


class Client:
    """Plays the server's part of one request: what it passes on, and what it is told."""

    def __init__(self, *messages: Message) -> None:
        self.to_come = list(messages)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return self.to_come.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


class Inner:
    """The application behind the middleware: notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Scope, Receive, Send]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append((scope, receive, send))


def scope_of(headers: Headers, path: str = PATH, root_path: str = "") -> Scope:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "root_path": root_path,
        "headers": raw,
    }


def body_in(*parts: bytes) -> Iterable[Message]:
    for part in parts[:-1]:
        yield {"type": "http.request", "body": part, "more_body": True}
    yield {"type": "http.request", "body": parts[-1]}


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def middleware(inner: Inner) -> WebhookMiddleware:
    return WebhookMiddleware(inner, WebhookVerifier(KEY), PATH, max_body=1000)


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "lifespan"},
        {"type": "websocket", "path": PATH, "headers": []},
        scope_of({}, "/"),
        scope_of({}, f"{PATH}/"),
        scope_of({}, f"{PATH}s"),
    ],
)
async def test_everything_else_passes_untouched(
    middleware: WebhookMiddleware, inner: Inner, scope: Scope
) -> None:
    client, before = Client(), dict(scope)
    receive, send = client.receive, client.send
    await middleware(scope, receive, send)
    (passed,) = inner.calls
    assert passed == (scope, receive, send)
    assert scope == before


@pytest.mark.parametrize(
    ("path", "root_path", "verified"),
    [
        ("/api/webhook", "/api", True),
        ("/webhook", "/api", True),
        ("/webhook", "/web", True),
        ("/webhook", "/webhook", True),
        ("/api/webhook", "", False),
        ("/apiwebhook", "/api", False),
    ],
)
async def test_a_path_is_what_the_routes_have_below_the_root(
    middleware: WebhookMiddleware, inner: Inner, path: str, root_path: str, verified: bool
) -> None:
    """As Starlette takes it: a server puts the root before the path, unless it does not."""
    client = Client(*body_in(b"{}"))
    await middleware(scope_of({}, path, root_path), client.receive, client.send)
    assert bool(inner.calls) is not verified
    assert not verified or client.status == 400


async def test_a_body_is_gathered_from_its_parts_and_passed_on_whole(
    middleware: WebhookMiddleware, inner: Inner
) -> None:
    headers, body = signed()
    gone: Message = {"type": "http.disconnect"}
    client = Client(*body_in(b"", body[:9], b"", body[9:], b""), gone)
    await middleware(scope_of(headers), client.receive, client.send)
    ((scope, receive, _),) = inner.calls
    assert received_event(scope).id == "e-1"
    assert await receive() == {"type": "http.request", "body": body, "more_body": False}
    assert await receive() is gone


async def test_a_client_that_leaves_gets_no_answer(
    middleware: WebhookMiddleware, inner: Inner
) -> None:
    headers, body = signed()
    first, *_ = body_in(body, b"")
    client = Client(first, {"type": "http.disconnect"})
    await middleware(scope_of(headers), client.receive, client.send)
    assert not client.sent
    assert not inner.calls


async def test_nothing_is_read_of_a_body_that_says_it_is_too_long(
    middleware: WebhookMiddleware,
) -> None:
    client = Client(*body_in(b"unread"))
    scope = scope_of({"Content-Length": "1001"})
    await middleware(scope, client.receive, client.send)
    assert client.status == 413
    assert len(client.to_come) == 1


@pytest.mark.parametrize("stated", [{}, {"Content-Length": "9"}, {"Content-Length": "many"}])
async def test_reading_ends_where_a_body_becomes_too_long(
    middleware: WebhookMiddleware, stated: Headers
) -> None:
    """Whatever its length was said to be."""
    client = Client(*body_in(*[b"x" * 400] * 10))
    await middleware(scope_of(stated), client.receive, client.send)
    assert client.status == 413
    assert len(client.to_come) == 7


async def test_an_answer_is_whole(middleware: WebhookMiddleware) -> None:
    client = Client(*body_in(b"{}"))
    await middleware(scope_of({}), client.receive, client.send)
    start, body = client.sent
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/json"
    assert int(headers[b"content-length"]) == len(body["body"])


async def test_what_a_router_notes_in_the_scope_is_seen_outside() -> None:
    """Traces and metrics are named by it."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = "the route"

    headers, body = signed()
    scope, client = scope_of(headers), Client(*body_in(body))
    await WebhookMiddleware(routed, WebhookVerifier(KEY), PATH)(scope, client.receive, client.send)
    assert scope["route"] == "the route"


async def test_webhooks_with_keys_of_their_own_take_a_path_each(inner: Inner) -> None:
    audit = WebhookMiddleware(inner, WebhookVerifier("audit key"), "/audit")
    both = WebhookMiddleware(audit, WebhookVerifier(KEY), PATH, "/old")
    for key, path, passes in (
        (KEY, PATH, True),
        (KEY, "/old", True),
        (KEY, "/audit", False),
        ("audit key", "/audit", True),
        ("audit key", PATH, False),
    ):
        headers, body = signed(path, key=key)
        client = Client(*body_in(body))
        await both(scope_of(headers, path), client.receive, client.send)
        assert bool(client.sent) is not passes
    assert [scope["path"] for scope, *_ in inner.calls] == [PATH, "/old", "/audit"]


@pytest.mark.parametrize("held", [{}, {EVENT: None}])
def test_a_handler_whose_path_is_not_verified_is_told(held: dict[str, Any]) -> None:
    """It cannot take a request for a verified one by mistake."""
    with pytest.raises(ConfigError, match="path='/other': its requests are not verified"):
        received_event({"path": "/other", **held})


def test_options_that_cannot_work_are_refused(inner: Inner) -> None:
    with pytest.raises(ConfigError, match="paths="):
        WebhookMiddleware(inner, WebhookVerifier(KEY))
    with pytest.raises(ConfigError, match="max_body="):
        WebhookMiddleware(inner, WebhookVerifier(KEY), PATH, max_body=0)


async def test_a_websocket_at_the_very_path_works() -> None:
    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    app = Starlette(routes=[WebSocketRoute(PATH, greet), Route("/", greet)])
    app.add_middleware(WebhookMiddleware, WebhookVerifier(KEY), PATH)
    async with (
        uvicorn_server(app, PATH) as url,
        ClientSession() as http,
        http.ws_connect(url) as socket,
    ):
        assert (await socket.receive()).data == "hello"
