"""Who is told: subscribers of every kind, and webhooks that come and go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from support import KEY, ROOM

from relaybox_hooks import (
    EVENTS,
    ConfigError,
    Event,
    Hooks,
    HooksClosedError,
    Receipt,
    UnknownEventError,
    UnknownTargetError,
    Webhook,
)
from relaybox_hooks.testing import FaultReceiver


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with Hooks() as hooks:
        yield hooks


@dataclass
class Heard:
    """What a test's subscribers were told. Without a hash, as most dataclasses."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


# Registration


async def test_on_returns_the_function_as_it_is(hooks: Hooks) -> None:
    def function(event: Event) -> None: ...

    assert hooks.on("room:join")(function) is function
    assert hooks.once("room:leave")(print) is print


async def test_a_subscriber_is_told_of_the_event(hooks: Hooks) -> None:
    heard = Heard()
    hooks.add_subscriber("room:join", heard)
    receipt = await hooks.emit("room:join", ROOM, {"clientId": "ada"})
    await hooks.join()
    (event,) = heard.events
    assert (event.name, event.data, event.id) == ("room:join", ROOM, receipt.event_id)
    assert event.session.client_id == "ada"
    assert event.data is ROOM


async def test_patterns_stand_for_their_events(hooks: Hooks) -> None:
    rooms, everything, several = Heard(), Heard(), Heard()
    hooks.add_subscriber("room:*", rooms)
    hooks.add_subscriber("*", everything)
    hooks.on("room:join", "presence:*", "room:join")(several)
    emit: Any = hooks.emit
    for name in EVENTS:
        await emit(name)
    await hooks.join()
    assert rooms.names == [name for name in EVENTS if name.startswith("room:")]
    assert everything.names == list(EVENTS)
    assert several.names == ["presence:join", "presence:leave", "presence:update", "room:join"]


async def test_a_custom_event_is_declared_first() -> None:
    heard = Heard()
    hooks = Hooks[Literal["order:paid", "room:member:add"]](
        custom_events=["order:paid", "room:member:add"]
    )
    hooks.add_subscriber("order:paid", heard)
    hooks.add_subscriber("room:*", heard)
    async with hooks:
        await hooks.emit("order:paid", {"total": "12.30"})
        await hooks.emit("room:member:add")
        await hooks.join()
    assert heard.names == ["order:paid", "room:member:add"]


async def test_unknown_names_are_refused_everywhere_with_a_suggestion(hooks: Hooks) -> None:
    untyped: Any = hooks
    webhook = Webhook("http://127.0.0.1/", ["room:jion"], KEY)
    for attempt in (
        lambda: untyped.on("room:jion"),
        lambda: untyped.once("room:jion"),
        lambda: untyped.add_subscriber("room:jion", print),
        lambda: untyped.emit_nowait("room:jion"),
        lambda: untyped.add_webhook(webhook),
        lambda: Hooks([webhook]),
    ):
        with pytest.raises(UnknownEventError, match="did you mean 'room:join'"):
            attempt()
    with pytest.raises(UnknownEventError, match="did you mean 'room:join'"):
        await untyped.emit("room:jion")
    assert hooks.webhooks == ()


async def test_a_refused_registration_leaves_nothing_behind(hooks: Hooks) -> None:
    untyped: Any = hooks
    with pytest.raises(UnknownEventError):
        untyped.on("room:join", "room:jion")(print)
    assert await hooks.emit("room:join", ROOM) == Receipt("", 0, 0)


async def test_on_without_a_name_says_how_to_use_it(hooks: Hooks) -> None:
    untyped: Any = hooks
    with pytest.raises(ConfigError, match=r'@hooks\.on\("room:join"\)'):
        untyped.on(print)
    with pytest.raises(ConfigError, match="name an event"):
        untyped.on()


async def test_stacked_decorators_keep_one_lane_and_its_order(hooks: Hooks) -> None:
    """Events of different names reach the function in the order they were emitted."""
    told = []

    @hooks.on("room:join")
    @hooks.on("room:leave")
    async def handler(event: Event) -> None:
        if event.name == "room:join":
            await asyncio.sleep(0)
        told.append(event.name)

    for _ in range(3):
        await hooks.emit("room:join", ROOM)
        await hooks.emit("room:leave", ROOM)
    await hooks.join()
    assert told == ["room:join", "room:leave"] * 3
    assert [name.rpartition(".")[2] for name in hooks.stats().targets] == ["handler"]
    hooks.off(handler)
    assert (await hooks.emit("room:join", ROOM)).accepted == 0
    assert (await hooks.emit("room:leave", ROOM)).accepted == 0


async def test_a_function_registered_twice_for_an_event_is_told_once(hooks: Hooks) -> None:
    heard = Heard()
    hooks.add_subscriber("room:join", heard)
    hooks.add_subscriber("room:*", heard)
    receipt = await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert receipt.accepted == len(heard.events) == 1


@pytest.mark.parametrize(
    "options", [{"in_thread": True}, {"name": "other"}, {"queue_size": 5}, {"overflow": "raise"}]
)
async def test_the_same_function_with_other_options_is_refused(hooks: Hooks, options: Any) -> None:
    heard = Heard()
    hooks.add_subscriber("room:join", heard)
    with pytest.raises(ConfigError, match=r"already registered with other options; off\(\) it"):
        hooks.add_subscriber("room:leave", heard, **options)
    with pytest.raises(ConfigError, match="already registered"):
        hooks.once("room:leave")(heard)
    hooks.off(heard)
    hooks.add_subscriber("room:leave", heard, **options)


async def test_off_ends_the_telling_but_not_what_was_handed_over(hooks: Hooks) -> None:
    heard = Heard()
    hooks.add_subscriber("room:*", heard)
    await hooks.emit("room:join", ROOM)
    hooks.off(heard)
    assert await hooks.emit("room:join", ROOM) == Receipt("", 0, 0)
    await hooks.join()
    assert heard.names == ["room:join"]
    with pytest.raises(UnknownTargetError, match=r"off\(\) takes a function"):
        hooks.off(heard)


async def test_off_for_some_events_keeps_the_others(hooks: Hooks) -> None:
    heard = Heard()
    hooks.add_subscriber("room:*", heard)
    hooks.off(heard, "room:join", "room:join", "presence:*")
    await hooks.emit("room:join", ROOM)
    await hooks.emit("room:leave", ROOM)
    await hooks.join()
    assert heard.names == ["room:leave"]


async def test_off_of_a_bound_method_needs_no_reference_kept(hooks: Hooks) -> None:
    """Each access to a method makes a new object; equal ones are the same subscriber."""
    told: list[Event] = []
    hooks.add_subscriber("room:join", told.append)
    hooks.off(told.append)
    assert (await hooks.emit("room:join", ROOM)).accepted == 0


async def test_objects_that_cannot_be_hashed_are_told_apart(hooks: Hooks) -> None:
    first, second = Heard(), Heard()
    assert first == second
    hooks.add_subscriber("room:join", first)
    hooks.add_subscriber("room:join", second)
    hooks.off(first)
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert (len(first.events), len(second.events)) == (0, 1)


async def test_once_is_told_of_the_first_event_only(hooks: Hooks) -> None:
    heard = Heard()
    hooks.once("room:join", "room:leave")(heard)
    await hooks.emit("room:leave", ROOM)
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert heard.names == ["room:leave"]
    assert hooks.stats().targets == {}
    assert hooks.stats().delivered == 1
    with pytest.raises(UnknownTargetError):
        hooks.off(heard)


async def test_once_may_register_itself_again(hooks: Hooks) -> None:
    told = []

    async def handler(event: Event) -> None:
        told.append(event.data)
        if len(told) < 3:
            hooks.once("room:join")(handler)
            hooks.emit_nowait("room:join", {"roomId": str(len(told))})

    hooks.once("room:join")(handler)
    await hooks.emit("room:join", {"roomId": "0"})
    await hooks.join()
    assert [data["roomId"] for data in told] == ["0", "1", "2"]


async def test_registration_after_closing_is_refused() -> None:
    async with Hooks() as hooks:
        pass
    with pytest.raises(HooksClosedError):
        hooks.add_subscriber("room:join", print)
    with pytest.raises(HooksClosedError):
        hooks.add_webhook(Webhook("http://127.0.0.1/", ["*"], KEY))


async def test_hooks_may_be_decorated_before_any_loop_runs() -> None:
    """As modules do at import; threads' limiters included."""
    made: list[Hooks] = []
    told = []

    def at_import() -> None:
        hooks: Hooks = Hooks()
        hooks.on("room:join", in_thread=True)(lambda event: told.append(event.name))
        made.append(hooks)

    thread = threading.Thread(target=at_import)
    thread.start()
    thread.join()
    async with made[0] as hooks:
        await hooks.emit("room:join", ROOM)
        await hooks.join()
    assert told == ["room:join"]


# Webhooks


def webhook(receiver: FaultReceiver, name: str, **options: Any) -> Webhook:
    defaults = {"url": receiver.url_for(f"/{name}"), "events": ["room:*"], "signing_key": KEY}
    return Webhook(**{**defaults, "id": name, "name": name, **options})


async def test_webhooks_come_and_go_from_the_next_emit_on(
    hooks: Hooks, receiver: FaultReceiver
) -> None:
    async def told() -> list[str]:
        before = len(receiver.requests)
        await hooks.emit("room:join", ROOM)
        await hooks.join()
        return sorted(request.path for request in receiver.requests[before:])

    one, two = webhook(receiver, "one"), webhook(receiver, "two", enabled=False)
    hooks.add_webhook(one)
    hooks.add_webhook(two)
    assert hooks.webhooks == (one, two)
    assert await told() == ["/one"]
    hooks.enable_webhook("two")
    assert [webhook.enabled for webhook in hooks.webhooks] == [True, True]
    assert await told() == ["/one", "/two"]
    hooks.disable_webhook("one")
    hooks.disable_webhook("one")
    assert [webhook.enabled for webhook in hooks.webhooks] == [False, True]
    assert await told() == ["/two"]
    assert hooks.remove_webhook("two").id == "two"
    assert await told() == []
    hooks.enable_webhook("one")
    hooks.enable_webhook("one")
    assert await told() == ["/one"]
    assert [webhook.id for webhook in hooks.webhooks] == ["one"]


async def test_an_id_is_registered_once_and_free_again_when_removed(
    hooks: Hooks, receiver: FaultReceiver
) -> None:
    hooks.add_webhook(webhook(receiver, "one"))
    with pytest.raises(ConfigError, match="already registered"):
        hooks.add_webhook(webhook(receiver, "one", url=receiver.url_for("/other")))
    hooks.remove_webhook("one")
    hooks.add_webhook(webhook(receiver, "one", url=receiver.url_for("/other")))
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert [request.path for request in receiver.requests] == ["/other"]


@pytest.mark.parametrize("method", ["remove_webhook", "enable_webhook", "disable_webhook"])
async def test_an_unknown_webhook_is_an_error(hooks: Hooks, method: str) -> None:
    with pytest.raises(UnknownTargetError, match=r"'none' is not registered: hooks\.webhooks"):
        getattr(hooks, method)("none")


async def test_a_webhook_of_an_application_gets_only_its_events(
    hooks: Hooks, receiver: FaultReceiver
) -> None:
    for name, app_pid in (("all", None), ("one", "app1"), ("two", "app2")):
        hooks.add_webhook(webhook(receiver, name, app_pid=app_pid))
    targets = {}
    for app_pid in ("app1", "app3", None):
        before = len(receiver.requests)
        receipt = await hooks.emit("room:join", ROOM, {"appPid": app_pid})
        await hooks.join()
        targets[app_pid] = sorted(request.path for request in receiver.requests[before:])
        assert receipt.accepted == len(targets[app_pid])
    assert targets == {"app1": ["/all", "/one"], "app3": ["/all"], None: ["/all"]}
    hooks.remove_webhook("all")
    assert await hooks.emit("room:join", ROOM, {"appPid": "app3"}) == Receipt("", 0, 0)


async def test_what_is_no_webhook_is_refused_without_showing_it(hooks: Hooks) -> None:
    untyped: Any = hooks
    with pytest.raises(ConfigError, match="give a Webhook"):
        untyped.add_webhook({"url": "http://127.0.0.1/"})


async def test_thousands_of_idle_webhooks_hold_no_task() -> None:
    tasks = asyncio.all_tasks()
    hooks: Hooks = Hooks()
    async with hooks:
        for number in range(20_000):
            hooks.add_webhook(Webhook("http://127.0.0.1/", ["room:join"], KEY, id=f"w{number}"))
        assert asyncio.all_tasks() == tasks
        for number in range(20_000):
            hooks.remove_webhook(f"w{number}")
        assert hooks.webhooks == ()
        assert (await hooks.emit("room:join", ROOM)).accepted == 0
