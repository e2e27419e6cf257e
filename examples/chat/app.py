"""aiohttp application of the chat: page, sign-up and sign-in, websocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from chat import wire
from chat.accounts import Accounts
from chat.server import ChatServer
from chat.subscribers import subscribe
from chat.wire import InvalidRequestError, Message
from relaybox_hooks import Event, Hooks, Observer, Webhook

_PAGE: Final = Path(__file__).parent / "page"
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

#: Time limit of the last deliveries at shutdown, seconds.
_DRAIN: Final = 3.0


def make_hooks(webhooks: Iterable[Webhook] = (), observers: Iterable[Observer] = ()) -> Hooks:
    """Return Hooks with policies for a chat."""
    return Hooks(
        webhooks,
        # No socket waits for a webhook: a full lane drops its oldest events, which are counted
        # and kept as dead letters.
        overflow="drop_oldest",
        # Only related deliveries wait for each other.
        order_by=order_key,
        close_timeout=_DRAIN,
        observers=observers,
    )


def order_key(event: Event) -> str | None:
    """Return the order key of an event: its room, else its user.

    By room for all users, so that no room:publish is delivered before the room:create or after
    the room:destroy of its room. The library's ``order_by="room"`` differs in that it uses the
    connection for events without a room.
    """
    match event.data:
        case {"roomId": str(room_id)} | {"id": str(room_id), "visibility": _}:
            return f"room {room_id}"
    return event.session.client_id


class AuthApi:
    """Handlers of sign-up, verification and sign-in over HTTP, before the websocket.

    Args:
        hooks: hooks to emit into.
        accounts: accounts of the chat.
        mail: sends a code to an address.
    """

    def __init__(self, hooks: Hooks, accounts: Accounts, mail: Callable[[str, str], None]) -> None:
        self._hooks = hooks
        self._accounts = accounts
        self._mail = mail

    async def sign_up(self, request: web.Request) -> web.Response:
        ask = await _body(request)
        account = await self._accounts.sign_up(
            wire.text(ask, "email"), wire.label(ask, "username"), wire.text(ask, "password")
        )
        await self._hooks.emit("auth:signup", account.auth_data(), account.auth_session())
        self._mail(account.email, account.code)
        # The page shows the code instead of a mail. A real server must not return it here.
        return web.json_response({"email": account.email, "code": account.code})

    async def verify(self, request: web.Request) -> web.Response:
        ask = await _body(request)
        account = self._accounts.verify(wire.text(ask, "email"), wire.text(ask, "code"))
        await self._hooks.emit("auth:verify", account.auth_data(), account.auth_session())
        return web.json_response({"email": account.email})

    async def sign_in(self, request: web.Request) -> web.Response:
        ask = await _body(request)
        token, signed_in = await self._accounts.sign_in(
            wire.text(ask, "email"), wire.text(ask, "password")
        )
        account = signed_in.account
        session = account.auth_session(signed_in.exp)
        await self._hooks.emit("auth:signin", account.auth_data(), session)
        return web.json_response({"token": token, "name": account.username})


def make_app(hooks: Hooks, mail: Callable[[str, str], None]) -> web.Application:
    """Return the application. It emits into ``hooks``, and starts and closes them."""
    accounts = Accounts()
    chat = ChatServer(hooks, accounts)
    subscribe(hooks, chat)
    auth = AuthApi(hooks, accounts, mail)

    async def close_connections(app: web.Application) -> None:
        await chat.close()

    app = web.Application(middlewares=[_error_responses], client_max_size=wire.MESSAGE_LIMIT)
    app.router.add_post("/auth/signup", auth.sign_up)
    app.router.add_post("/auth/verify", auth.verify)
    app.router.add_post("/auth/signin", auth.sign_in)
    app.router.add_get("/socket", chat.websocket)
    for path, name in {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}.items():
        app.router.add_get(path, _file(_PAGE / name))
    app.on_shutdown.append(close_connections)
    hooks.setup(app)
    return app


@asynccontextmanager
async def serving(app: web.Application, port: int) -> AsyncIterator[int]:
    """Serve ``app`` on the loopback address; yields the port. Port 0 selects a free one."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield site.port
    finally:
        await runner.cleanup()


async def _body(request: web.Request) -> Message:
    return wire.parse(await request.read())


def _file(path: Path) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers=_HEADERS)

    return send


@web.middleware
async def _error_responses(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except InvalidRequestError as error:
        return web.json_response({"error": str(error)}, status=error.status)
