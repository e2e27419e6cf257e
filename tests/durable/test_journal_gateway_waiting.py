"""Emits that wait for room in the journal: first come, first served."""

from __future__ import annotations

import asyncio
from typing import Any

from support import KEY, soon

from relaybox_hooks import Attempt, Hooks, Observer, Webhook
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
