"""Subscribers of every kind, how they are run, and what their failures cost."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial

import pytest
from support import ROOM, until

from relaybox_hooks import Event, Hooks, RelayboxHooksError
from relaybox_hooks.dispatch import shutdown as closing
from relaybox_hooks.hooks import parts_of


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with Hooks() as hooks:
        yield hooks


# Kinds of functions


class Service:
    def __init__(self) -> None:
        self.told: list[str] = []

    def method(self, event: Event) -> None:
        self.told.append("method")

    async def async_method(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.told.append("async method")

    async def __call__(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.told.append("object")

    def with_argument(self, argument: str, event: Event) -> None:
        self.told.append(argument)

    async def async_with_argument(self, argument: str, event: Event) -> None:
        await asyncio.sleep(0)
        self.told.append(argument)


async def test_every_kind_of_function_is_run(hooks: Hooks) -> None:
    service = Service()
    for function in (
        service.method,
        service.async_method,
        service,
        partial(service.with_argument, "partial"),
        partial(service.async_with_argument, "async partial"),
        lambda event: service.async_with_argument("awaitable", event),
    ):
        hooks.add_subscriber("room:join", function)
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert sorted(service.told) == [
        "async method",
        "async partial",
        "awaitable",
        "method",
        "object",
        "partial",
    ]


async def test_in_thread_runs_elsewhere(hooks: Hooks) -> None:
    threads = []
    hooks.on("room:join", in_thread=True)(lambda event: threads.append(threading.get_ident()))
    hooks.on("room:join")(lambda event: threads.append(threading.get_ident()))
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert len(set(threads)) == 2
    assert threading.get_ident() in threads


async def test_a_thread_that_blocks_stalls_neither_the_loop_nor_others(hooks: Hooks) -> None:
    release = threading.Event()
    hooks.on("room:join", in_thread=True)(lambda event: release.wait())
    heard: list[Event] = []
    hooks.add_subscriber("room:join", heard.append)
    for _ in range(100):
        await hooks.emit("room:join", ROOM)
    await until(lambda: len(heard) == 100)
    assert hooks.stats().pending == 100
    release.set()
    await hooks.join()


async def test_what_a_threads_function_returns_is_awaited_if_it_can_be(hooks: Hooks) -> None:
    """A lambda around an async function is not seen to be async before it has been called."""
    service = Service()
    hooks.on("room:join", in_thread=True)(service.method)
    hooks.on("room:join", in_thread=True)(
        lambda event: service.async_with_argument("awaited", event)
    )
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert sorted(service.told) == ["awaited", "method"]


# Failures


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("broken"), asyncio.CancelledError(), StopIteration(), BaseException()]
)
async def test_a_failing_subscriber_is_logged_counted_and_harms_nobody(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, error: BaseException, in_thread: bool
) -> None:
    def failing(event: Event) -> None:
        raise error

    heard: list[Event] = []
    hooks.on("room:join", name="failing", in_thread=in_thread)(failing)
    hooks.add_subscriber("room:join", heard.append)
    receipts = [await hooks.emit("room:join", ROOM) for _ in range(3)]
    await hooks.join()
    assert len(heard) == 3
    assert hooks.stats().targets["failing"].failed == 3
    assert hooks.stats().targets["failing"].delivered == 0
    lines = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in lines] == [
        f"room:join {receipt.event_id}: subscriber failing failed" for receipt in receipts
    ]
    assert all(record.exc_info for record in lines)


async def test_a_handler_that_raises_cancelled_error_keeps_its_lane_running(
    hooks: Hooks,
) -> None:
    """Awaiting a cancelled task raises it, although nobody cancelled the handler."""
    told: list[str] = []

    @hooks.on("room:join", name="awaiting")
    async def handler(event: Event) -> None:
        if not told:
            told.append("cancelled")
            task = asyncio.ensure_future(asyncio.Event().wait())
            asyncio.get_running_loop().call_soon(task.cancel)
            await task
        told.append("handled")

    await hooks.emit("room:join", ROOM)
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert told == ["cancelled", "handled"]
    assert hooks.stats().targets["awaiting"][2:5] == (2, 1, 1)


# Concurrency and fairness


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_as_many_events_are_handled_at_a_time_as_was_asked_for(
    hooks: Hooks, concurrency: int
) -> None:
    running, most = 0, 0
    release = asyncio.Event()

    @hooks.on("room:join", concurrency=concurrency, name="slow")
    async def handler(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    for _ in range(10):
        await hooks.emit("room:join", ROOM)
    await until(lambda: running == concurrency)
    assert hooks.stats().targets["slow"].in_flight == concurrency
    release.set()
    await hooks.join()
    assert most == concurrency


async def test_a_long_burst_does_not_starve_the_loop(hooks: Hooks) -> None:
    """Sync handlers never wait; the worker itself lets others run between them."""
    heard: list[Event] = []
    hooks.add_subscriber("room:join", heard.append)
    for _ in range(1000):
        hooks.emit_nowait("room:join", ROOM)
    turns = 0
    while len(heard) < 1000:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


async def test_emit_runs_no_handler_itself(hooks: Hooks) -> None:
    heard: list[Event] = []
    hooks.add_subscriber("room:join", heard.append)
    await hooks.emit("room:join", ROOM)
    assert heard == []
    await hooks.join()
    assert len(heard) == 1


async def test_context_variables_of_an_emit_do_not_reach_handlers(hooks: Hooks) -> None:
    request: ContextVar[str] = ContextVar("request", default="none")
    seen = []
    hooks.on("room:join")(lambda event: seen.append(request.get()))
    request.set("of the emit")
    await hooks.emit("room:join", ROOM)
    await hooks.join()
    assert seen == ["none"]


# Closing from inside, and in spite of, a subscriber


@pytest.mark.parametrize("method", ["aclose", "join"])
async def test_a_subscriber_cannot_wait_for_itself(method: str) -> None:
    async with Hooks() as hooks:
        errors = []

        @hooks.on("room:join", name="handler")
        async def handler(event: Event) -> None:
            try:
                await getattr(hooks, method)()
            except RelayboxHooksError as error:
                errors.append(str(error))

        await hooks.emit("room:join", ROOM)
        await hooks.join()
    assert errors == [
        (
            f"{method}() inside subscriber 'handler' would wait for that subscriber; "
            "call it from a task of its own, or from outside"
        )
    ]


async def test_a_subscriber_may_have_a_task_of_its_own_close() -> None:
    """As the error advises; the task inherits the subscriber's context."""
    hooks: Hooks = Hooks()
    tasks = []

    @hooks.on("room:destroy")
    async def handler(event: Event) -> None:
        tasks.append(asyncio.create_task(hooks.aclose()))
        await asyncio.sleep(0)

    await hooks.start()
    await hooks.emit("room:destroy", ROOM)
    await hooks.join()
    assert (await tasks[0]).ending == "drained"


async def test_a_subscriber_may_close_other_hooks() -> None:
    async with Hooks() as outer:
        inner: Hooks = Hooks()
        await inner.start()
        outer.on("room:join")(lambda event: inner.aclose())
        await outer.emit("room:join", ROOM)
        await outer.join()
        assert outer.stats().delivered == 1
        assert parts_of(inner).runtime.session.closed


async def test_a_handler_that_swallows_its_cancellation_is_given_no_further_event() -> None:
    began, told = asyncio.Event(), []

    async def stubborn(event: Event) -> None:
        told.append(event)
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    hooks: Hooks = Hooks()
    hooks.on("room:join", name="stubborn")(stubborn)
    await hooks.start()
    for _ in range(3):
        await hooks.emit("room:join", ROOM)
    await began.wait()
    report = await hooks.aclose(0)
    assert len(told) == 1
    assert (report.left, hooks.stats()[:6]) == (2, (3, 1, 2, 0, 0, 0))


async def test_a_handler_left_behind_changes_no_count_when_it_ends_at_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was given up on at closing; that it was handled after all comes too late."""
    monkeypatch.setattr(closing, "_GRACE", 0)
    began, release = asyncio.Event(), asyncio.Event()

    async def stubborn(event: Event) -> None:
        began.set()
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    hooks: Hooks = Hooks()
    hooks.on("room:join", name="stubborn")(stubborn)
    await hooks.start()
    await hooks.emit("room:join", ROOM)
    await began.wait()
    (worker,) = next(iter(parts_of(hooks).registry.lanes())).workers
    report = await hooks.aclose(0)
    assert "swallows its cancellation and is left behind" in caplog.text
    release.set()
    await worker
    assert (report.left, hooks.stats()[:6]) == (1, (1, 0, 1, 0, 0, 0))


async def test_a_worker_that_never_begins_is_replaced() -> None:
    """Somebody cancels every task there is, before the worker's first step."""
    told: list[str] = []

    async def handler(event: Event) -> None:
        told.append(event.id)

    async with Hooks() as hooks:
        hooks.on("room:join")(handler)
        receipts = [await hooks.emit("room:join", ROOM)]
        (worker,) = next(iter(parts_of(hooks).registry.lanes())).workers
        worker.cancel()
        await asyncio.wait([worker])
        assert not told
        receipts.append(await hooks.emit("room:join", ROOM))
        await hooks.join()
    assert told == [receipt.event_id for receipt in receipts]


def test_an_exit_in_a_handler_ends_the_loop_and_costs_no_other_event() -> None:
    """``SystemExit`` goes where it is meant to go; whoever runs on can still drain."""
    hooks: Hooks = Hooks()
    told: list[Event] = []

    @hooks.on("room:join")
    def handler(event: Event) -> None:
        told.append(event)
        if len(told) == 1:
            raise SystemExit(3)

    async def main() -> None:
        await hooks.start()
        for _ in range(3):
            await hooks.emit("room:join", ROOM)
        await hooks.join()

    with asyncio.Runner() as runner:
        with pytest.raises(SystemExit, match="3"):
            runner.run(main())
        report = runner.run(hooks.aclose())
    assert len(told) == 3
    assert (report.left, report.ending) == (0, "drained")
    assert hooks.stats()[:6] == (3, 2, 1, 0, 0, 0)
