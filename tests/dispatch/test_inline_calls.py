"""Inline subscribers: ``emit`` awaits them before anything is stored or handed out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support import KEY, ROOM, assert_consistent, soon, turns

from relaybox_hooks import (
    Event,
    Hooks,
    Observer,
    Receipt,
    Session,
    SubscriberTimeoutError,
    Webhook,
)
from relaybox_hooks.testing import FaultReceiver, record
from relaybox_hooks.testing.memory_journal import MemoryJournal

SESSION = Session(client_id="ada")

#: Adds targets beside the inline functions: none, so that one goes the short way, or a queue.
Beside = Callable[[Hooks], None]


def alone(hooks: Hooks) -> None: ...


def beside_a_queue(hooks: Hooks) -> None:
    hooks.add_subscriber("room:join", queued.append, name="queued")


queued: list[Event] = []


@pytest.fixture(autouse=True)
def nothing_queued() -> None:
    queued.clear()


both_ways = pytest.mark.parametrize("beside", [alone, beside_a_queue])


def counts(hooks: Hooks, name: str) -> tuple[int, ...]:
    """Accepted, delivered, failed, pending."""
    row = hooks.stats().targets[name]
    return row.accepted, row.delivered, row.failed, row.pending


# Order


async def test_inline_functions_run_in_order_of_registration(receiver: FaultReceiver) -> None:
    """However long one takes, and before any other target has the event."""
    told: list[str] = []
    async with Hooks([Webhook(receiver.url, ["*"], KEY, id="w")]) as hooks:
        hooks.add_subscriber("*", lambda event: told.append("queued"), name="queued")

        @hooks.on("room:join", inline=True)
        async def first(event: Event) -> None:
            await turns()
            told.append("first")

        @hooks.on("room:*", inline=True)
        def second(event: Event) -> None:
            told.append("second")

        hooks.add_subscriber("*", lambda event: told.append("third"), inline=True)

        @hooks.once("room:join", inline=True)
        async def last(event: Event) -> None:
            await turns()
            told.append("last")
            assert hooks.stats().targets["w"].accepted == 0
            assert hooks.stats().targets["queued"].accepted == 0

        receipt = await hooks.emit("room:join", ROOM)
        assert told == ["first", "second", "third", "last"]
        assert (receipt.accepted, receipt.dropped) == (6, 0)
        await hooks.join()
        assert receiver.requests[0].json()["id"] == receipt.event_id
        assert told == ["first", "second", "third", "last", "queued"]
        assert_consistent(hooks.stats())


async def test_inline_functions_run_before_the_commit(receiver: FaultReceiver) -> None:
    journal = MemoryJournal()
    async with Hooks([Webhook(receiver.url, ["*"], KEY)], journal=journal) as hooks:
        stored: list[int] = []

        @hooks.on("room:join", inline=True)
        async def look(event: Event) -> None:
            await turns()
            stored.append(journal.backlog().last_seq)

        await hooks.emit("room:join", ROOM)
        assert stored == [0]
        assert journal.backlog().last_seq == 1
        await hooks.join()
    assert len(receiver.requests) == 1


async def test_observers_are_told_of_a_journaled_event_once(receiver: FaultReceiver) -> None:
    told: list[str] = []

    class Told(Observer):
        def emitting(self, event_id: str, name: str) -> None:
            told.append("emitting")

        def emitted(self, name: str, receipt: Receipt) -> None:
            told.append("emitted")

    webhook = Webhook(receiver.url, ["*"], KEY)
    async with Hooks([webhook], journal=MemoryJournal(), observers=[Told()]) as hooks:
        hooks.add_subscriber("*", lambda event: told.append("inline"), inline=True)
        await hooks.emit("room:join", ROOM)
        assert told == ["emitting", "inline", "emitted"]


async def test_the_event_is_the_one_that_other_subscribers_get() -> None:
    async with Hooks() as hooks:
        seen: list[Event] = []
        hooks.add_subscriber("room:join", seen.append, inline=True)
        beside_a_queue(hooks)
        receipt = await hooks.emit("room:join", ROOM, SESSION)
        await hooks.join()
        (event,) = seen
        assert queued == [event]
        assert event is queued[0]
        assert (event.id, event.data, event.session) == (receipt.event_id, ROOM, SESSION)


async def test_what_webhooks_are_sent_is_the_data_of_the_emit(receiver: FaultReceiver) -> None:
    """An inline function that changes the data comes too late."""
    async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
        hooks.add_subscriber("*", lambda event: event.data.clear(), inline=True, name="clear")
        await hooks.emit("room:join", {"roomId": "r"})
        await hooks.join()
    assert receiver.requests[0].json()["data"] == {"roomId": "r"}


@both_ways
async def test_it_has_run_in_the_context_of_the_emit(beside: Beside) -> None:
    async with Hooks() as hooks:
        beside(hooks)
        tasks: list[object] = []
        hooks.add_subscriber(
            "room:join", lambda event: tasks.append(asyncio.current_task()), inline=True
        )
        await hooks.emit("room:join", ROOM, SESSION)
        assert tasks == [asyncio.current_task()]


# Errors


@both_ways
@pytest.mark.parametrize("awaits", [False, True])
async def test_its_error_is_emits_and_no_other_target_gets_the_event(
    beside: Beside, awaits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is it logged: the caller has it."""
    error = PermissionError("not in this room")

    async def failing(event: Event) -> None:
        if awaits:
            await turns()
        raise error

    async with Hooks() as hooks:
        beside(hooks)
        hooks.add_subscriber("room:join", failing, name="failing", inline=True)
        with pytest.raises(PermissionError) as caught:
            await hooks.emit("room:join", ROOM, SESSION)
        assert caught.value is error
        assert error.__cause__ is error.__context__ is None
        assert not hasattr(error, "__notes__")
        assert counts(hooks, "failing") == (1, 0, 1, 0)
        assert hooks.stats().accepted == 1
        await soon(hooks.join())
        assert queued == []
    assert caplog.records == []


@pytest.mark.parametrize("journaled", [False, True])
async def test_functions_after_the_one_that_fails_are_not_called(
    receiver: FaultReceiver, journaled: bool
) -> None:
    journal = MemoryJournal() if journaled else None
    async with Hooks([Webhook(receiver.url, ["*"], KEY, id="w")], journal=journal) as hooks:
        heard: list[Event] = []

        def failing(event: Event) -> None:
            raise KeyError("no")

        hooks.add_subscriber("*", lambda event: None, name="before", inline=True)
        hooks.add_subscriber("*", failing, name="failing", inline=True)
        hooks.on("*", name="after", inline=True)(heard.append)
        hooks.once("*", name="once", inline=True)(lambda event: heard.clear())
        with pytest.raises(KeyError, match="no"):
            await hooks.emit("room:join", ROOM)
        assert heard == []
        assert counts(hooks, "before") == (1, 1, 0, 0)
        assert counts(hooks, "failing") == (1, 0, 1, 0)
        assert counts(hooks, "after") == counts(hooks, "once") == counts(hooks, "w") == (0,) * 4
        if journal is not None:
            assert journal.backlog().last_seq == 0
        hooks.off(failing)
        assert (await hooks.emit("room:join", ROOM)).accepted == 4
        await hooks.join()
    assert len(receiver.requests) == 1


@both_ways
async def test_a_cancelled_emit_counts_as_failed(beside: Beside) -> None:
    async with Hooks() as hooks:
        beside(hooks)
        hooks.on("room:join", name="hung", inline=True)(lambda event: asyncio.Event().wait())
        task = asyncio.ensure_future(hooks.emit("room:join", ROOM, SESSION))
        await turns()
        assert counts(hooks, "hung") == (1, 0, 0, 1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert counts(hooks, "hung") == (1, 0, 1, 0)
        await soon(hooks.join())
        assert queued == []


@both_ways
async def test_a_time_limit_ends_the_emit(beside: Beside) -> None:
    async with Hooks() as hooks:
        beside(hooks)
        options: dict[str, Any] = {"inline": True, "timeout": 0.001}
        hooks.on("room:join", name="slow", **options)(lambda event: asyncio.Event().wait())
        with pytest.raises(SubscriberTimeoutError, match="inline subscriber 'slow' took longer"):
            await soon(hooks.emit("room:join", ROOM, SESSION))
        assert counts(hooks, "slow") == (1, 0, 1, 0)
        await soon(hooks.join())
        assert queued == []


# Nested emits, and changes meanwhile


async def test_nested_emits_of_the_same_event() -> None:
    async with Hooks() as hooks:
        told: list[str] = []

        @hooks.on("room:join", inline=True, name="inline")
        async def again(event: Event) -> None:
            depth = len(event.data["roomId"])
            told.append(f"begins {depth}")
            if depth < 3:
                receipt = await hooks.emit("room:join", {"roomId": "r" * (depth + 1)}, SESSION)
                assert receipt.accepted == 1
            told.append(f"ends {depth}")

        await hooks.emit("room:join", {"roomId": "r"}, SESSION)
        assert told == [f"begins {n}" for n in (1, 2, 3)] + [f"ends {n}" for n in (3, 2, 1)]
        assert counts(hooks, "inline") == (3, 3, 0, 0)


async def test_once_is_called_once_though_it_emits_the_same_event() -> None:
    async with Hooks() as hooks:
        beside_a_queue(hooks)
        heard: list[Event] = []

        @hooks.once("room:join", inline=True)
        async def first(event: Event) -> None:
            heard.append(event)
            await hooks.emit("room:join", ROOM)

        await hooks.emit("room:join", ROOM)
        await hooks.join()
        assert len(heard) == 1
        assert [event.id == heard[0].id for event in queued] == [False, True]
        assert hooks.stats()[:3] == (3, 3, 0)


async def test_once_is_called_for_one_of_several_emits_under_way() -> None:
    async with Hooks() as hooks:
        heard: list[Event] = []
        hooks.on("room:join", inline=True)(lambda event: turns())
        hooks.once("room:join", inline=True)(heard.append)
        emits = [hooks.emit("room:join", ROOM) for _ in range(3)]
        receipts: list[Receipt] = await asyncio.gather(*emits)
        assert [receipt.accepted for receipt in receipts] == [2, 1, 1]
        assert [event.id for event in heard] == [receipts[0].event_id]
        assert hooks.stats()[:2] == (4, 4)


async def test_the_targets_are_those_of_when_emit_began() -> None:
    """And what was taken off or added meanwhile is counted all the same."""
    async with Hooks() as hooks:
        told: list[str] = []

        def tell(name: str) -> Callable[[Event], None]:
            return lambda event: told.append(name)

        leaving, queue, added = tell("leaving"), tell("queue"), tell("added")

        @hooks.on("room:join", inline=True, name="changes")
        async def changes(event: Event) -> None:
            if not told:
                hooks.off(leaving)
                hooks.off(queue)
                hooks.on("room:join", inline=True)(added)
                hooks.stats()  # which folds the counts of what is registered no longer
                await turns()

        hooks.on("room:join", inline=True)(leaving)
        hooks.on("room:join")(queue)
        await hooks.emit("room:join", ROOM)
        await hooks.join()
        assert told == ["leaving", "queue"]
        assert hooks.stats()[:3] == (3, 3, 0)
        assert (await hooks.emit("room:join", ROOM)).accepted == 2
        assert told == ["leaving", "queue", "added"]


async def test_a_webhook_removed_meanwhile_is_sent_nothing(receiver: FaultReceiver) -> None:
    async with Hooks([Webhook(receiver.url, ["*"], KEY, id="w")], logging=False) as hooks:

        @hooks.on("room:join", inline=True)
        async def remove(event: Event) -> None:
            hooks.remove_webhook("w")
            hooks.add_webhook(Webhook(receiver.url, ["*"], KEY, id="w"))
            assert hooks.stats().targets["w"].accepted == 0
            await turns()

        receipt = await hooks.emit("room:join", ROOM)
        assert (receipt.accepted, receipt.dropped) == (1, 1)
        await hooks.join()
        (letter,) = await hooks.dead_letters()
        assert (letter.event_id, letter.reason) == (receipt.event_id, "removed")
        assert hooks.stats()[:3] == (2, 1, 1)
    assert receiver.requests == []


# Recording


async def test_a_recording_leaves_the_error_to_the_caller() -> None:
    error = PermissionError("no")

    def failing(event: Event) -> None:
        raise error

    async with Hooks() as hooks:
        hooks.on("room:join", inline=True)(failing)
        async with record(hooks) as recording:
            with pytest.raises(PermissionError, match="no"):
                await hooks.emit("room:join", ROOM)
            assert (recording.names, recording.errors) == ([], [])
    assert not hasattr(error, "__notes__")


async def test_a_recording_waits_for_emits_under_way() -> None:
    release = asyncio.Event()
    async with Hooks() as hooks:
        beside_a_queue(hooks)
        hooks.on("room:join", inline=True)(lambda event: release.wait())
        async with record(hooks):
            emitting = asyncio.ensure_future(hooks.emit("room:join", ROOM))
            await turns()
            asyncio.get_running_loop().call_soon(release.set)
        assert emitting.done()
        assert len(queued) == 1
