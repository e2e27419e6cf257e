"""Closing and joining while inline functions are under way."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any

import pytest
from support import KEY, ROOM, soon, turns

from relaybox_hooks import (
    Event,
    Hooks,
    HooksClosedError,
    Observer,
    RelayboxHooksError,
    Session,
    Webhook,
)
from relaybox_hooks.dispatch.inline_calls import is_awaited_by
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import FaultReceiver, Hang
from relaybox_hooks.testing.memory_journal import MemoryJournal

SESSION = Session(client_id="ada")

journaled = pytest.mark.parametrize("journaled", [False, True])
observed = pytest.mark.parametrize("observers", [(), (Observer(),)])


def counts(hooks: Hooks, name: str) -> tuple[int, ...]:
    """Accepted, delivered, failed, pending."""
    row = hooks.stats().targets[name]
    return row.accepted, row.delivered, row.failed, row.pending


@journaled
async def test_closing_waits_for_a_sole_inline_function(journaled: bool) -> None:
    release = asyncio.Event()
    hooks: Hooks = Hooks(journal=MemoryJournal() if journaled else None)
    hooks.on("room:join", inline=True, name="inline")(lambda event: release.wait())
    await hooks.start()
    emitting = asyncio.ensure_future(hooks.emit("room:join", ROOM, SESSION))
    await turns()
    closing = asyncio.create_task(hooks.aclose())
    await turns(100)
    assert not closing.done()
    release.set()
    report = await soon(closing)
    assert (report.delivered, report.left, report.ending) == (1, 0, "drained")
    assert (await emitting).accepted == 1


@journaled
async def test_closing_waits_until_the_event_was_handed_out_and_delivered(
    receiver: FaultReceiver, journaled: bool
) -> None:
    release, queued = asyncio.Event(), list[Event]()
    journal = MemoryJournal() if journaled else None
    hooks: Hooks = Hooks([Webhook(receiver.url, ["*"], KEY, id="w")], journal=journal)
    hooks.on("room:join", inline=True, name="inline")(lambda event: release.wait())
    hooks.add_subscriber("room:join", queued.append)
    await hooks.start()
    emitting = asyncio.ensure_future(hooks.emit("room:join", ROOM))
    await turns()
    closing = asyncio.create_task(hooks.aclose())
    await turns(100)
    assert not closing.done()
    release.set()
    report = await soon(closing)
    assert (await emitting).accepted == 3
    assert len(queued) == 1
    assert hooks.stats()[:4] == (3, 3, 0, 0)
    assert (report.left, report.ending) == (0, "drained")
    assert len(receiver.requests) == 1


async def test_an_inline_function_under_way_can_emit_nothing_more() -> None:
    release, states = asyncio.Event(), []
    hooks: Hooks = Hooks()

    @hooks.on("room:join", inline=True)
    async def nested(event: Event) -> None:
        await release.wait()
        try:
            await hooks.emit("room:join", ROOM)
        except HooksClosedError as error:
            states.append(error.state)

    await hooks.start()
    emitting = asyncio.ensure_future(hooks.emit("room:join", ROOM, SESSION))
    await turns()
    closing = asyncio.create_task(hooks.aclose())
    await turns()
    release.set()
    assert (await soon(closing)).delivered == 1
    await emitting
    assert states == ["closing"]


async def test_a_full_journal_keeps_no_emit_waiting_beyond_closing(
    receiver: FaultReceiver, mood: Any
) -> None:
    """It began before closing did, and finds the journal full after that."""
    mood.fault = Hang()
    journal = MemoryJournal(max_pending=1, overflow="wait")
    release = asyncio.Event()
    hooks: Hooks = Hooks([Webhook(receiver.url, ["*"], KEY, id="w")], journal=journal)
    hooks.on("room:join", inline=True)(lambda event: release.wait())
    await hooks.start()
    await hooks.emit("room:leave", ROOM)
    emitting = asyncio.ensure_future(hooks.emit("room:join", ROOM))
    await turns()
    closing = asyncio.create_task(hooks.aclose(0.05))
    await turns()
    release.set()
    await soon(closing)
    with pytest.raises(HooksClosedError):
        await soon(emitting)
    assert hooks.stats().targets["w"].accepted == 1


# Joining and closing from inside


@observed
@pytest.mark.parametrize("method", ["aclose", "join"])
async def test_an_inline_function_cannot_wait_for_itself(
    method: str, observers: tuple[Observer, ...]
) -> None:
    errors = []
    async with Hooks(observers=observers) as hooks:

        @hooks.on("room:join", inline=True)
        async def handler(event: Event) -> None:
            try:
                await getattr(hooks, method)()
            except RelayboxHooksError as error:
                errors.append(str(error))

        await soon(hooks.emit("room:join", ROOM, SESSION))
        await soon(hooks.emit("room:join", ROOM, {"clientId": "ada"}))
    assert errors == 2 * [
        (
            f"{method}() inside an inline subscriber would wait for that subscriber; "
            "call it from a task of its own, or from outside"
        )
    ]


async def test_an_inline_function_may_have_a_task_of_its_own_close() -> None:
    hooks: Hooks = Hooks()
    tasks = []

    @hooks.on("room:destroy", inline=True)
    async def handler(event: Event) -> None:
        tasks.append(asyncio.create_task(hooks.aclose()))
        await turns()

    await hooks.start()
    await hooks.emit("room:destroy", ROOM, SESSION)
    assert (await soon(tasks[0])).ending == "drained"


async def test_an_inline_function_may_close_other_hooks() -> None:
    async with Hooks() as outer:
        inner: Hooks = Hooks()
        await inner.start()
        outer.on("room:join", inline=True)(lambda event: inner.aclose())
        await outer.emit("room:join", ROOM, SESSION)
        assert parts_of(inner).runtime.session.closed


class Waited:
    async def wait(self, awaitable: Any) -> Any:
        return await awaitable


async def test_a_task_is_inside_the_methods_that_it_awaits() -> None:
    waited, other = Waited(), Waited()
    code = Waited.wait.__code__

    async def inside() -> tuple[bool, bool]:
        await asyncio.sleep(0)
        return is_awaited_by(code, waited), is_awaited_by(code, other)

    assert await inside() == (False, False)
    assert await waited.wait(inside()) == (True, False)
    assert await waited.wait(other.wait(inside())) == (True, True)
    assert await waited.wait(asyncio.create_task(inside())) == (False, False)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no task begins before the loop's turn")
async def test_an_eager_task_is_not_inside_what_has_started_it() -> None:
    waited = Waited()
    code = Waited.wait.__code__

    async def eager() -> bool:
        return is_awaited_by(code, waited)

    async def start() -> bool:
        factory = inspect.getattr_static(asyncio, "eager_task_factory")
        loop = asyncio.get_running_loop()
        return bool(await factory(loop, eager()))

    assert await waited.wait(start()) is False


# Out of time


@journaled
@pytest.mark.parametrize("followed", [False, True])
async def test_what_outlasts_closing_goes_no_further(
    receiver: FaultReceiver, journaled: bool, followed: bool
) -> None:
    """Neither to the next inline function nor to any other target; and the caller is told."""
    release, ended, queued = asyncio.Event(), list[Event](), list[Event]()
    journal = MemoryJournal() if journaled else None
    hooks: Hooks = Hooks([Webhook(receiver.url, ["*"], KEY, id="w")], journal=journal)
    hooks.add_subscriber("room:join", queued.append)
    hooks.on("room:join", inline=True, name="hung")(lambda event: release.wait())
    if followed:
        hooks.on("room:join", inline=True, name="next")(ended.append)
    await hooks.start()
    emitting = asyncio.ensure_future(hooks.emit("room:join", ROOM))
    await turns()
    report = await soon(hooks.aclose(0))
    assert (report.left, report.targets, report.ending) == (1, {"hung": 1}, "timed out")
    release.set()
    with pytest.raises(HooksClosedError) as caught:
        await emitting
    assert caught.value.state == "closed"
    assert ended == queued == []
    assert hooks.stats()[:6] == (1, 0, 1, 0, 0, 0)
    assert parts_of(hooks).runtime.outstanding == 0
    assert receiver.requests == []


async def test_a_sole_inline_function_that_outlasts_closing_is_counted_once() -> None:
    release = asyncio.Event()
    hooks: Hooks = Hooks()
    hooks.on("room:join", inline=True, name="hung")(lambda event: release.wait())
    await hooks.start()
    emitting = asyncio.ensure_future(hooks.emit("room:join", ROOM, SESSION))
    await turns()
    assert (await soon(hooks.aclose(0))).left == 1
    release.set()
    assert (await emitting).accepted == 1
    assert counts(hooks, "hung") == (1, 0, 1, 0)
    assert parts_of(hooks).runtime.outstanding == 0
