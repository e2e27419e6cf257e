"""Emitting with a journal: what is stored first, what a full one does, what an error costs."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from support import ROOM, Mood, assert_consistent, dispatcher, emit, soon, webhook_to

from relaybox_hooks import (
    Event,
    HooksClosedError,
    JournalWaitError,
    LaneFullError,
    Observer,
    Receipt,
    Session,
)
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.journal import JournalFullError, SQLiteJournal
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, VirtualClock
from relaybox_hooks.testing.memory_journal import MemoryJournal
from relaybox_hooks.validation import Overflow


async def test_emit_returns_once_the_event_is_stored(tmp_path: Path) -> None:
    """And before it is delivered; the subscribers come after the journal, too."""
    heard: list[str] = []
    async with FaultReceiver(Hang()) as receiver:
        journal = SQLiteJournal(tmp_path / "hooks.db")
        async with dispatcher(webhook_to(receiver), journal=journal) as hooks:
            hooks.on("*")(lambda event: heard.append(event.id))
            emission = asyncio.ensure_future(emit(hooks))
            await asyncio.sleep(0)
            assert not emission.done()
            assert hooks.stats().accepted == 0
            event_id = await emission
            assert hooks.stats().accepted == 2
            (entry,) = await hooks.deliveries()
            assert (entry.event_id, entry.status, entry.attempts) == (event_id, "pending", 0)


async def test_a_full_lane_neither_waits_nor_drops() -> None:
    async with FaultReceiver(Hang()) as receiver:
        webhook = webhook_to(receiver, queue_size=2, overflow="raise")
        async with dispatcher(webhook, journal=MemoryJournal()) as hooks:
            for _ in range(50):
                await emit(hooks)
            assert hooks.stats()[:6] == (50, 0, 0, 0, 0, 50)


async def test_what_an_emit_refuses_is_not_stored() -> None:
    """A local lane that is full and may not wait: neither target has the event."""

    async def stuck(event: Event) -> None:
        await asyncio.get_running_loop().create_future()

    async with (
        FaultReceiver(Hang()) as receiver,
        dispatcher(webhook_to(receiver), journal=MemoryJournal()) as hooks,
    ):
        hooks.on("*", queue_size=1, overflow="raise")(stuck)
        await emit(hooks)
        with pytest.raises(LaneFullError):
            await emit(hooks)
        assert len(await hooks.deliveries()) == 1


async def test_a_full_local_lane_is_waited_for_after_the_journal_has_the_event() -> None:
    gate = asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()

    async with (
        FaultReceiver(Answer()) as receiver,
        dispatcher(webhook_to(receiver), journal=MemoryJournal()) as hooks,
    ):
        hooks.on("*", queue_size=1)(slow)
        await emit(hooks)
        waiting = asyncio.ensure_future(hooks.emit("room:join", {"roomId": "r"}))
        await receiver.wait_for(2)
        assert not waiting.done()
        gate.set()
        assert (await soon(waiting))[1:] == (2, 0)


async def test_emit_nowait_says_that_it_would_have_to_wait() -> None:
    async with FaultReceiver(Answer()) as receiver:
        webhook = webhook_to(receiver, events=["room:join"])
        async with dispatcher(webhook, journal=MemoryJournal()) as hooks:
            hooks.on("room:leave")(print)
            with pytest.raises(JournalWaitError, match="await emit"):
                hooks.emit_nowait("room:join", {"roomId": "r"})
            receipt = hooks.emit_nowait("room:leave", {"roomId": "r"})
            assert receipt.accepted == 1, "no webhook wants it, so that nothing is stored"


async def test_no_webhook_of_the_application_means_nothing_is_stored() -> None:
    async with FaultReceiver(Answer()) as receiver:
        webhook = webhook_to(receiver, app_pid="mine")
        async with dispatcher(webhook, journal=MemoryJournal()) as hooks:
            assert (await hooks.emit("room:join", {"roomId": "r"}))[1:] == (0, 0)
            session = {"appPid": "mine", "connectionId": "c"}
            assert (await hooks.emit("room:join", {"roomId": "r"}, session))[1:] == (1, 0)


async def test_a_cancelled_emit_is_delivered_to_all_or_to_none(tmp_path: Path) -> None:
    """What was on its way to the journal is stored, and handed on to every target."""
    heard: list[str] = []
    async with FaultReceiver(Answer()) as receiver:
        journal = SQLiteJournal(tmp_path / "hooks.db")
        async with dispatcher(webhook_to(receiver), journal=journal) as hooks:
            hooks.on("*")(lambda event: heard.append(event.id))
            emission = asyncio.ensure_future(emit(hooks))
            await asyncio.sleep(0)
            emission.cancel()
            with pytest.raises(asyncio.CancelledError):
                await emission
            await receiver.wait_for(1)
            await soon(hooks.join())
            assert heard == [receiver.requests[0].event_id]
            assert hooks.stats()[:2] == (2, 2)


async def test_webhooks_taken_off_while_their_event_is_stored_still_account_for_it(
    tmp_path: Path,
) -> None:
    async with FaultReceiver(Answer()) as receiver:
        journal = SQLiteJournal(tmp_path / "hooks.db")
        webhooks = webhook_to(receiver, "/off"), webhook_to(receiver, "/gone")
        async with dispatcher(*webhooks, journal=journal) as hooks:
            emission = asyncio.ensure_future(emit(hooks))
            await asyncio.sleep(0)
            hooks.disable_webhook("off")
            hooks.remove_webhook("gone")
            await emission
            await soon(hooks.join())
            assert receiver.requests == []
            reasons = {letter.webhook_id: letter.reason for letter in await hooks.dead_letters()}
            assert reasons == {"off": "disabled", "gone": "removed"}
            assert_consistent(hooks.stats())


async def test_a_lane_of_the_same_id_leaves_what_was_removed_alone() -> None:
    """What waited for the webhook that was removed dies; what comes after is delivered."""
    async with FaultReceiver(Answer()) as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, queue_size=2, concurrency=1)
        async with dispatcher(webhook, journal=MemoryJournal()) as hooks:
            old = [await emit(hooks) for _ in range(9)]
            await receiver.wait_for(1)
            hooks.remove_webhook("root")
            hooks.add_webhook(webhook)
            new = await emit(hooks)
            await receiver.wait_for(2)
            receiver.release()
            await soon(hooks.join())
            assert [request.event_id for request in receiver.requests] == [old[0], new]
            dead = await hooks.dead_letters(reason="removed")
            assert [letter.event_id for letter in dead] == old[1:]
            assert hooks.stats()[:6] == (10, 2, 8, 0, 0, 0)


async def test_enabled_again_only_what_came_later_is_sent() -> None:
    """The journal is still being worked through when the webhook is enabled again."""
    async with FaultReceiver(Answer()) as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, queue_size=2, concurrency=1)
        async with dispatcher(webhook, journal=MemoryJournal()) as hooks:
            old = [await emit(hooks) for _ in range(9)]
            await receiver.wait_for(1)
            hooks.disable_webhook("root")
            hooks.enable_webhook("root")
            new = await emit(hooks)
            receiver.release()
            await soon(hooks.join())
            assert [request.event_id for request in receiver.requests] == [old[0], new]
            dead = await hooks.dead_letters(reason="disabled")
            assert sorted(letter.event_id for letter in dead) == old[1:]


# A full journal


def full(overflow: Overflow) -> MemoryJournal:
    return MemoryJournal(max_pending=4, overflow=overflow)


async def test_a_full_journal_makes_emit_wait_in_order() -> None:
    async with FaultReceiver(Answer()) as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, order_by="none", concurrency=1)
        async with dispatcher(webhook, journal=full("wait")) as hooks:
            ids = [await emit(hooks) for _ in range(4)]
            waiting = [asyncio.ensure_future(emit(hooks)) for _ in range(3)]
            await receiver.wait_for(1)
            assert not any(each.done() for each in waiting)
            receiver.release()
            ids += [await soon(each) for each in waiting]
            await soon(hooks.join())
            assert [request.event_id for request in receiver.requests] == ids
            assert hooks.stats()[:6] == (7, 7, 0, 0, 0, 0)


async def test_waiting_for_the_journal_ends_with_emit_timeout() -> None:
    """The event is dropped: counted, and a dead letter. Local functions have it all the same."""
    clock = VirtualClock()
    heard: list[str] = []
    async with FaultReceiver(Hang()) as receiver:
        options: dict[str, Any] = {"emit_timeout": 3, "timeouts": None, "clock": clock}
        async with dispatcher(webhook_to(receiver), journal=full("wait"), **options) as hooks:
            for _ in range(4):
                await emit(hooks)
            hooks.on("*")(lambda event: heard.append(event.id))
            late = asyncio.ensure_future(hooks.emit("room:join", {"roomId": "r"}))
            await asyncio.sleep(0)
            await clock.advance(3)
            receipt = await soon(late)
            assert receipt[1:] == (1, 1)
            (letter,) = await hooks.dead_letters()
            assert (letter.event_id, letter.reason) == (receipt.event_id, "overflow")
            assert_consistent(hooks.stats())
            assert hooks.stats().dropped == 1
        assert heard == [receipt.event_id]


async def test_closing_ends_the_wait_for_the_journal_with_an_error() -> None:
    """The caller knows that nothing was stored."""
    async with (
        FaultReceiver(Hang()) as receiver,
        dispatcher(webhook_to(receiver), journal=full("wait")) as hooks,
    ):
        for _ in range(4):
            await emit(hooks)
        waiting = [asyncio.ensure_future(emit(hooks)) for _ in range(2)]
        await asyncio.sleep(0)
        report = await soon(hooks.aclose(timeout=0))
        assert report.left == 4
        for each in waiting:
            with pytest.raises(HooksClosedError):
                await each


async def test_a_full_journal_can_drop_the_newest() -> None:
    async with (
        FaultReceiver(Hang()) as receiver,
        dispatcher(webhook_to(receiver), journal=full("drop_newest")) as hooks,
    ):
        for _ in range(4):
            await emit(hooks)
        receipt = await hooks.emit("room:join", {"roomId": "r"})
        assert receipt[1:] == (0, 1)
        assert [x.event_id for x in await hooks.dead_letters()] == [receipt.event_id]
        assert hooks.stats()[:6] == (5, 0, 0, 0, 1, 4)


async def test_a_full_journal_can_drop_the_oldest_of_whoever_fills_it() -> None:
    """A dead endpoint costs its own events, and not those of its neighbours."""
    async with FaultReceiver({"/dead": Hang(), "/": Hang()}) as receiver:
        webhooks = (
            webhook_to(receiver, "/dead", events=["room:join", "room:leave"], concurrency=1),
            webhook_to(receiver, events=["room:leave"], concurrency=1),
        )
        async with dispatcher(*webhooks, journal=full("drop_oldest")) as hooks:
            ids = [await emit(hooks) for _ in range(3)]
            await receiver.wait_for(1)
            receipt = await soon(hooks.emit("room:leave", {"roomId": "r"}))
            assert receipt[1:] == (2, 0)
            dead = await hooks.dead_letters()
            assert [(letter.webhook_id, letter.event_id) for letter in dead] == [("dead", ids[1])]
            assert hooks.stats().targets["root"].dropped == 0
            assert_consistent(hooks.stats())


async def test_a_full_journal_can_raise() -> None:
    async with (
        FaultReceiver(Hang()) as receiver,
        dispatcher(webhook_to(receiver), journal=full("raise")) as hooks,
    ):
        for _ in range(4):
            await emit(hooks)
        with pytest.raises(JournalFullError, match="4 deliveries are pending"):
            await emit(hooks)
        assert hooks.stats()[:6] == (4, 0, 0, 0, 0, 4)


async def test_no_lane_waits_for_an_event_that_was_refused() -> None:
    """A removed webhook's counts would stay apart, and its lane in memory, for good."""
    async with (
        FaultReceiver(Hang()) as receiver,
        dispatcher(webhook_to(receiver), journal=full("raise")) as hooks,
    ):
        await emit(hooks)
        webhooks = [webhook_to(receiver, f"/{number}") for number in range(3)]
        for webhook in webhooks:
            hooks.add_webhook(webhook)
        with pytest.raises(JournalFullError):
            await emit(hooks)
        for webhook in webhooks:
            hooks.remove_webhook(webhook.id)
        hooks.stats()
        assert not parts_of(hooks).accounting.removed


async def test_many_emits_that_wait_at_once_leave_nothing_to_the_garbage_collector(
    tmp_path: Path,
) -> None:
    """What each of them needs is there until its emit goes on, which then makes the next one's.

    Did it go when the transaction is reported, hundreds at a time, then each transaction would
    make the collector run once or twice, over all that waits.
    """
    collections: list[int] = []
    session = Session(client_id="c", connection_id="s")
    journal = SQLiteJournal(tmp_path / "hooks.db", durability="process")
    async with (
        FaultReceiver(Hang()) as receiver,
        dispatcher(webhook_to(receiver), journal=journal) as hooks,
    ):

        async def emitter(events: int) -> None:
            for _ in range(events):
                await hooks.emit("room:join", ROOM, session)

        for events in (5, 40):  # the first time, what stays is made too
            before = gc.get_stats()[0]["collections"]
            await asyncio.gather(*(emitter(events) for _ in range(256)))
            collections.append(gc.get_stats()[0]["collections"] - before)
    assert collections[-1] < 40 / 2


async def test_an_event_for_more_webhooks_than_the_journal_holds_is_refused_at_once() -> None:
    async with FaultReceiver(Mood(Answer())) as receiver:
        webhooks = [webhook_to(receiver, f"/{number}") for number in range(5)]
        async with dispatcher(*webhooks, journal=full("wait")) as hooks:
            with pytest.raises(JournalFullError):
                await emit(hooks)


async def test_observers_are_told_when_an_emit_begins_and_that_it_failed(tmp_path: Path) -> None:
    """Whatever they opened at its beginning they can close."""
    told: list[tuple[str, Any]] = []

    class Watcher(Observer):
        def emitting(self, event_id: str, name: str) -> None:
            told.append(("emitting", event_id))

        def emitted(self, name: str, receipt: Receipt) -> None:
            told.append(("emitted", receipt))

    async with FaultReceiver(Hang()) as receiver:
        webhook, journal = webhook_to(receiver), MemoryJournal(max_pending=1, overflow="raise")
        async with dispatcher(webhook, journal=journal, observers=[Watcher()]) as hooks:
            event_id = await emit(hooks)
            with pytest.raises(JournalFullError):
                await emit(hooks)
    (_, first), receipt, (_, second), failure = told
    assert first == event_id
    assert receipt == ("emitted", Receipt(event_id, 1, 0))
    assert failure == ("emitted", Receipt(second, 0, 0))
