"""``emit`` and its twins: what they accept, refuse and return."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from support import KEY, ROOM

from relaybox_hooks import (
    ConfigError,
    Event,
    Hooks,
    HooksClosedError,
    LaneFullError,
    PayloadError,
    Receipt,
    RelayboxHooksError,
    Session,
    Webhook,
)
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import FaultReceiver

NO_TARGETS = Receipt("", 0, 0)


@pytest.fixture
async def hooks(receiver: FaultReceiver) -> AsyncIterator[Hooks]:
    """One webhook for everything."""
    async with Hooks([Webhook(receiver.url, ["*"], KEY, id="w1")]) as hooks:
        yield hooks


def ignore(event: Event) -> None: ...


# Open, closed


async def test_no_event_is_accepted_before_start_and_after_close() -> None:
    hooks: Hooks = Hooks()
    hooks.add_subscriber("room:join", ignore)
    for state in ("new", "closed"):
        for emit in (hooks.emit_nowait, hooks.emit_from_thread):
            with pytest.raises(HooksClosedError, match=f"Hooks instance is {state}") as caught:
                emit("room:join", ROOM)
            assert caught.value.state == state
        with pytest.raises(HooksClosedError, match=f"Hooks instance is {state}"):
            await hooks.emit("room:join", ROOM)
        if state == "new":
            async with hooks:
                pass
    assert hooks.stats().accepted == 0


async def test_closed_without_ever_being_started_is_closed_too() -> None:
    hooks: Hooks = Hooks()
    await hooks.aclose()
    with pytest.raises(HooksClosedError, match="Hooks instance is closed"):
        await hooks.emit("room:join", ROOM)
    with pytest.raises(HooksClosedError, match="Hooks instance is closed"):
        hooks.emit_from_thread("room:join", ROOM)


async def test_closed_wins_over_an_unknown_name() -> None:
    untyped: Any = Hooks()
    with pytest.raises(HooksClosedError):
        await untyped.emit("room:jion")


async def test_no_event_is_accepted_while_closing() -> None:
    hooks: Hooks = Hooks()
    began, release, errors = asyncio.Event(), asyncio.Event(), []

    @hooks.on("room:join")
    async def handler(event: Event) -> None:
        began.set()
        await release.wait()
        try:
            await hooks.emit("room:leave", ROOM)
        except HooksClosedError as error:
            errors.append(error.state)

    await hooks.start()
    await hooks.emit("room:join", ROOM)
    await began.wait()
    closing = asyncio.create_task(hooks.aclose())
    await asyncio.sleep(0)
    release.set()
    assert (await closing).delivered == 1
    assert errors == ["closing"]


# Receipts


async def test_a_receipt_counts_the_targets(hooks: Hooks) -> None:
    hooks.add_subscriber("room:join", ignore)
    receipt = await hooks.emit("room:join", ROOM)
    assert (receipt.accepted, receipt.dropped) == (2, 0)
    assert UUID(receipt.event_id).version == 7
    other = await hooks.emit("room:join", ROOM)
    assert other.event_id != receipt.event_id


async def test_emit_nowait_is_its_twin(hooks: Hooks, receiver: FaultReceiver) -> None:
    receipt = hooks.emit_nowait("room:join", ROOM, {"clientId": "ada"})
    await hooks.join()
    body = receiver.requests[0].json()
    assert (body["id"], body["data"]) == (receipt.event_id, ROOM)
    assert body["session"]["clientId"] == "ada"


class Trap:
    """Anything that so much as looks at it fails."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


async def test_an_event_that_nobody_wants_is_not_even_looked_at() -> None:
    """The same receipt each time; neither data nor session are read."""
    async with Hooks() as hooks:
        untyped: Any = hooks
        receipt = await untyped.emit("room:join", Trap(), Trap())
        assert receipt == NO_TARGETS
        assert untyped.emit_nowait("room:join", Trap(), Trap()) is receipt


async def test_an_event_of_an_application_without_webhooks_is_not_encoded(
    receiver: FaultReceiver,
) -> None:
    webhook = Webhook(receiver.url, ["*"], KEY, app_pid="app1")
    async with Hooks([webhook]) as hooks:
        untyped: Any = hooks
        assert await untyped.emit("room:join", Trap(), {"appPid": "app2"}) == NO_TARGETS


async def test_data_for_subscribers_alone_need_not_be_json() -> None:
    async with Hooks() as hooks:
        seen: list[Any] = []
        hooks.on("room:publish")(lambda event: seen.append(event.data))
        data: Any = {"message": object(), "roomId": "r", "event": b"e"}
        await hooks.emit("room:publish", data)
        await hooks.join()
    assert seen == [data]


# What cannot be sent


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"n": 2**53}, "data.n"),
        ({"n": -(2**53)}, "data.n"),
        ({"n": 10**30}, "data.n"),
        ([1, [b"bytes"]], "data[1][0]"),
        (b"bytes", "data"),
        ({"a b": Exception()}, 'data["a b"]'),
        ({"tags": {"x"}}, "data.tags"),
        ({"text": "\ud800"}, "data.text"),
        ({"\ud800": 1}, 'data["\\ud800"]'),
        ({1: "one"}, "data"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["emit", "emit_nowait"])
async def test_what_cannot_be_sent_reaches_no_target(
    hooks: Hooks, receiver: FaultReceiver, data: object, path: str, method: str
) -> None:
    """Not even the subscriber, which could have taken it."""
    told: list[Event] = []
    hooks.add_subscriber("*", told.append)
    emit = getattr(hooks, method)
    with pytest.raises(PayloadError) as caught:
        await emit("room:join", data)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert hooks.stats().accepted == 0
    await hooks.join()
    assert (told, receiver.requests) == ([], [])


@pytest.mark.parametrize(
    ("session", "path"),
    [
        ({"clientId": 5}, "session.clientId"),
        ({"user": {"id": 2**60}}, "session.user.id"),
        ({"exp": b"x"}, "session.exp"),
        ("text", "session"),
        (Session(user={"tags": [Exception()]}), "session.user.tags[0]"),  # type: ignore[arg-type]
        (SimpleNamespace(client_id=b"x"), "session.clientId"),
    ],
    ids=str,
)
async def test_a_session_that_cannot_be_sent_reaches_no_target(
    hooks: Hooks, receiver: FaultReceiver, session: object, path: str
) -> None:
    told: list[Event] = []
    hooks.add_subscriber("*", told.append)
    with pytest.raises(PayloadError) as caught:
        await hooks.emit("room:join", ROOM, session)
    assert caught.value.path == path
    await hooks.join()
    assert hooks.stats().accepted == 0
    assert (told, receiver.requests) == ([], [])


async def test_the_body_has_a_limit(receiver: FaultReceiver) -> None:
    """The limit is that of the whole body, to the byte."""
    told: list[Event] = []
    async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as measuring:
        await measuring.emit("user:status:update", {"status": ""})
        await measuring.join()
    bare = len(receiver.requests[0].body)
    async with Hooks([Webhook(receiver.url, ["*"], KEY)], max_body=bare + 10) as hooks:
        hooks.add_subscriber("*", told.append)
        with pytest.raises(PayloadError, match=f"{bare + 11} bytes and max_body allows") as caught:
            await hooks.emit("user:status:update", {"status": "x" * 11})
        assert caught.value.path == "data"
        assert hooks.stats().accepted == 0
        await hooks.emit("user:status:update", {"status": "x" * 10})
        await hooks.join()
    assert len(receiver.requests[1].body) == bare + 10
    assert len(told) == 1


async def test_a_body_beyond_a_mebibyte_is_sent_where_that_is_allowed(
    receiver: FaultReceiver,
) -> None:
    """aiohttp warns of large bytes, and a warning may be an error."""
    status = "x" * 2**21
    async with Hooks([Webhook(receiver.url, ["*"], KEY)], max_body=2**22) as hooks:
        await hooks.emit("user:status:update", {"status": status})
        await hooks.join()
        assert hooks.stats().delivered == 1
    (request,) = receiver.requests
    assert request.json()["data"]["status"] == status
    assert request.headers["Content-Length"] == str(len(request.body))


# Order keys


async def test_an_order_function_that_raises_stops_the_emit_before_any_target(
    receiver: FaultReceiver,
) -> None:
    def broken(event: Event) -> str:
        raise KeyError("tenant")

    told: list[Event] = []
    webhooks = [
        Webhook(receiver.url, ["*"], KEY, id="plain"),
        Webhook(receiver.url, ["*"], KEY, id="ordered", order_by=broken),
    ]
    async with Hooks(webhooks) as hooks:
        hooks.add_subscriber("*", told.append)
        with pytest.raises(KeyError, match="tenant"):
            await hooks.emit("room:join", ROOM)
        await hooks.join()
        assert hooks.stats().accepted == 0
    assert (told, receiver.requests) == ([], [])


@pytest.mark.parametrize("key", [5, b"key", ["key"]])
async def test_an_order_key_that_is_no_text_stops_the_emit(
    receiver: FaultReceiver, key: object
) -> None:
    def order(event: Event) -> Any:
        return key

    async with Hooks([Webhook(receiver.url, ["*"], KEY)], order_by=order) as hooks:
        with pytest.raises(ConfigError, match=r"order_by=.*must return a str, or None"):
            await hooks.emit("room:join", ROOM)
        assert hooks.stats().accepted == 0


async def test_an_order_function_is_given_the_event(receiver: FaultReceiver) -> None:
    seen: list[Event] = []

    def order(event: Event) -> None:
        seen.append(event)

    async with Hooks([Webhook(receiver.url, ["*"], KEY)], order_by=order) as hooks:
        receipt = await hooks.emit("room:join", ROOM, {"clientId": "ada"})
        await hooks.join()
    (event,) = seen
    assert (event.id, event.name, event.data) == (receipt.event_id, "room:join", ROOM)
    assert event.session.client_id == "ada"


# Threads


async def test_emit_from_a_thread(hooks: Hooks, receiver: FaultReceiver) -> None:
    receipt = await asyncio.to_thread(hooks.emit_from_thread, "room:join", ROOM)
    await hooks.join()
    assert receiver.requests[0].json()["id"] == receipt.event_id


async def test_errors_of_emit_reach_the_thread(hooks: Hooks) -> None:
    untyped: Any = hooks
    with pytest.raises(PayloadError):
        await asyncio.to_thread(untyped.emit_from_thread, "room:join", b"bytes")


async def test_emit_from_a_subscriber_in_a_thread(hooks: Hooks, receiver: FaultReceiver) -> None:
    receipts: list[Receipt] = []

    @hooks.on("room:join", in_thread=True)
    def handler(event: Event) -> None:
        receipts.append(hooks.emit_from_thread("room:leave", ROOM))

    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert [request.json()["event"] for request in receiver.requests] == ["room:join", "room:leave"]
    assert receipts[0].accepted == 1


async def test_a_subscriber_in_a_thread_cannot_wait_for_itself() -> None:
    errors: list[LaneFullError] = []
    async with Hooks() as hooks:

        @hooks.on("room:join", in_thread=True, queue_size=1)
        def handler(event: Event) -> None:
            try:
                hooks.emit_from_thread("room:join", ROOM)
            except LaneFullError as error:
                errors.append(error)

        await hooks.emit("room:join", ROOM)
        await hooks.join()
    assert "would wait for itself" in str(errors[0])


async def test_emit_from_thread_in_the_loops_own_thread_is_refused(hooks: Hooks) -> None:
    with pytest.raises(RelayboxHooksError, match=r"block the event loop .*await emit"):
        hooks.emit_from_thread("room:join", ROOM)


def test_emit_from_thread_after_the_loop_has_gone() -> None:
    """Hooks that nobody closed: the thread gets an answer and no coroutine is left behind."""
    hooks: Hooks = Hooks()
    hooks.add_subscriber("room:join", ignore)

    async def main() -> None:
        await hooks.start()
        await parts_of(hooks).runtime.session.close()

    asyncio.run(main())
    with pytest.raises(HooksClosedError):
        hooks.emit_from_thread("room:join", ROOM)
    with pytest.warns(ResourceWarning, match="unclosed <Hooks open"):
        hooks.__del__()
    parts_of(hooks).runtime.state = "closed"


def test_a_thread_that_waits_for_room_is_told_when_the_loop_ends() -> None:
    hooks: Hooks = Hooks(queue_size=1)
    hooks.on("room:join")(lambda event: asyncio.Event().wait())
    errors: list[HooksClosedError] = []

    def emit_twice() -> None:
        try:
            while True:
                hooks.emit_from_thread("room:join", ROOM)
        except HooksClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=emit_twice)

    async def main() -> None:
        await hooks.start()
        await parts_of(hooks).runtime.session.close()
        thread.start()
        while not any(lane.waiters for lane in parts_of(hooks).registry.lanes()):
            await asyncio.sleep(0)

    asyncio.run(main())
    thread.join()
    assert [error.state for error in errors] == ["closing"]
    parts_of(hooks).runtime.state = "closed"
