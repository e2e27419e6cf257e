"""Mistakes that a strict type checker must find: on each marked line, and on no other."""

from typing import Literal

from relaybox_hooks import Event, Hooks, RetryPolicy, Session, Webhook
from relaybox_hooks.events import RoomData, UserStatusData

hooks = Hooks()
shop = Hooks[Literal["order:paid"]](custom_events=["order:paid"])


async def emit() -> None:
    await hooks.emit("room:jion", {"roomId": "chat:one"})  # E
    await hooks.emit("room:join", {"room": "chat:one"})  # E
    await hooks.emit("room:join", {"roomId": 5})  # E
    await hooks.emit("room:join", {})  # E
    await hooks.emit("room:join")  # E
    await hooks.emit("room:join", None)  # E
    await hooks.emit("room:join", "chat:one")  # E
    await hooks.emit("room:join", {"roomId": "chat:one", "more": 1})  # E
    await hooks.emit("presence:join", {"roomId": "chat:one"})  # E
    await hooks.emit("room:create", {"id": "r", "uuid": "u"})  # E
    await hooks.emit("user:status:update", {"roomId": "chat:one"})  # E
    await hooks.emit("auth:session:initialize", {"roomId": "chat:one"})  # E
    await hooks.emit("auth:signin", {"email": "ada@example.com"})  # E
    await hooks.emit("room:publish", {"roomId": "r", "event": "message"})  # E
    await hooks.emit("room:*", {"roomId": "chat:one"})  # E
    await hooks.emit("order:paid", {"total": "12.30"})  # E
    await shop.emit("order:payed", {"total": "12.30"})  # E
    await shop.emit("room:join", {"room": "chat:one"})  # E
    hooks.emit_nowait("room:jion", {"roomId": "chat:one"})  # E
    hooks.emit_from_thread("room:join", {"roomId": None})  # E
    name: str = "room:join"
    await hooks.emit(name, {"roomId": "chat:one"})  # E


@hooks.on("room:jion")  # E
def misspelt(event: Event) -> None: ...


@hooks.on("rooms:*")  # E
def misspelt_pattern(event: Event) -> None: ...


@hooks.on("order:paid")  # E
def undeclared(event: Event) -> None: ...


@shop.on("order:payed")  # E
def misspelt_custom(event: Event) -> None: ...


@hooks.on("room:join")  # E
def wrong_data(event: Event[UserStatusData]) -> None: ...


@hooks.on("room:join")  # E
def no_event(event: RoomData) -> None: ...


@hooks.on("room:join")  # E
def no_argument() -> None: ...


@hooks.on("room:join", in_thraed=True)  # E
def wrong_option(event: Event) -> None: ...


@hooks.once("room:join", inline=True, timeout="5 s")  # E
def wrong_limit(event: Event) -> None: ...


@hooks.on("room:join", overflow="drop")  # E
def wrong_value(event: Event) -> None: ...


@hooks.on("room:join")
def right(event: Event[RoomData]) -> None:
    event.data["room"]  # E
    event.id = 5  # E


hooks.add_subscriber("room:jion", right)  # E
hooks.add_subscriber("room:join", "right")  # E
hooks.off(right, "room:jion")  # E
hooks.once("room:jion")  # E

Webhook("http://localhost", ["*"])  # E
Webhook("http://localhost", 5, "key")  # E
Webhook("http://localhost", ["*"], b"key")  # E
Webhook("http://localhost", ["*"], "key", "id")  # E
Webhook("http://localhost", ["*"], "key", order_by="user")  # E
Webhook("http://localhost", ["*"], "key", headers=["X-A: 1"])  # E
Webhook("http://localhost", ["*"], "key", retry=5)  # E
Hooks([Webhook("http://localhost", ["*"], "key")], 5)  # E
Hooks(overflow="drop")  # E
Session("app")  # E
Session(client_id=5)  # E
RetryPolicy(attempts="5")  # E
