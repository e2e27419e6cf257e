"""Closing: what is pending is delivered up to a deadline, and the rest is accounted for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support import (
    STEADY,
    Mood,
    Watch,
    assert_consistent,
    dispatcher,
    emit,
    soon,
    turns,
    webhook_to,
)

from relaybox_hooks import (
    CloseReport,
    ConfigError,
    Event,
    HooksClosedError,
    Receipt,
    RelayboxHooksError,
    RetryPolicy,
    Timeouts,
)
from relaybox_hooks.dispatch import shutdown as closing
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import Answer, FaultReceiver, Hang
from relaybox_hooks.testing.clock import VirtualClock

PATIENT = Timeouts(total=3600)


# Drained


async def test_all_that_is_pending_is_delivered(
    clock: VirtualClock, receiver: FaultReceiver
) -> None:
    async with dispatcher(webhook_to(receiver), clock=clock) as hooks:
        handled: list[object] = []
        hooks.add_subscriber("room:join", lambda event: handled.append(event.id))
        for _ in range(20):
            await emit(hooks, connectionId="one")
        report = await soon(hooks.aclose())
        assert_consistent(hooks.stats())
    assert report == CloseReport(40, 0, 0, {}, "drained")
    assert (len(receiver.accepted), len(handled)) == (20, 20)


async def test_the_report_counts_from_the_beginning_of_closing(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver, mood: Mood
) -> None:
    async with dispatcher(webhook_to(receiver), clock=clock, observers=[watch]) as hooks:
        await emit(hooks)
        await soon(hooks.join())
        receiver.hold()
        await emit(hooks)
        await soon(receiver.wait_for(2))
        mood.fault = Answer(404)
        await emit(hooks)
        await soon(receiver.wait_for(3))
        close = asyncio.create_task(hooks.aclose())
        await turns()
        receiver.release()
        assert await soon(close) == CloseReport(1, 1, 0, {}, "drained")


async def test_retries_go_on_during_the_drain(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Answer(503)
    webhook = webhook_to(receiver, retry=STEADY)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        await emit(hooks)
        await watch.attempted_times(1)
        close = asyncio.create_task(hooks.aclose(timeout=2))
        await clock.advance(0.5)
        await watch.attempted_times(2)
        mood.fault = Answer()
        await clock.advance(1.0)
        assert await soon(close) == CloseReport(1, 0, 0, {}, "drained")


# Timed out


@pytest.mark.parametrize("timeout", [2, 2.0, timedelta(seconds=2), None])
async def test_what_is_left_at_the_deadline_is_reported_by_target_and_kept(
    clock: VirtualClock,
    watch: Watch,
    receiver: FaultReceiver,
    mood: Mood,
    caplog: pytest.LogCaptureFixture,
    timeout: Any,
) -> None:
    mood.fault = Hang()
    webhooks = [webhook_to(receiver, path, timeouts=PATIENT) for path in ("/a", "/b")]
    async with dispatcher(*webhooks, clock=clock, observers=[watch], close_timeout=2) as hooks:
        forever = asyncio.Event()

        @hooks.on("room:join", name="greet")
        async def greet(event: Event[Any]) -> None:
            await forever.wait()

        for _ in range(3):
            await emit(hooks)
        await soon(receiver.wait_for(6))
        close = asyncio.create_task(hooks.aclose(timeout))
        await clock.advance(1.999)
        assert not close.done()
        await clock.advance(0.001)
        report = await soon(close)
        assert_consistent(hooks.stats())
        assert hooks.stats().pending == 0
        letters = await hooks.dead_letters(reason="shutdown")
        assert sorted(letter.webhook_id for letter in letters) == ["a", "a", "a", "b", "b", "b"]
    assert report == CloseReport(0, 0, 9, {"a": 3, "b": 3, "greet": 3}, "timed out")
    assert watch.all("closed") == [report]
    assert len(watch.letters) == 6
    assert "closed with 9 events left: {'a': 3, 'b': 3, 'greet': 3}" in caplog.messages


async def test_events_of_a_removed_webhook_are_waited_for_too(
    clock: VirtualClock, receiver: FaultReceiver
) -> None:
    receiver.hold()
    async with dispatcher(webhook_to(receiver, timeouts=PATIENT), clock=clock) as hooks:
        await emit(hooks)
        await soon(receiver.wait_for(1))
        hooks.remove_webhook("root")
        assert await soon(hooks.aclose(timeout=0)) == CloseReport(0, 0, 1, {"root": 1}, "timed out")
        assert_consistent(hooks.stats())


async def test_an_answer_in_the_last_moment_counts(
    clock: VirtualClock, receiver: FaultReceiver, mood: Mood
) -> None:
    """The status is known and its body drips when the deadline passes: it was delivered."""
    mood.fault = Answer(200, {"Content-Length": "5"})
    async with dispatcher(webhook_to(receiver), clock=clock) as hooks:
        await emit(hooks)
        await soon(receiver.wait_until(lambda: len(receiver.accepted) == 1))
        await turns()
        assert hooks.stats().pending == 1
        report = await soon(hooks.aclose(timeout=0))
        assert (report.left, hooks.stats().delivered) == (0, 1)
        assert await hooks.dead_letters() == []


# Emits that wait for room


async def test_emits_waiting_at_closing_are_turned_away_and_counted(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver
) -> None:
    """None is lost: each has its receipt, its dead letter, and its place in the counts."""
    receiver.hold()
    webhook = webhook_to(receiver, queue_size=1, timeouts=PATIENT)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        first = await emit(hooks)
        waiting = [asyncio.create_task(hooks.emit("room:join", {"roomId": "x"})) for _ in range(3)]
        await turns()
        close = asyncio.create_task(hooks.aclose())
        receipts = await soon(asyncio.gather(*waiting))
        assert [(receipt.accepted, receipt.dropped) for receipt in receipts] == [(0, 1)] * 3
        found = {letter.event_id: letter.reason for letter in await hooks.dead_letters()}
        assert found == {receipt.event_id: "shutdown" for receipt in receipts}
        assert_consistent(hooks.stats())
        await soon(receiver.wait_for(1))
        receiver.release()
        report = await soon(close)
        assert (report.delivered, report.left) == (1, 0)
        assert [each.event_id for each in receiver.accepted] == [first]
        assert hooks.stats().accepted == 4
        assert_consistent(hooks.stats())


async def test_a_subscriber_s_share_of_them_is_told_and_logged(
    clock: VirtualClock, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no dead letters, so observers and the log are all that tell of it."""
    go_on = asyncio.Event()
    async with dispatcher(clock=clock, observers=[watch]) as hooks:

        @hooks.on("room:join", name="greet", queue_size=1)
        async def greet(event: Event[Any]) -> None:
            await go_on.wait()

        await emit(hooks)
        waiting = asyncio.create_task(hooks.emit("room:join", {"roomId": "x"}))
        await turns()
        close = asyncio.create_task(hooks.aclose())
        receipt = await soon(waiting)
        go_on.set()
        assert await soon(close) == CloseReport(1, 1, 0, {}, "drained")
        assert_consistent(hooks.stats())
    assert receipt == Receipt(receipt.event_id, 0, 1)
    assert watch.all("dropped") == [("greet", receipt.event_id, "room:join", "shutdown")]
    (line,) = [line for line in caplog.messages if receipt.event_id in line]
    assert "the lane of greet is full (shutdown)" in line


async def test_nothing_is_accepted_once_closing_began(
    clock: VirtualClock, receiver: FaultReceiver
) -> None:
    receiver.hold()
    async with dispatcher(webhook_to(receiver), clock=clock) as hooks:
        await emit(hooks)
        close = asyncio.create_task(hooks.aclose())
        await turns()
        with pytest.raises(HooksClosedError) as caught:
            await hooks.emit("room:join", {"roomId": "x"})
        assert caught.value.state == "closing"
        with pytest.raises(HooksClosedError):
            hooks.emit_nowait("room:join", {"roomId": "x"})
        await soon(receiver.wait_for(1))
        receiver.release()
        assert (await soon(close)).delivered == 1
        with pytest.raises(HooksClosedError) as caught:
            await hooks.emit("room:join", {"roomId": "x"})
        assert caught.value.state == "closed"


# Cancelled, twice, from elsewhere


async def test_a_cancelled_close_ends_the_drain_at_once_and_still_accounts(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Hang()
    webhook = webhook_to(receiver, timeouts=PATIENT)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        await emit(hooks)
        await soon(receiver.wait_for(1))
        close = asyncio.create_task(hooks.aclose(timeout=3600))
        await turns()
        close.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(close)
        assert parts_of(hooks).runtime.session.closed
        assert hooks.stats().pending == 0
        assert [letter.reason for letter in await hooks.dead_letters()] == ["shutdown"]
        report = await soon(hooks.aclose())
        assert report == CloseReport(0, 0, 1, {"root": 1}, "cancelled")
        assert watch.all("closed") == [report]


async def test_every_caller_gets_the_same_report(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver
) -> None:
    receiver.hold()
    async with dispatcher(webhook_to(receiver), clock=clock, observers=[watch]) as hooks:
        await emit(hooks)
        await soon(receiver.wait_for(1))
        callers = [asyncio.create_task(hooks.aclose(timeout=timeout)) for timeout in (9, 0, 5)]
        await turns()
        impatient = asyncio.create_task(hooks.aclose())
        await turns()
        impatient.cancel()
        await turns()
        assert not any(caller.done() for caller in callers), "a later caller ends nobody's drain"
        receiver.release()
        reports = await soon(asyncio.gather(*callers))
        reports.append(await soon(hooks.aclose()))
    assert reports == [CloseReport(1, 0, 0, {}, "drained")] * 4
    assert watch.all("closed") == reports[:1]


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
async def test_a_timeout_that_cannot_work_closes_nothing(timeout: Any) -> None:
    async with dispatcher() as hooks:
        with pytest.raises(ConfigError):
            await hooks.aclose(timeout)
        assert await emit(hooks) == ""


async def test_a_subscriber_may_close_from_a_task_of_its_own_but_not_wait_for_it(
    clock: VirtualClock,
) -> None:
    """As the error advises: the task may outlive the handler."""
    tasks: list[asyncio.Task[CloseReport]] = []
    errors: list[Exception] = []
    async with dispatcher(clock=clock) as hooks:

        @hooks.on("room:join")
        async def stop(event: Event[Any]) -> None:
            for method in (hooks.aclose, hooks.join):
                try:
                    await method()
                except RelayboxHooksError as error:
                    errors.append(error)
            tasks.append(asyncio.create_task(hooks.aclose()))

        await emit(hooks)
        await soon(hooks.join())
        assert await soon(tasks[0]) == CloseReport(0, 0, 0, {}, "drained")
    assert len(errors) == 2


# Stubborn ones


class Stubborn:
    """A subscriber that swallows its cancellation, until a test lets it go."""

    def __init__(self) -> None:
        self.let_go, self.swallowed = asyncio.Event(), asyncio.Event()

    async def handle(self, event: Event[Any]) -> None:
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.swallowed.set()


async def test_a_subscriber_that_swallows_its_cancellation_cannot_stop_closing(
    clock: VirtualClock,
    watch: Watch,
    receiver: FaultReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is left behind with a line in the log, and counted once whatever it does later."""
    monkeypatch.setattr(closing, "_GRACE", 0.01)
    stubborn = Stubborn()
    async with dispatcher(webhook_to(receiver), clock=clock, observers=[watch]) as hooks:
        hooks.add_subscriber("room:join", stubborn.handle, name="stubborn")
        for _ in range(2):
            await emit(hooks)
        await watch.until(lambda: len(watch.all("delivered")) == 2)
        report = await soon(hooks.aclose(timeout=0))
        assert stubborn.swallowed.is_set()
        assert report == CloseReport(0, 0, 2, {"stubborn": 2}, "timed out")
        before = hooks.stats()
        workers = [task for task in asyncio.all_tasks() if "_work" in repr(task.get_coro())]
        stubborn.let_go.set()
        await soon(asyncio.wait(workers))
        assert hooks.stats() == before
        assert_consistent(before)
        await soon(hooks.join())
    (line,) = [line for line in caplog.messages if "swallows its cancellation" in line]
    assert "left behind" in line


async def test_nothing_is_sent_after_the_deadline(
    clock: VirtualClock,
    watch: Watch,
    receiver: FaultReceiver,
    mood: Mood,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A retry comes due while closing still waits for a stubborn subscriber."""
    mood.fault = Answer(503)
    monkeypatch.setattr(closing, "_GRACE", 0.05)
    stubborn = Stubborn()
    webhook = webhook_to(receiver, retry=RetryPolicy(initial=5, jitter=0))
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        hooks.add_subscriber("room:join", stubborn.handle, name="stubborn")
        await emit(hooks)
        await watch.attempted_times(1)
        mood.fault = Answer()
        close = asyncio.create_task(hooks.aclose(timeout=0))
        await soon(stubborn.swallowed.wait())
        await clock.advance(5)
        report = await soon(close)
        assert report.targets == {"root": 1, "stubborn": 1}
        stubborn.let_go.set()
        await turns()
    assert len(receiver.requests) == 1
