"""Correct use of the public API: a strict type checker has nothing to say about it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

from aiohttp import web

from relaybox_hooks import (
    EVENTS,
    HOOKS_KEY,
    Event,
    Hooks,
    Receipt,
    RetryPolicy,
    Session,
    Stats,
    User,
    Webhook,
)
from relaybox_hooks.events import PresenceData, RoomData, RoomMessageData, RoomPublishData

webhook = Webhook(
    url="http://localhost:4000/webhook",
    events=["auth:signin", "room:publish"],
    signing_key="21d45d1d4dff46f13cd4478ba08395d9",
    name="crm",
    previous_key="5b51ad4afc374e5c9d4a8e1f30a39c1e",
    rotate_at=datetime(2026, 3, 1, tzinfo=UTC),
    standard_webhooks=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    headers={"X-Tenant": "acme"},
    order_by=lambda event: event.session.client_id,
    retry=RetryPolicy(attempts=3, statuses=[500, 503]),
)
hooks = Hooks([webhook])
session = Session(app_pid="app", client_id="ada", user=User(id="u1", extra={"badge": 3}))


@hooks.on("room:join")
async def bare(event: Event) -> None:
    print(event.id, event.name, event.data, event.session.user, event.timestamp.year)


@hooks.on("room:join")
async def typed(event: Event[RoomData]) -> None:
    assert_type(event.data["roomId"], str)


@hooks.once("presence:*", in_thread=True, name="presence", queue_size=5, overflow="drop_oldest")
def presence(event: Event[PresenceData]) -> int:
    return len(event.data["roomId"])


@hooks.on("room:leave", inline=True, timeout=timedelta(seconds=2))
async def checked(event: Event[RoomData]) -> None:
    assert_type(event.data["roomId"], str)


@hooks.on("room:publish")
def published(event: Event[RoomPublishData | RoomMessageData]) -> None:
    assert_type(event.data["roomId"], str)


@hooks.on("auth:session:initialize")
def initialized(event: Event[None]) -> None: ...


@hooks.on("*")
def everything(event: Event) -> None: ...


@hooks.on("room:join", "presence:*", "user:status:update")
@hooks.on("auth:*")
def several(event: Event[Any]) -> None: ...


class Service:
    def __init__(self, hooks: Hooks) -> None:
        hooks.on("room:leave")(self.left)
        hooks.add_subscriber("room:*", self.left, concurrency=2)
        hooks.off(self.left, "room:join", "room:*")

    async def left(self, event: Event) -> None: ...


async def main() -> None:
    data: RoomData = {"roomId": "chat:one"}
    async with hooks as entered:
        assert_type(entered, Hooks)
        receipt = await entered.emit("room:join", {"roomId": "chat:one"}, session)
        assert_type(receipt, Receipt)
        assert_type(hooks.emit_nowait("room:leave", data, {"clientId": "ada"}), Receipt)
        assert_type(hooks.emit_from_thread("auth:session:initialize"), Receipt)
        await hooks.emit("room:destroy", data, object())
        await hooks.emit("presence:update", {"roomId": "r", "userData": {"mood": "fine"}})
        await hooks.emit("room:create", {"id": "r", "uuid": "u", "visibility": "public"})
        await hooks.emit("room:publish", {"message": "hi", "roomId": "r", "event": "message"})
        await hooks.emit(
            "room:publish",
            {"id": "1", "body": "hi", "roomId": "r", "timestamp": "t", "event": "message"},
        )
        await hooks.emit("user:status:update", {"status": "away"})
        await hooks.emit(
            "auth:signin",
            {
                "identities": [],
                "factors": [],
                "authMfaEnabled": False,
                "email": "ada@example.com",
                "verifiedAt": None,
            },
        )
        hooks.rotate_signing_key(webhook.id, "another key", at=datetime.now(UTC))
        assert_type(hooks.stats(), Stats)
    # What is decorated can still be called.
    await bare(Event("1", "room:join", data, session, 0.0))
    assert_type(
        presence(Event("1", "presence:join", {"roomId": "", "userData": 1}, session, 0)), int
    )
    for name in EVENTS:
        assert_type(len(name), int)


# A server's own events need neither a cast nor an ignore.
shop = Hooks[Literal["order:paid", "order:sent"]](custom_events=["order:paid", "order:sent"])


@shop.on("order:paid")
async def paid(event: Event) -> None: ...


@shop.on("order:paid", "order:sent", "room:join")
async def paid_or_sent(event: Event) -> None: ...


@shop.on("room:join")
async def joined_a_shop(event: Event[RoomData]) -> None: ...


async def sell() -> None:
    async with shop:
        assert_type(await shop.emit("order:paid", {"total": "12.30"}, session), Receipt)
        await shop.emit("order:sent")
        await shop.emit("room:join", {"roomId": "chat:one"})
        shop.off(paid, "order:paid")


# An aiohttp application knows what setup() has left in it.
app = web.Application()
hooks.setup(app)
shop.setup(app)
assert_type(app[HOOKS_KEY], Hooks)
