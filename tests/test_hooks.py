"""Hooks as a whole: their state, their end, and the event loops they run in."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest
from support import KEY

from relaybox_hooks import CloseReport, ConfigError, Event, Hooks, Webhook
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import FaultReceiver


async def forever(event: Event) -> None:
    await asyncio.Event().wait()


async def test_hooks_know_their_state() -> None:
    hooks: Hooks = Hooks([Webhook("http://127.0.0.1/", ["*"], KEY)])
    assert repr(hooks) == "<Hooks new: 1 webhooks, 0 subscribers, 0 pending>"
    async with hooks:
        assert repr(hooks).startswith("<Hooks open:")
    assert repr(hooks).startswith("<Hooks closed:")


def test_a_session_that_is_none_of_aiohttps_is_an_error_by_name() -> None:
    with pytest.raises(ConfigError) as caught:
        Hooks(http_session="session")  # type: ignore[arg-type]
    assert str(caught.value).startswith("http_session='session': ")


async def test_closing_drains_first() -> None:
    async with FaultReceiver() as receiver:
        hooks: Hooks = Hooks([Webhook(receiver.url, ["*"], KEY)])
        hooks.on("*")(lambda event: asyncio.sleep(0))
        await hooks.start()
        for _ in range(5):
            await hooks.emit("room:join", {"roomId": "r"})
        report = await hooks.aclose()
        assert report == CloseReport(10, 0, 0, {}, "drained")
        assert len(receiver.accepted) == 5


async def test_emits_that_wait_for_room_end_when_closing_begins() -> None:
    hooks: Hooks = Hooks(queue_size=1)
    hooks.on("room:join", name="endless")(forever)
    await hooks.start()
    await hooks.emit("room:join", {"roomId": "r"})
    waiting = asyncio.create_task(hooks.emit("room:join", {"roomId": "r"}))
    await asyncio.sleep(0)
    await hooks.aclose(0)
    receipt = await waiting
    assert (receipt.accepted, receipt.dropped) == (0, 1)
    stats = hooks.stats()
    assert (stats.accepted, stats.failed, stats.pending) == (2, 2, 0)


async def test_hooks_that_nobody_closed_warn() -> None:
    hooks: Hooks = Hooks()
    await hooks.start()
    await parts_of(hooks).runtime.session.close()
    with pytest.warns(ResourceWarning, match=r"unclosed <Hooks open.*async with hooks"):  # noqa: PT031
        del hooks
        gc.collect()


def test_each_loop_has_hooks_of_its_own() -> None:
    """Nothing global remembers the first loop."""
    told: list[Event] = []

    async def main() -> None:
        async with FaultReceiver() as receiver, Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
            hooks.on("*", in_thread=True)(told.append)
            await hooks.emit("room:join", {"roomId": "r"})
            await hooks.join()
            assert len(receiver.accepted) == 1

    asyncio.run(main())
    asyncio.run(main())
    assert len(told) == 2


async def test_the_loop_need_not_be_uvloop() -> None:
    assert "uvloop" not in type(asyncio.get_running_loop()).__module__
    async with Hooks() as hooks:
        assert parts_of(hooks).runtime.loop is asyncio.get_running_loop()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.eager_task_factory is new in 3.12")
async def test_an_eager_task_factory_runs_no_handler_inside_emit() -> None:
    """A handler that emits would overtake its own event in the lanes further on."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    told: list[str] = []
    async with FaultReceiver() as receiver, Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
        hooks.on("room:join")(lambda event: hooks.emit_nowait("room:leave", {"roomId": "r"}))
        hooks.once("*")(lambda event: told.append(f"once {event.name}"))
        hooks.on("*")(lambda event: told.append(event.name))
        await hooks.emit("room:join", {"roomId": "r"})
        assert told == []
        await hooks.join()
        assert told == ["once room:join", "room:join", "room:leave"]
        assert [request.json()["event"] for request in receiver.requests] == told[1:]
        assert not parts_of(hooks).accounting.removed or not any(
            lane.workers for lane in parts_of(hooks).accounting.removed
        )
