"""Joining and closing, from wherever and under whatever cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import anyio
import pytest
from support import KEY, until

from relaybox_hooks import CloseReport, Event, Hooks, Webhook
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import FaultReceiver, Hang

NOTHING = CloseReport(0, 0, 0, {}, "drained")

Cancelling: TypeAlias = Callable[[Callable[[], Coroutine[Any, Any, object]]], Any]


async def forever(event: Event) -> None:
    await asyncio.Event().wait()


async def busy(hooks: Hooks, name: str) -> None:
    """Wait until a target is handling an event."""
    await until(lambda: bool(hooks.stats().targets[name].in_flight))


@pytest.fixture
async def stuck() -> AsyncIterator[Hooks]:
    """Hooks with a webhook that never answers and a subscriber that never ends, both at it."""
    async with FaultReceiver(Hang()) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="hung")
        hooks: Hooks = Hooks([webhook], close_timeout=3600)
        hooks.on("*", name="endless")(forever)
        await hooks.start()
        await hooks.emit("room:join", {"roomId": "r"})
        await busy(hooks, "endless")
        await receiver.wait_for(1)
        yield hooks
        await hooks.aclose(0)


async def accounted_for(hooks: Hooks) -> None:
    stats = hooks.stats()
    assert (stats.accepted, stats.failed, stats.pending) == (2, 2, 0)
    (letter,) = await hooks.dead_letters()
    assert (letter.webhook_id, letter.reason) == ("hung", "shutdown")
    assert parts_of(hooks).runtime.session.closed
    assert repr(hooks) == "<Hooks closed: 1 webhooks, 1 subscribers, 0 pending>"


# Joining


async def test_join_waits_for_subscribers_and_webhooks() -> None:
    async with FaultReceiver() as receiver:
        receiver.hold()
        release = asyncio.Event()
        async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
            hooks.on("room:join")(lambda event: release.wait())
            await hooks.join()
            await hooks.emit("room:join", {"roomId": "r"})
            joins = [asyncio.create_task(hooks.join()) for _ in range(2)]
            await receiver.wait_for(1)
            receiver.release()
            await until(lambda: hooks.stats().pending == 1)
            assert not any(join.done() for join in joins)
            release.set()
            await asyncio.gather(*joins)
            assert hooks.stats().pending == 0


async def test_join_waits_for_events_that_handlers_emit() -> None:
    async with Hooks() as hooks:
        told: list[Event] = []
        hooks.on("room:leave")(told.append)
        hooks.on("room:join")(lambda event: hooks.emit("room:leave", {"roomId": "r"}))
        await hooks.emit("room:join", {"roomId": "r"})
        await hooks.join()
        assert len(told) == 1


async def test_a_join_that_is_cancelled_disturbs_nobody(stuck: Hooks) -> None:
    join = asyncio.create_task(stuck.join())
    await asyncio.sleep(0)
    join.cancel()
    await asyncio.wait([join])
    assert join.cancelled()
    await stuck.aclose(0)
    await accounted_for(stuck)


# Closing


async def test_closing_reports_what_was_left_at_the_deadline(
    stuck: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    report = await stuck.aclose(timeout=0)
    assert report == CloseReport(0, 0, 2, {"hung": 1, "endless": 1}, "timed out")
    await accounted_for(stuck)
    assert "closed with 2 events left" in caplog.text


async def test_closing_what_never_began() -> None:
    hooks: Hooks = Hooks()
    assert await hooks.aclose() == NOTHING
    assert await hooks.aclose() == NOTHING


async def test_closing_again_gives_the_same_report(stuck: Hooks) -> None:
    first = await stuck.aclose(0)
    assert await stuck.aclose() is first
    assert first.left == 2


async def test_closing_from_several_tasks_gives_them_the_same_report(stuck: Hooks) -> None:
    reports = await asyncio.gather(*(stuck.aclose(0) for _ in range(3)))
    assert len({id(report) for report in reports}) == 1
    await accounted_for(stuck)


async def test_a_second_closer_that_is_cancelled_leaves_the_first_alone(stuck: Hooks) -> None:
    first = asyncio.create_task(stuck.aclose())
    await asyncio.sleep(0)
    second = asyncio.create_task(stuck.aclose())
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    assert not first.done()
    first.cancel()
    await asyncio.wait([first])
    await accounted_for(stuck)


async def by_native_cancel(close: Callable[[], Coroutine[Any, Any, object]]) -> None:
    task = asyncio.create_task(close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_asyncio_timeout(close: Callable[[], Coroutine[Any, Any, object]]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await close()


async def by_anyio_scope(close: Callable[[], Coroutine[Any, Any, object]]) -> None:
    with anyio.move_on_after(0) as scope:
        await close()
    assert scope.cancelled_caught


async def by_task_group(close: Callable[[], Coroutine[Any, Any, object]]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(close)
        await asyncio.sleep(0)
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    "cancelling", [by_native_cancel, by_asyncio_timeout, by_anyio_scope, by_task_group]
)
async def test_closing_under_cancellation_still_accounts_for_everything(
    stuck: Hooks, cancelling: Cancelling
) -> None:
    """The drain ends at once, and nothing is left behind when the canceller goes on."""
    await cancelling(stuck.aclose)
    await accounted_for(stuck)
    report = await stuck.aclose()
    assert (report.left, report.ending) == (2, "cancelled")


def test_a_loop_that_is_shut_down_while_closing_still_accounts_for_everything() -> None:
    """``asyncio.run`` cancels every task there is when its main function returns."""
    hooks: Hooks = Hooks(close_timeout=3600)
    hooks.on("*", name="endless")(forever)
    closers = []

    async def main() -> None:
        await hooks.start()
        await hooks.emit("room:join", {"roomId": "r"})
        await busy(hooks, "endless")
        closers.append(asyncio.create_task(hooks.aclose()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert closers[0].cancelled()
    assert parts_of(hooks).runtime.session.closed
    assert hooks.stats().targets["endless"].failed == 1
    assert hooks.stats().pending == 0
