"""The same promises on uvloop: its transports, timers and tasks are others than asyncio's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support import KEY, soon

from relaybox_hooks import Event, Hooks, RetryPolicy, Timeouts, Webhook
from relaybox_hooks.events import UserStatusData
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import (
    Answer,
    AnswerUnread,
    CloseOnReuse,
    EndlessInterim,
    Fault,
    FaultReceiver,
    Hang,
    NeverRead,
    ResetAfterRead,
    SurplusResponses,
)

if sys.platform == "win32":
    pytest.skip("uvloop is not made for Windows", allow_module_level=True)
import uvloop

PROMPT = RetryPolicy(initial=0.001, jitter=0)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it to its end, and see that it leaves no task behind."""

    async def watched() -> None:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        await scenario()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watched())


def test_events_reach_webhooks_and_subscribers_in_order() -> None:
    async def scenario() -> None:
        told: list[Any] = []
        async with FaultReceiver() as receiver:
            async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:

                @hooks.on("user:status:update")
                async def subscriber(event: Event[Any]) -> None:
                    await asyncio.sleep(0)
                    told.append(event.data["status"])

                for number in range(100):
                    data: UserStatusData = {"status": str(number)}
                    await hooks.emit("user:status:update", data, {"connectionId": "c1"})
                await hooks.join()
            sent = [request.json()["data"]["status"] for request in receiver.requests]
            assert told == sent == [str(number) for number in range(100)]

    run(scenario)


@pytest.mark.parametrize("size", [10, 60_000, 300_000])
def test_bodies_of_any_length_arrive_whole_on_one_connection(size: int) -> None:
    async def scenario() -> None:
        async with FaultReceiver(Answer(200, body=b"x" * 60_000)) as receiver:
            async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
                for _ in range(3):
                    await hooks.emit("user:status:update", {"status": "x" * size})
                    await hooks.join()
            assert {len(each.json()["data"]["status"]) for each in receiver.requests} == {size}
            assert (len(receiver.requests), receiver.connections) == (3, 1)

    run(scenario)


def test_what_fails_is_tried_again() -> None:
    async def scenario() -> None:
        script = [Answer(503), ResetAfterRead(), Hang(), Answer(200)]
        async with FaultReceiver({"/": script}) as receiver:
            webhook = Webhook(receiver.url, ["*"], KEY, retry=PROMPT, timeouts=Timeouts(total=0.2))
            async with Hooks([webhook]) as hooks:
                await hooks.emit("room:join", {"roomId": "r"})
                await hooks.join()
                assert (hooks.stats().delivered, hooks.stats().retried) == (1, 3)
            assert len(receiver.requests) == 4

    run(scenario)


def test_closing_cuts_off_what_hangs() -> None:
    async def scenario() -> None:
        async with FaultReceiver(Hang()) as receiver:
            hooks: Hooks = Hooks([Webhook(receiver.url, ["*"], KEY)])
            await hooks.start()
            await hooks.emit("room:join", {"roomId": "r"})
            await receiver.wait_for(1)
            report = await hooks.aclose(0)
            assert (report.left, report.ending) == (1, "timed out")
            assert [letter.reason for letter in await hooks.dead_letters()] == ["shutdown"]

    run(scenario)


@pytest.mark.parametrize(
    ("fault", "delivered"),
    [
        (NeverRead(), 0),
        (AnswerUnread(limit=None, interval=0.001), 0),
        (EndlessInterim(), 0),
        (SurplusResponses(), 3),
        (CloseOnReuse(), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hostile_endpoints_hold_nothing_past_the_close(fault: Fault, delivered: int) -> None:
    async def scenario() -> None:
        size = 1_000 if delivered else 16_000_000
        async with FaultReceiver(fault, receive_buffer=4096) as receiver:
            webhook = Webhook(receiver.url, ["*"], KEY, concurrency=1)
            async with Hooks([webhook], max_body=2**25, close_timeout=0.2) as hooks:
                for _ in range(3):
                    await hooks.emit("user:status:update", {"status": "x" * size})
                if delivered:
                    await soon(hooks.join())
                else:
                    await soon(receiver.wait_until(lambda: receiver.connections > 0))
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
            assert hooks.stats().delivered == delivered
            budget = parts_of(hooks).runtime.budget
            assert budget is not None
            assert budget.used == 0

    run(scenario)
