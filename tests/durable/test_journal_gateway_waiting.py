"""Emits that wait for room in the journal: first come, first served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import KEY, soon

from relaybox_hooks import Attempt, Hooks, Observer, Receipt, Webhook
from relaybox_hooks.testing import Answer, FaultReceiver, Hold
from relaybox_hooks.testing.memory_journal import MemoryJournal

#: Deliveries that are in flight at first, and room for as many.
ROOM = 2


class Latecomer(Observer):
    """Emits once more in the moment in which all the room is free again."""

    def __init__(self) -> None:
        self.left = ROOM
        self.emits: list[asyncio.Task[Any]] = []
        self.hooks: Hooks[Any]

    def delivered(self, attempt: Attempt) -> None:
        self.left -= 1
        if self.left == 0:
            self.emits.append(asyncio.ensure_future(self.hooks.emit("count:up", "late")))


async def test_an_emit_does_not_overtake_those_that_wait_for_room() -> None:
    """Not even while the line moves on, when the next in it has not taken its turn yet."""
    latecomer = Latecomer()
    async with FaultReceiver(Hold(Answer(204))) as receiver:
        hooks: Hooks[Any] = Hooks(
            [Webhook(receiver.url, ["*"], KEY, order_by="none")],
            custom_events=["count:up"],
            observers=[latecomer],
            journal=MemoryJournal(max_pending=ROOM),
        )
        latecomer.hooks = hooks
        async with hooks:
            for number in range(ROOM):
                await hooks.emit("count:up", number)
            await receiver.wait_for(ROOM)
            waiting = [
                asyncio.ensure_future(hooks.emit("count:up", number))
                for number in range(ROOM, 2 * ROOM)
            ]
            await asyncio.sleep(0)
            receiver.release()
            await soon(receiver.wait_for(2 * ROOM))
            log = await hooks.deliveries()
            assert [each.event.data for each in reversed(log)] == [0, 1, 2, 3]
            receiver.release()
            await soon(asyncio.gather(*waiting, *latecomer.emits))
            receiver.release()
            await soon(receiver.wait_for(2 * ROOM + 1))
            receiver.release()


async def full_and_waiting(hooks: Hooks[Any], receiver: FaultReceiver) -> asyncio.Task[Receipt]:
    """One delivery in flight, which is all the room there is, and an emit that waits for more."""
    await hooks.emit("count:up", 1)
    await receiver.wait_for(1)
    waiting = asyncio.ensure_future(hooks.emit("count:up", 2))
    await asyncio.sleep(0)
    assert not waiting.done()
    return waiting


@pytest.mark.parametrize("how", ["disable_webhook", "remove_webhook"])
async def test_what_waited_while_its_webhook_went_is_given_up(how: str) -> None:
    """No sweep of the lane gets there: it is appended later than the lane was closed."""
    async with FaultReceiver(Hold(Answer(204))) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w")
        journal = MemoryJournal(max_pending=1)
        async with Hooks([webhook], custom_events=["count:up"], journal=journal) as hooks:
            waiting = await full_and_waiting(hooks, receiver)
            getattr(hooks, how)("w")
            receiver.release()
            assert (await soon(waiting)).accepted == 1
            await soon(hooks.join())
            assert [letter.event.data for letter in await hooks.dead_letters()] == [2]
            assert journal.backlog().pending == 0


async def test_what_waited_goes_to_its_webhook_registered_again() -> None:
    async with FaultReceiver(Hold(Answer(204))) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w")
        journal = MemoryJournal(max_pending=1)
        async with Hooks([webhook], custom_events=["count:up"], journal=journal) as hooks:
            waiting = await full_and_waiting(hooks, receiver)
            hooks.remove_webhook("w")
            hooks.add_webhook(webhook)
            receiver.release()
            assert (await soon(waiting)).accepted == 1
            await soon(receiver.wait_for(2))
            receiver.release()
            await soon(hooks.join())
            assert await hooks.dead_letters() == []
            assert (hooks.stats().delivered, journal.backlog().pending) == (2, 0)
