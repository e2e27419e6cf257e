"""A recording shows what was emitted, changes nothing, and lets no subscriber's error pass."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from typing import Any

import pytest
from support import KEY

from relaybox_hooks import (
    Event,
    Hooks,
    HooksClosedError,
    PayloadError,
    Receipt,
    Session,
    UnknownEventError,
    Webhook,
)
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import FaultReceiver, Hang, record

LOBBY: Any = {"roomId": "lobby"}
ADA = Session(client_id="ada")


class BrokenError(Exception):
    """What subscribers of these tests raise."""


def broken(event: Event) -> None:
    raise BrokenError(event.name)


# What is recorded


async def test_records_every_event_whoever_wants_it() -> None:
    """Those of subscribers, of another application's webhooks, and of nobody."""
    elsewhere = Webhook("http://127.0.0.1:9/", ["room:leave"], KEY, app_pid="other")
    async with Hooks([elsewhere]) as hooks, record(hooks) as recording:
        hooks.add_subscriber("room:join", print)
        await hooks.emit("room:join", LOBBY, ADA)
        hooks.emit_nowait("room:leave", LOBBY, {"clientId": "ben"})
        await hooks.emit("auth:session:initialize")
    assert recording.names == ["room:join", "room:leave", "auth:session:initialize"]
    joined, left, initialized = recording.events
    assert (joined.data, joined.session) == (LOBBY, ADA)
    assert left.session.client_id == "ben"
    assert (initialized.data, initialized.session) == (None, Session())
    assert recording.of("room:*") == [joined, left]
    assert recording.of("room:leave") == [left]


async def test_records_what_other_threads_emit() -> None:
    async with Hooks() as hooks, record(hooks) as recording:
        thread = threading.Thread(target=hooks.emit_from_thread, args=("room:join", LOBBY))
        thread.start()
        await recording.wait_for("room:join")
        await asyncio.to_thread(thread.join)
    assert recording.names == ["room:join"]


async def test_keeps_the_data_as_it_was() -> None:
    async with Hooks() as hooks, record(hooks) as recording:
        mood = {"mood": "fine"}
        await hooks.emit("presence:update", {"roomId": "lobby", "userData": mood})
        mood["mood"] = "bored"
    assert recording.events[0].data == {"roomId": "lobby", "userData": {"mood": "fine"}}


async def test_keeps_the_object_itself_where_it_cannot_be_copied() -> None:
    """Data for subscribers alone may be anything."""
    lock: Any = threading.Lock()
    async with Hooks() as hooks, record(hooks) as recording:
        await hooks.emit("room:join", lock)
    assert recording.events[0].data is lock


async def test_forgets_what_emit_refuses() -> None:
    hooks = Hooks([Webhook("http://127.0.0.1:9/", ["room:join"], KEY)])
    async with record(hooks) as recording:
        with pytest.raises(HooksClosedError):
            await hooks.emit("room:join", LOBBY)
        async with hooks:
            with pytest.raises(UnknownEventError):
                await hooks.emit("room:jion", LOBBY)  # type: ignore[call-overload]
            with pytest.raises(PayloadError):
                hooks.emit_nowait("room:join", {"roomId": 2**53})  # type: ignore[call-overload]
    assert recording.events == []


async def test_hooks_behave_as_without_it() -> None:
    """Receipts, counts, and the order in which subscribers are told."""

    async def receipts(hooks: Hooks) -> tuple[list[Receipt], list[str], int]:
        told: list[str] = []
        hooks.add_subscriber("room:join", lambda event: told.append(event.name))
        hooks.add_subscriber("room:*", lambda event: told.append(f"{event.name}, too"))
        got = [
            await hooks.emit("room:join", LOBBY),
            hooks.emit_nowait("room:join", LOBBY),
            await hooks.emit("room:leave", LOBBY),
            await hooks.emit("room:destroy", LOBBY, {"appPid": "a"}),
            await hooks.emit("auth:session:initialize"),
        ]
        await hooks.join()
        return [receipt._replace(event_id="") for receipt in got], told, hooks.stats().accepted

    async with Hooks() as plain:
        expected = await receipts(plain)
    async with Hooks() as recorded, record(recorded) as recording:
        assert await receipts(recorded) == expected
    assert [event.receipt.accepted for event in recording.events] == [2, 2, 1, 1, 0]


async def test_event_that_waits_for_room_stands_where_it_was_emitted() -> None:
    """Not where its ``emit`` returned, or it would follow what it gave rise to."""
    release = asyncio.Event()
    async with Hooks(queue_size=1) as hooks, record(hooks) as recording:
        hooks.add_subscriber("room:*", lambda event: release.wait())
        await hooks.emit("room:create", {"id": "r", "uuid": "u", "visibility": "public"})
        waiting = asyncio.create_task(hooks.emit("room:join", LOBBY))
        await recording.wait_for("room:join")
        await hooks.emit("auth:session:initialize")
        assert recording.events[1].receipt.accepted == 0
        release.set()
        receipt = await waiting
    assert recording.names == ["room:create", "room:join", "auth:session:initialize"]
    assert recording.events[1].receipt == receipt


async def test_recordings_nest_and_leave_no_trace() -> None:
    async with Hooks() as hooks:
        before = dict(vars(hooks)), parts_of(hooks).runtime.notifier.subscriber_failed
        async with record(hooks) as outer:
            await hooks.emit("room:join", LOBBY)
            async with record(hooks) as inner:
                await hooks.emit("room:leave", LOBBY)
            await hooks.emit("room:destroy", LOBBY)
        assert (vars(hooks), parts_of(hooks).runtime.notifier.subscriber_failed) == before
    assert outer.names == ["room:join", "room:leave", "room:destroy"]
    assert inner.names == ["room:leave"]


# Waiting


async def test_wait_for_returns_the_first_events_and_waits_for_those_to_come() -> None:
    async with Hooks() as hooks, record(hooks) as recording:
        both = asyncio.create_task(recording.wait_for("room:join", 2))
        either = asyncio.create_task(recording.wait_for("room:*"))
        for room in ("a", "b", "c"):
            await hooks.emit("room:join", {"roomId": room})
            await asyncio.sleep(0)
        assert [event.data["roomId"] for event in await both] == ["a", "b"]
        assert await either == recording.events[:1]


async def test_wait_for_says_what_was_recorded_instead() -> None:
    async with Hooks() as hooks, record(hooks) as recording:
        with pytest.raises(AssertionError) as caught:
            await recording.wait_for("room:join", timeout=0)
        assert str(caught.value) == (
            "0 of 1 room:join in 0 s; nothing was recorded: "
            "are these the hooks that the server emits into?"
        )
        shown = [entry.name for entry in caught.traceback if not entry.ishidden(None)]
        assert shown == ["test_wait_for_says_what_was_recorded_instead"]
        await hooks.emit("room:join", LOBBY, ADA)
        await hooks.emit("user:status:update", {"status": "away"})
        with pytest.raises(AssertionError) as caught:
            await recording.wait_for("room:join", 2, timeout=0)
        assert str(caught.value) == (
            "1 of 2 room:join in 0 s; recorded so far:\n"
            "  room:join {'roomId': 'lobby'} (ada)\n"
            "  user:status:update {'status': 'away'}"
        )
        for number in range(30):
            await hooks.emit("room:leave", {"roomId": f"{number}" + "x" * 1000})
        with pytest.raises(AssertionError, match="\n  12 more, then\n") as caught:
            await recording.wait_for("room:join", 2, timeout=0)
        assert len(str(caught.value)) < 5000


async def test_misspelt_name_is_an_error_at_once() -> None:
    async with Hooks() as hooks, record(hooks) as recording:
        with pytest.raises(UnknownEventError, match="did you mean 'room:join'"):
            await recording.wait_for("room:jion")
        with pytest.raises(UnknownEventError):
            recording.of("rooms:*")


async def test_join_says_where_events_are_pending() -> None:
    async with FaultReceiver(Hang()) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="crm")
        hooks = Hooks([webhook], close_timeout=0, logging=False)
        async with hooks, record(hooks) as recording:
            await hooks.emit("room:join", LOBBY)
            with pytest.raises(AssertionError, match=r"pending after 0 s:\n(.*\n)+crm +1 "):
                await recording.join(timeout=0)


# Subscribers' errors


async def test_join_raises_a_subscribers_error_with_its_traceback() -> None:
    async with Hooks(logging=False) as hooks, record(hooks) as recording:
        hooks.add_subscriber("room:join", broken)
        await hooks.emit("room:join", LOBBY)
        with pytest.raises(BrokenError) as caught:
            await recording.join()
        shown = [entry.name for entry in caught.traceback if not entry.ishidden(None)]
        assert (shown[0], shown[-1]) == (
            "test_join_raises_a_subscribers_error_with_its_traceback",
            "broken",
        )
        assert caught.value.__notes__ == ["in subscriber 'broken', handling room:join"]
        await recording.join()


async def test_several_errors_are_a_group() -> None:
    async with Hooks(logging=False) as hooks, record(hooks) as recording:
        hooks.add_subscriber("*", broken)
        await hooks.emit("room:join", LOBBY)
        await hooks.emit("room:leave", LOBBY)
        with pytest.raises(ExceptionGroup) as caught:
            await recording.join()
        assert [str(error) for error in caught.value.exceptions] == ["room:join", "room:leave"]


async def test_wait_that_a_failed_subscriber_would_have_ended_raises_its_error() -> None:
    """At once: the event that it was to emit will never come."""
    async with Hooks(logging=False) as hooks, record(hooks) as recording:

        @hooks.on("room:join")
        async def greet(event: Event) -> None:
            greeting = event.data["greeting"]
            await hooks.emit(
                "room:publish", {"message": greeting, "roomId": "r", "event": "message"}
            )

        await hooks.emit("room:join", LOBBY)
        with pytest.raises(KeyError):
            await recording.wait_for("room:publish", timeout=3600)


async def test_error_that_nobody_was_told_of_is_raised_at_the_end() -> None:
    """Also that of a subscriber which has not begun when the block ends."""
    async with Hooks(logging=False) as hooks:
        hooks.add_subscriber("room:join", broken)
        with pytest.raises(BrokenError):
            async with record(hooks):
                await hooks.emit("room:join", LOBBY)


async def test_end_waits_for_subscribers_and_not_for_webhooks() -> None:
    handled = []
    async with FaultReceiver(Hang()) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY)
        async with Hooks([webhook], close_timeout=0, logging=False) as hooks:

            @hooks.on("room:*")
            async def twice(event: Event) -> None:
                await asyncio.sleep(0)
                handled.append(event.name)
                if event.name == "room:join":
                    await hooks.emit("room:leave", LOBBY)

            async with record(hooks) as recording:
                await hooks.emit("room:join", LOBBY)
            assert handled == recording.names == ["room:join", "room:leave"]
            assert parts_of(hooks).runtime.outstanding == 2


async def test_end_names_a_subscriber_that_does_not_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relaybox_hooks.testing.recorder._PATIENCE", 0)
    async with Hooks(close_timeout=0, logging=False) as hooks:

        @hooks.on("room:join", name="greeter")
        async def never(event: Event) -> None:
            await asyncio.Event().wait()

        with pytest.raises(AssertionError, match="have not finished in 0 s: greeter; let them, or"):
            async with record(hooks):
                await hooks.emit("room:join", LOBBY)


async def test_error_of_the_block_comes_first_and_names_the_others() -> None:
    """What a subscriber failed to do is often why an assertion does not hold."""
    async with Hooks(logging=False) as hooks:
        hooks.add_subscriber("room:join", broken)
        with pytest.raises(AssertionError) as caught:  # noqa: PT012 - it is all about the block
            async with record(hooks):
                await hooks.emit("room:join", LOBBY)
                await hooks.join()
                raise AssertionError("the board is empty")
    assert caught.value.__notes__ == ["a subscriber failed meanwhile: BrokenError('room:join')"]


async def test_session_that_emit_would_refuse_were_it_wanted_is_an_error() -> None:
    """Without a target nobody looks at it: the test would pass, the server fail in production."""
    async with Hooks() as hooks, record(hooks) as recording:
        assert await hooks.emit("room:join", LOBBY, {"appPid": 3}) == ("", 0, 0)
        with pytest.raises(PayloadError) as caught:
            await recording.join()
        assert recording.names == ["room:join"]
    assert caught.value.path == "session.appPid"
    assert re.search("if any target matched the event", caught.value.__notes__[0])


def test_kit_does_without_pytest() -> None:
    program = "import sys, relaybox_hooks.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)  # noqa: S603 - ourselves
    assert done.stdout.strip() == b"False"
