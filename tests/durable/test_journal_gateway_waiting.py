"""Emits that wait for room in the journal: first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support import KEY, soon, turns

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


class Slow(MemoryJournal):
    """It has stored nothing until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def append_nowait(self, *arguments: Any, **options: Any) -> asyncio.Future[Sequence[int]]:
        done = super().append_nowait(*arguments, **options)
        future: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()

        async def answer() -> None:
            await self.go_on.wait()
            future.set_result(done.result())

        self._tasks.append(asyncio.ensure_future(answer()))
        return future


async def test_a_full_subscriber_does_not_hold_an_emit_that_was_being_stored_at_closing() -> None:
    journal, blocked = Slow(), asyncio.Event()
    journal.go_on.set()
    async with FaultReceiver() as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w")
        async with Hooks([webhook], journal=journal, logging=False, close_timeout=0) as hooks:

            async def subscriber(event: object) -> None:
                await blocked.wait()

            hooks.add_subscriber("*", subscriber, queue_size=1)
            await hooks.emit("room:join", {"roomId": "r"})
            journal.go_on.clear()
            emit = asyncio.ensure_future(hooks.emit("room:join", {"roomId": "r"}))
            await turns()
            closing = asyncio.ensure_future(hooks.aclose())
            await asyncio.sleep(0)
            journal.go_on.set()
            await soon(closing)
            assert (await soon(emit)).dropped == 1
            assert hooks.stats().targets["w"].accepted == 2


async def test_counts_of_targets_removed_while_an_event_is_stored_are_kept() -> None:
    journal = Slow()
    async with FaultReceiver() as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w")
        async with Hooks([webhook], journal=journal, logging=False) as hooks:

            def subscriber(event: object) -> None: ...

            hooks.add_subscriber("*", subscriber)
            emit = asyncio.ensure_future(hooks.emit("room:join", {"roomId": "r"}))
            await turns()
            hooks.off(subscriber)
            hooks.remove_webhook("w")
            assert hooks.stats().accepted == 0
            journal.go_on.set()
            assert (await soon(emit)).accepted == 2
            await soon(hooks.join())
            assert hooks.stats()[:3] == (2, 1, 1)


@pytest.mark.parametrize("journaled", [False, True])
async def test_a_function_taken_off_while_its_only_event_is_on_its_way_stays_off(
    journaled: bool,
) -> None:
    journal = Slow() if journaled else None
    hooks: Hooks[Any]

    class TakesOff(Observer):
        def emitting(self, event_id: str, name: str) -> None:
            hooks.off(subscriber)

    def subscriber(event: object) -> None: ...

    async with FaultReceiver() as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w")
        hooks = Hooks([webhook], journal=journal, observers=[TakesOff()], logging=False)
        async with hooks:
            hooks.once("room:join")(subscriber)
            if journal is not None:
                journal.go_on.set()
            await soon(hooks.emit("room:join", {"roomId": "r"}))
            await soon(hooks.join())
            assert hooks.stats().targets["w"].delivered == 1
