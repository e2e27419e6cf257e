"""The workers of subscribers between events: parked for a while, and gone after that."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest
from support import ROOM, dispatcher, soon, turns, until

from relaybox_hooks import Event, Hooks
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.lanes.parked_workers import INTERVAL
from relaybox_hooks.testing import record
from relaybox_hooks.testing.clock import VirtualClock
from relaybox_hooks.testing.memory_journal import MemoryJournal


class Payload:
    """Data that can be watched by a weak reference."""


def workers(hooks: Hooks[Any]) -> set[asyncio.Task[None]]:
    return {task for lane in parts_of(hooks).registry.lanes() for task in lane.workers}


async def test_events_one_at_a_time_are_handled_in_one_task(clock: VirtualClock) -> None:
    tasks: list[object] = []
    async with dispatcher(clock=clock) as hooks:
        hooks.on("room:join")(lambda event: tasks.append(asyncio.current_task()))
        for _ in range(5):
            await hooks.emit("room:join", ROOM)
            await soon(hooks.join())
            await turns()
            await clock.advance(INTERVAL * 0.9)
    assert len(tasks) == 5
    assert len(set(tasks)) == 1


async def test_the_worker_of_an_idle_subscriber_ends_after_a_while(clock: VirtualClock) -> None:
    async with dispatcher(clock=clock) as hooks:
        heard: list[Event] = []
        hooks.add_subscriber("room:join", heard.append)
        before = asyncio.all_tasks()
        await hooks.emit("room:join", ROOM)
        await soon(hooks.join())
        await turns()
        assert len(asyncio.all_tasks() - before) == 1
        await clock.advance(2 * INTERVAL)
        await turns()
        assert asyncio.all_tasks() == before
        assert workers(hooks) == set()
        await clock.advance(INTERVAL)
        assert clock.next_timer is None
        await hooks.emit("room:join", ROOM)
        await soon(hooks.join())
        assert len(heard) == 2


@pytest.mark.parametrize("once", [False, True])
async def test_a_function_that_was_taken_off_keeps_no_worker(
    once: bool, clock: VirtualClock
) -> None:
    async with dispatcher(clock=clock) as hooks:
        heard: list[Event] = []
        before = asyncio.all_tasks()
        if once:
            hooks.once("room:join")(heard.append)
        else:
            hooks.add_subscriber("room:join", heard.append)
        await hooks.emit("room:join", ROOM)
        await soon(hooks.join())
        if not once:
            hooks.off(heard.append)
            hooks.stats()
        await turns()
        assert len(heard) == 1
        assert asyncio.all_tasks() == before


async def test_thousands_of_idle_subscribers_hold_no_task(clock: VirtualClock) -> None:
    async with dispatcher(clock=clock) as hooks:
        before = asyncio.all_tasks()
        for number in range(2_000):
            hooks.on("room:join", name=f"{number}")(lambda event: None)
        await hooks.emit("room:join", ROOM)
        await soon(hooks.join())
        await turns()
        assert len(asyncio.all_tasks() - before) == 2_000
        await clock.advance(2 * INTERVAL)
        await until(lambda: asyncio.all_tasks() == before)


@pytest.mark.parametrize("journaled", [False, True])
async def test_closing_ends_parked_workers_at_once(journaled: bool, clock: VirtualClock) -> None:
    hooks: Hooks = Hooks(clock=clock, journal=MemoryJournal() if journaled else None)
    hooks.on("room:join", concurrency=3)(lambda event: asyncio.sleep(0))
    await hooks.start()
    for _ in range(5):
        await hooks.emit("room:join", ROOM)
    await soon(hooks.join())
    await turns()
    parked = workers(hooks)
    assert len(parked) == 3
    report = await soon(hooks.aclose())
    assert (report.left, report.ending) == (0, "drained")
    assert all(task.done() and not task.cancelled() for task in parked)
    assert clock.next_timer is None


async def test_an_event_that_is_handled_while_closing_leaves_no_worker(
    clock: VirtualClock,
) -> None:
    release = asyncio.Event()
    hooks: Hooks = Hooks(clock=clock)
    hooks.on("room:join")(lambda event: release.wait())
    await hooks.start()
    await hooks.emit("room:join", ROOM)
    await turns()
    closing = asyncio.create_task(hooks.aclose())
    await turns()
    release.set()
    assert (await soon(closing)).delivered == 1
    assert workers(hooks) == set()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_parked_worker_keeps_no_event_alive(fails: bool, clock: VirtualClock) -> None:
    async def handler(event: Event) -> None:
        if fails:
            raise ValueError("no")

    async with dispatcher(clock=clock, logging=False) as hooks:
        hooks.add_subscriber("room:publish", handler)
        untyped: Any = hooks
        data = Payload()
        kept = weakref.ref(data)
        await untyped.emit("room:publish", data)
        del data
        await soon(hooks.join())
        await turns()
        assert len(workers(hooks)) == 1
        gc.collect()
        assert kept() is None


async def test_a_parked_worker_that_is_cancelled_is_replaced(clock: VirtualClock) -> None:
    """By somebody who cancels every task there is; also where the event comes right after."""
    async with dispatcher(clock=clock) as hooks:
        heard: list[Event] = []
        hooks.add_subscriber("room:join", heard.append)
        for waits in (True, False):
            await hooks.emit("room:join", ROOM)
            await soon(hooks.join())
            await turns()
            (worker,) = workers(hooks)
            worker.cancel()
            if waits:
                await asyncio.wait([worker])
            await hooks.emit("room:join", ROOM)
            await soon(hooks.join())
            await turns()
            assert worker.cancelled()
            assert len(workers(hooks)) == 1
        assert len(heard) == 4


async def test_as_many_handlers_run_at_a_time_after_a_pause(clock: VirtualClock) -> None:
    running, most = 0, 0
    release = asyncio.Event()

    async def handler(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    async with dispatcher(clock=clock) as hooks:
        hooks.on("room:join", concurrency=3)(handler)
        for _ in range(3):
            release.clear()
            for _ in range(8):
                await hooks.emit("room:join", ROOM)
            await until(lambda: running == 3)
            await turns()
            release.set()
            await soon(hooks.join())
            await turns()
            assert len(workers(hooks)) == 3
    assert most == 3


async def test_order_holds_over_pauses(clock: VirtualClock) -> None:
    told: list[int] = []
    async with dispatcher(clock=clock) as hooks:

        @hooks.on("room:publish")
        async def handler(event: Event) -> None:
            await turns(event.data % 3)
            told.append(event.data)

        untyped: Any = hooks
        for number in range(30):
            await untyped.emit("room:publish", number)
            if number % 7 == 0:
                await soon(hooks.join())
                await turns(number)
        await soon(hooks.join())
    assert told == list(range(30))


async def test_context_variables_of_an_emit_do_not_reach_a_parked_worker(
    clock: VirtualClock,
) -> None:
    request: ContextVar[str] = ContextVar("request", default="none")
    seen: list[str] = []
    async with dispatcher(clock=clock) as hooks:
        hooks.on("room:join")(lambda event: seen.append(request.get()))
        for name in ("first", "second"):
            request.set(name)
            await hooks.emit("room:join", ROOM)
            await soon(hooks.join())
            await turns()
    assert seen == ["none", "none"]


async def test_a_recording_does_not_wait_for_parked_workers(clock: VirtualClock) -> None:
    """The timer that ends them never fires here."""
    release = asyncio.Event()
    async with dispatcher(clock=clock) as hooks:
        hooks.on("room:join", concurrency=2)(lambda event: release.wait())
        await hooks.emit("room:join", ROOM)
        async with asyncio.timeout(5), record(hooks):
            await hooks.emit("room:join", ROOM)
            asyncio.get_running_loop().call_later(0, release.set)
        assert hooks.stats().delivered == 2


def test_a_loop_that_is_shut_down_takes_parked_workers_with_it() -> None:
    """``asyncio.run`` cancels what there is; nothing hangs, and no task is destroyed pending."""
    hooks: Hooks = Hooks()
    hooks.on("room:join")(lambda event: None)

    async def main() -> None:
        await hooks.start()
        await hooks.emit("room:join", ROOM)
        await hooks.join()
        await turns()
        await parts_of(hooks).runtime.session.close()

    with suppress(asyncio.CancelledError):
        asyncio.run(main())
    assert workers(hooks) == set()
    parts_of(hooks).runtime.state = "closed"
