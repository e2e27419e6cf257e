"""Budgets in bytes: what is pending and what is dead is bounded in bytes as well as in events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from support import KEY, ONCE, soon, turns

from relaybox_hooks import Hooks, LaneFullError, Webhook
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.testing import Answer, FaultReceiver, MemoryJournal
from relaybox_hooks.validation import Overflow

#: Characters of an event's data, and a budget that three of them fit in, and the fourth exceeds.
SIZE: Final = 30_000
BUDGET: Final = 100_000


async def emit(hooks: Hooks, size: int = SIZE) -> str:
    receipt = await hooks.emit("user:status:update", {"status": "x" * size})
    return receipt.event_id


def webhook_to(receiver: FaultReceiver, **options: Any) -> Webhook:
    return Webhook(receiver.url, ["*"], KEY, id="w", retry=ONCE, concurrency=1, **options)


# Pending


async def test_beyond_the_budget_an_event_can_be_refused() -> None:
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, overflow="raise", max_pending_bytes=BUDGET)
        async with Hooks([webhook], close_timeout=0, logging=False) as hooks:
            for _ in range(4):
                await emit(hooks)
            text = r"1000 events.*max_pending_bytes: 12"
            with pytest.raises(LaneFullError, match=text) as caught:
                await emit(hooks, 10)
            assert caught.value.limit == 1000
            await soon(receiver.wait_for(1))
            receiver.release()
            await soon(hooks.join())
            await emit(hooks)
            await soon(hooks.join())
            assert hooks.stats()[:2] == (5, 5)


async def test_beyond_the_budget_an_event_can_wait() -> None:
    async with FaultReceiver() as receiver:
        receiver.hold()
        async with Hooks([webhook_to(receiver)], max_pending_bytes=BUDGET) as hooks:
            for _ in range(4):
                await emit(hooks)
            waiting = asyncio.ensure_future(emit(hooks))
            await soon(receiver.wait_for(1))
            await turns()
            assert not waiting.done()
            receiver.release()
            await soon(waiting)
            await soon(hooks.join())
            assert hooks.stats().delivered == 5


@pytest.mark.parametrize(("overflow", "kept"), [("drop_newest", 4), ("drop_oldest", 2)])
async def test_beyond_the_budget_events_can_be_dropped(overflow: Overflow, kept: int) -> None:
    """As many of the oldest as a large one needs."""
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, overflow=overflow)
        async with Hooks([webhook], max_pending_bytes=BUDGET, logging=False) as hooks:
            first = await emit(hooks, 50_000)
            await soon(receiver.wait_for(1))  # in flight is not dropped
            small = [await emit(hooks, 1_000) for _ in range(2)]
            large = await emit(hooks, 60_000)
            last = await emit(hooks)
            dead = {letter.event_id for letter in await hooks.dead_letters(reason="overflow")}
            receiver.release()
            await soon(hooks.join())
            assert hooks.stats().delivered == kept
        if overflow == "drop_newest":
            assert dead == {last}
        else:
            assert dead == {*small, large}
        assert first in {request.event_id for request in receiver.requests}


async def test_with_a_journal_it_is_the_journal_that_is_bounded() -> None:
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, overflow="raise", max_pending_bytes=BUDGET)
        async with Hooks([webhook], journal=MemoryJournal()) as hooks:
            for _ in range(8):
                await emit(hooks)
            receiver.release()
            await soon(hooks.join())
            assert hooks.stats().delivered == 8


async def test_with_a_journal_what_is_in_memory_is_bounded(tmp_path: Path) -> None:
    """The rest is read as there is room, also after a restart."""

    def in_memory(hooks: Hooks) -> int:
        (lane,) = parts_of(hooks).registry.lanes()
        assert isinstance(lane, WebhookLane)
        return sum(len(delivery.envelope.prefix) for delivery in lane.queue)

    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, order_by="none", max_pending_bytes=BUDGET)
        journal = SQLiteJournal(tmp_path / "hooks.db")
        async with Hooks([webhook], journal=journal, close_timeout=0, logging=False) as hooks:
            sent = [await emit(hooks) for _ in range(40)]
            assert BUDGET < in_memory(hooks) < BUDGET + 2 * SIZE
        journal = SQLiteJournal(tmp_path / "hooks.db")
        async with Hooks([webhook], journal=journal) as hooks:
            await soon(receiver.wait_for(2))
            most = in_memory(hooks)
            receiver.release()
            while hooks.stats().pending:
                most = max(most, in_memory(hooks))
                await asyncio.sleep(0)
            assert BUDGET < most < BUDGET + 2 * SIZE
            assert hooks.stats().delivered == 40
        assert [request.event_id for request in receiver.requests[1:]] == sent


# Dead letters


async def test_dead_letters_are_kept_up_to_their_bytes_the_newest_first() -> None:
    async with FaultReceiver(Answer(400)) as receiver:
        webhook = webhook_to(receiver)
        async with Hooks([webhook], dead_letter_bytes=BUDGET, logging=False) as hooks:
            events = [await emit(hooks) for _ in range(50)]
            await soon(hooks.join())
            kept = [letter.event_id for letter in await hooks.dead_letters()]
            assert kept == events[-3:]
            assert hooks.stats().failed == 50
            largest = await emit(hooks, 2 * BUDGET)
            await soon(hooks.join())
            assert [letter.event_id for letter in await hooks.dead_letters()] == [largest]


async def test_a_replay_gives_the_bytes_of_dead_letters_back() -> None:
    answers = [Answer(400)] * 3 + [Answer()] * 3 + [Answer(400)] * 3
    async with FaultReceiver(answers) as receiver:
        webhook = webhook_to(receiver)
        async with Hooks([webhook], dead_letter_bytes=BUDGET, logging=False) as hooks:
            for _ in range(3):
                await emit(hooks)
            await soon(hooks.join())
            report = await soon(hooks.replay(rate=1000))
            assert report.delivered == 3
            for _ in range(3):
                await emit(hooks)
            await soon(hooks.join())
            assert len(await hooks.dead_letters()) == 3
