"""What is refused before, by and without inline subscribers; and the twins of ``emit``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support import KEY, ROOM, soon, turns

from relaybox_hooks import (
    ConfigError,
    Event,
    Hooks,
    LaneFullError,
    PayloadError,
    Receipt,
    Session,
    SubscriberWaitError,
    Webhook,
)
from relaybox_hooks.testing import FaultReceiver, Hang

SESSION = Session(client_id="ada")

#: Adds targets beside the inline functions: none, so that one goes the short way, or a queue.
Beside = Callable[[Hooks], None]


def alone(hooks: Hooks) -> None: ...


def beside_a_queue(hooks: Hooks) -> None:
    hooks.add_subscriber("room:join", queued.append, name="queued")


queued: list[Event] = []


@pytest.fixture(autouse=True)
def nothing_queued() -> None:
    queued.clear()


both_ways = pytest.mark.parametrize("beside", [alone, beside_a_queue])


def counts(hooks: Hooks, name: str) -> tuple[int, ...]:
    """Accepted, delivered, failed, pending."""
    row = hooks.stats().targets[name]
    return row.accepted, row.delivered, row.failed, row.pending


async def emit_or_nowait(hooks: Hooks, nowait: bool) -> Receipt:
    return hooks.emit_nowait("room:join", ROOM) if nowait else await hooks.emit("room:join", ROOM)


# What is refused before


async def test_what_cannot_be_sent_is_refused_before_any_inline_function(
    receiver: FaultReceiver,
) -> None:
    async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
        untyped: Any = hooks
        heard: list[Event] = []
        hooks.on("*", inline=True)(heard.append)
        for emit in (untyped.emit, untyped.emit_nowait):
            with pytest.raises(PayloadError):
                await emit("room:join", {"roomId": 2**53})
            with pytest.raises(PayloadError):
                await emit("room:join", ROOM, {"clientId": 5})
        assert heard == []
        assert hooks.stats().accepted == 0


@pytest.mark.parametrize("filled", ["before", "meanwhile"])
@pytest.mark.parametrize("nowait", [False, True])
async def test_a_full_lane_refuses_the_event_as_ever(
    receiver: FaultReceiver, filled: str, nowait: bool, mood: Any
) -> None:
    """Before the inline functions if it is full by then, else after them."""
    mood.fault = Hang()
    webhook = Webhook(receiver.url, ["*"], KEY, id="w", queue_size=1, overflow="raise")
    async with Hooks([webhook], close_timeout=0, logging=False) as hooks:
        heard: list[Event] = []

        @hooks.on("room:join", inline=True, name="inline")
        def fill(event: Event) -> None:
            heard.append(event)
            hooks.emit_nowait("room:leave", ROOM)

        if filled == "before":
            await hooks.emit("room:leave", ROOM)
        with pytest.raises(LaneFullError, match="the lane of 'w' is full"):
            await emit_or_nowait(hooks, nowait)
        assert len(heard) == (filled == "meanwhile")
        assert counts(hooks, "w") == (1, 0, 0, 1)
        assert counts(hooks, "inline")[:2] == (len(heard), len(heard))


def test_options_of_a_queue_are_refused_however_it_is_registered() -> None:
    hooks: Hooks = Hooks()
    for register in (
        hooks.on("*", inline=True, queue_size=5),
        hooks.once("*", inline=True, queue_size=5),
    ):
        with pytest.raises(ConfigError, match=r"queue_size=5: inline=True has neither queue"):
            register(queued.append)
    with pytest.raises(ConfigError, match=r"concurrency=1: inline=True has neither queue"):
        hooks.add_subscriber("*", queued.append, inline=True, concurrency=1)
    assert hooks.stats().targets == {}


# Twins


@both_ways
async def test_emit_nowait_calls_sync_functions(beside: Beside) -> None:
    async with Hooks() as hooks:
        beside(hooks)
        heard: list[Event] = []
        hooks.on("room:join", name="inline", inline=True)(heard.append)
        receipt = hooks.emit_nowait("room:join", ROOM, SESSION)
        assert [event.id for event in heard] == [receipt.event_id]
        assert receipt.accepted == len(hooks.stats().targets)
        assert counts(hooks, "inline") == (1, 1, 0, 0)
        await hooks.join()
        assert queued == heard[: len(queued)]


async def test_emit_nowait_refuses_an_async_function_before_it_calls_any() -> None:
    async with Hooks() as hooks:
        beside_a_queue(hooks)
        heard: list[Event] = []
        hooks.on("room:join", inline=True)(heard.append)

        @hooks.on("room:join", inline=True, name="waits")
        async def waits(event: Event) -> None: ...

        with pytest.raises(SubscriberWaitError, match="inline subscriber 'waits'") as caught:
            hooks.emit_nowait("room:join", ROOM)
        assert caught.value.subscriber == "waits"
        assert heard == []
        assert hooks.stats().accepted == 0


async def test_emit_nowait_refuses_what_turns_out_to_be_async() -> None:
    async with Hooks() as hooks:
        beside_a_queue(hooks)

        async def waits(event: Event) -> None: ...

        def returns(event: Event) -> Coroutine[Any, Any, None]:
            return waits(event)

        hooks.on("room:join", inline=True, name="returns")(returns)
        with pytest.raises(SubscriberWaitError, match="inline subscriber 'returns'"):
            hooks.emit_nowait("room:join", ROOM)
        assert counts(hooks, "returns") == (1, 0, 1, 0)
        assert counts(hooks, "queued") == (0, 0, 0, 0)
        await soon(hooks.join())


@both_ways
async def test_a_thread_gets_the_error_too(beside: Beside) -> None:
    async with Hooks() as hooks:
        beside(hooks)

        @hooks.on("room:join", inline=True)
        async def failing(event: Event) -> None:
            await turns()
            raise KeyError("no")

        with pytest.raises(KeyError, match="no"):
            await asyncio.to_thread(hooks.emit_from_thread, "room:join", ROOM, SESSION)
        hooks.off(failing)
        hooks.add_subscriber("room:join", lambda event: turns(), inline=True)
        receipt = await asyncio.to_thread(hooks.emit_from_thread, "room:join", ROOM, SESSION)
        assert receipt.accepted >= 1
        await hooks.join()
