"""What a restart leaves as it was: pending deliveries and all that is known of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support import Mood, Opened, Watch, arrived, emit, soon, webhook_to
from support.journal_queues import FakeJournal, FakeLane, Finds
from support.manual_clock import ManualClock
from support.turned_loop import Turns

from relaybox_hooks import (
    BreakerPolicy,
    RetryPolicy,
)
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, VirtualClock

pytestmark = pytest.mark.usefixtures("unavailable")


#: Retries at 100, 200, 400 ... seconds, never sooner.
SLOWLY = RetryPolicy(attempts=6, initial=100, maximum=10_000, jitter=0)


async def failed(watch: Watch, times: int = 1) -> None:
    await watch.attempted_times(times)


async def test_what_was_left_is_delivered_after_the_restart(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Hang()
    async with opened(webhook_to(receiver, queue_size=3)) as hooks:
        ids = [await emit(hooks, connectionId="c") for _ in range(9)]
        await receiver.wait_for(1)
        report = await soon(hooks.aclose(timeout=0))
        assert (report.left, report.targets) == (9, {"root": 9})
        assert hooks.stats()[:6] == (9, 0, 0, 0, 0, 9), "they are pending, and no dead letters"
    mood.fault = Answer()
    async with opened(webhook_to(receiver, queue_size=3)) as hooks:
        assert hooks.stats()[:6] == (9, 0, 0, 0, 0, 9)
        await soon(hooks.join())
        assert arrived(receiver)[1:] == ids
        assert hooks.stats()[:3] == (9, 9, 0)


async def test_attempts_and_due_times_survive(
    opened: Opened, receiver: FaultReceiver, clock: VirtualClock
) -> None:
    """The wait goes on where it was, by the wall clock."""
    watch = Watch()
    webhook = webhook_to(receiver, retry=SLOWLY)
    async with opened(webhook, observers=[watch]) as hooks:
        await emit(hooks)
        await failed(watch)
        await clock.advance(100)
        await failed(watch, 2)
        (entry,) = await hooks.deliveries()
        assert (entry.attempts, entry.status) == (2, "pending")
        assert entry.outcome is not None
        assert entry.outcome.status == 503
        now = datetime.fromtimestamp(clock.time(), UTC)
        assert entry.due_at == now + timedelta(seconds=200)
    watch = Watch()
    async with opened(webhook, observers=[watch]) as hooks:
        await soon(hooks.deliveries())
        await clock.advance(199)
        assert watch.attempts == []
        await clock.advance(1)
        attempt = await watch.attempted_times(1)
        assert (attempt.number, attempt.next_in) == (3, 400)


async def test_a_key_that_waits_for_its_retry_holds_up_no_other_after_the_restart(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    watch = Watch()
    webhook = webhook_to(receiver, retry=SLOWLY, queue_size=4)
    async with opened(webhook, observers=[watch]) as hooks:
        poisoned = [await emit(hooks, connectionId="poison") for _ in range(12)]
        await failed(watch)
        mood.fault = Answer()
        healthy = [await emit(hooks, connectionId=f"c{number}") for number in range(12)]
        await watch.until(lambda: len(watch.all("delivered")) == 12)
        assert set(arrived(receiver)[1:]) == set(healthy)
    async with opened(webhook) as hooks:
        late = await emit(hooks, connectionId="late")
        await receiver.wait_for(14)
        assert arrived(receiver)[-1] == late
        await clock.advance(100)
        await soon(hooks.join())
        assert arrived(receiver)[14:] == poisoned


async def test_an_open_breaker_stays_open(
    opened: Opened, receiver: FaultReceiver, clock: VirtualClock, mood: Mood
) -> None:
    watch = Watch()
    webhook = webhook_to(
        receiver,
        breaker=BreakerPolicy(failures=1, cooldown=60),
        retry=SLOWLY,
        order_by="none",
        concurrency=1,
    )
    async with opened(webhook, observers=[watch]) as hooks:
        await emit(hooks)
        await watch.until(lambda: watch.states == [("closed", "open")])
        later = await emit(hooks)
        await clock.advance(20)
    mood.fault = Answer()
    async with opened(webhook) as hooks:
        assert hooks.stats().targets["root"].breaker == "open"
        await soon(hooks.deliveries())
        await clock.advance(39)
        assert len(receiver.requests) == 1
        await clock.advance(1)
        await receiver.wait_for(2)
        assert arrived(receiver)[1] == later


async def test_a_disabled_webhook_stays_disabled_until_it_is_enabled(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Answer(410)
    watch = Watch()
    async with opened(webhook_to(receiver), observers=[watch]) as hooks:
        await emit(hooks)
        await watch.until(lambda: bool(watch.all("webhook_disabled")))
    watch = Watch()
    async with opened(webhook_to(receiver), observers=[watch]) as hooks:
        assert [webhook.enabled for webhook in hooks.webhooks] == [False]
        assert "before the restart" in watch.all("webhook_disabled")[0][1]
        assert (await hooks.emit("room:join", {"roomId": "r"})).accepted == 0
        hooks.enable_webhook("root")
        mood.fault = Answer()
        await emit(hooks)
        await soon(hooks.join())
    async with opened(webhook_to(receiver)) as hooks:
        assert [webhook.enabled for webhook in hooks.webhooks] == [True]


async def test_what_is_remembered_of_an_endpoint_does_not_hold_for_another(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    """The same id with a new URL: neither disabled nor held back."""
    mood.fault = Answer(410)
    watch = Watch()
    async with opened(webhook_to(receiver), observers=[watch]) as hooks:
        await emit(hooks)
        await watch.until(lambda: bool(watch.all("webhook_disabled")))
    async with opened(webhook_to(receiver, "/moved", id="root")) as hooks:
        assert [webhook.enabled for webhook in hooks.webhooks] == [True]


async def test_a_removed_webhook_is_forgotten(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    async with opened(webhook_to(receiver)) as hooks:
        hooks.disable_webhook("root")
        hooks.add_webhook(hooks.remove_webhook("root"))
        assert [webhook.enabled for webhook in hooks.webhooks] == [False], "as it was handed back"
    async with opened(webhook_to(receiver)) as hooks:
        assert [webhook.enabled for webhook in hooks.webhooks] == [True]


async def test_a_webhook_registered_as_disabled_dies_with_what_waited_for_it(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Hang()
    async with opened(webhook_to(receiver)) as hooks:
        for _ in range(3):
            await emit(hooks)
    async with opened(webhook_to(receiver, enabled=False)) as hooks:
        await soon(hooks.join())
        assert hooks.stats()[:6] == (3, 0, 3, 0, 0, 0)
        assert len(await hooks.dead_letters(reason="disabled")) == 3


async def test_a_webhook_that_is_registered_later_takes_over_what_waited_for_it(
    opened: Opened,
    receiver: FaultReceiver,
    mood: Mood,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mood.fault = Hang()
    async with opened(webhook_to(receiver)) as hooks:
        ids = [await emit(hooks, connectionId="c") for _ in range(3)]
        await receiver.wait_for(1)
    mood.fault = Answer()
    with caplog.at_level(logging.WARNING):
        async with opened() as hooks:
            assert hooks.unregistered == {"root": 3}
            assert "3 deliveries for webhook root, which is not registered" in caplog.text
            assert hooks.stats().pending == 0
            hooks.add_webhook(webhook_to(receiver))
            assert hooks.unregistered == {}
            await soon(hooks.join())
            assert arrived(receiver)[1:] == ids


async def test_too_old_it_is_given_up_on_wherever_it_waits(
    opened: Opened, receiver: FaultReceiver, clock: VirtualClock
) -> None:
    """In memory, in the journal behind it, and set aside for a later attempt."""
    watch = Watch()
    webhook = webhook_to(receiver, retry=SLOWLY, queue_size=2, max_age=50)
    async with opened(webhook, observers=[watch]) as hooks:
        for _ in range(6):
            await emit(hooks, connectionId="one")
        await failed(watch)
        for _ in range(30):
            if not hooks.stats().pending:
                break
            await clock.advance(50)
            await soon(hooks.deliveries())
        assert hooks.stats()[:6] == (6, 0, 6, 0, 0, 0)
        assert {letter.reason for letter in watch.letters} == {"expired"}
        assert len(receiver.requests) == 1


async def test_closing_waits_for_what_can_go_and_for_nothing_else(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    """A retry that is due in an hour keeps no server from stopping."""
    watch = Watch()
    webhook = webhook_to(receiver, retry=RetryPolicy(initial=3600, maximum=3600, jitter=0))
    async with opened(webhook, observers=[watch]) as hooks:
        await emit(hooks, connectionId="waits")
        await failed(watch)
        mood.fault = Answer()
        for _ in range(5):
            await emit(hooks, connectionId="goes")
        report = await soon(hooks.aclose(timeout=3600))
        assert (report.ending, report.left) == ("drained", 1)
        assert hooks.stats().delivered == 5


async def test_too_old_it_is_given_up_on_although_younger_ones_were_read_first(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    """A key that is set aside comes back behind what is younger."""
    watch = Watch()
    webhook = webhook_to(receiver, retry=SLOWLY, queue_size=8, max_age=150, breaker=None)
    async with opened(webhook, observers=[watch]) as hooks:
        await emit(hooks, connectionId="old")
        await failed(watch)
        await clock.advance(90)
        mood.fault = Hang()
        for number in range(4):
            await emit(hooks, connectionId=f"young-{number}")
        await receiver.wait_for(5)
        await clock.advance(10)
        await receiver.wait_for(6)
        await clock.advance(60)
        await watch.until(lambda: len(watch.letters) >= 1)
        assert watch.letters[0].reason == "expired"
        assert hooks.stats().failed == 1


# A queue alone, over a journal whose answers come when the test gives them


class Alone:
    """A queue with room for one delivery, its journal, clock and event loop."""

    def __init__(self, finds: Finds) -> None:
        self.clock = ManualClock()
        self.turns = Turns(self.clock)
        self.journal = FakeJournal(self.turns.runtime, finds)
        self.lane = FakeLane(self.journal, 1)
        self.lane.queue.start_after(0)

    def append(self, *keys: str, put: bool = True) -> None:
        for key in keys:
            row = self.journal.append(key, self.lane)
            row.stored = True
            if put:
                self.lane.put(row)

    def turn(self) -> None:
        for _ in range(3):
            self.turns.turn([self.lane])

    def answer(self, *, fail: bool = False) -> None:
        """Answer the query under way, which has found what there was when it was made."""
        self.turn()
        (read,) = self.journal.reads
        read.fail() if fail else read.answer()
        self.turn()

    def next(self) -> Delivery:
        delivery = self.lane.next()
        assert delivery is not None
        return delivery

    def states(self) -> list[str]:
        return [row.state for row in self.journal.rows.values()]


@pytest.fixture
def alone(finds: Finds) -> Iterator[Alone]:
    alone = Alone(finds)
    yield alone
    alone.turns.close([alone.lane])


AT_ONCE = pytest.mark.parametrize("finds", ["and answers at once"])
LATER = pytest.mark.parametrize("finds", ["at once"])


@AT_ONCE
def test_what_is_stored_and_still_to_be_put_is_delivered_once(alone: Alone) -> None:
    """A key is read on beyond what was put: it is neither delivered now nor again."""
    alone.append("k", "k")
    alone.append("k", put=False)
    for _ in range(2):
        alone.lane.complete(alone.next())
        alone.turn()
    assert alone.lane.next() is None
    alone.lane.put(alone.journal.rows[3])
    alone.turn()
    alone.lane.complete(alone.next())
    alone.turn()
    assert alone.states() == ["delivered"] * 3


@AT_ONCE
def test_a_full_memory_ends_the_reading_after_a_reopening(alone: Alone) -> None:
    """It does not go on for what was given up, as if that were to come."""
    alone.append("k")
    in_flight = alone.next()
    alone.journal.append("k", alone.lane)
    alone.journal.fail_to_store()
    alone.lane.close()
    alone.lane.reopen()
    alone.append("l", "m")
    alone.turn()
    assert alone.journal.begun < 5
    alone.lane.complete(in_flight)
    for _ in range(2):
        alone.turn()
        alone.lane.complete(alone.next())
    assert alone.states() == ["delivered"] * 3


@LATER
def test_what_was_given_up_does_not_return_with_a_retry_of_its_key(alone: Alone) -> None:
    """The journal cannot be read until the retry is due: what is given up is read first."""
    alone.append("k", "k", "k")
    in_flight = alone.next()
    alone.lane.close()
    alone.lane.reopen()
    alone.lane.retry(in_flight, 1.0)
    alone.answer(fail=True)
    alone.clock.advance(1.0)
    alone.answer()
    assert alone.lane.next() is None
    assert alone.states() == ["dead"] * 3


@LATER
@pytest.mark.parametrize("retried", [False, True])
def test_what_ends_while_it_is_read_is_not_given_up(alone: Alone, retried: bool) -> None:
    alone.append("k", "k")
    in_flight = alone.next()
    alone.lane.close()
    alone.lane.reopen()
    alone.turn()
    alone.lane.retry(in_flight, 20.0) if retried else alone.lane.complete(in_flight)
    alone.answer()
    if retried:
        alone.clock.advance(20.0)
        alone.answer()
        alone.lane.complete(alone.next())
    assert alone.states() == ["delivered", "dead"]


@LATER
def test_a_key_is_read_on_when_it_was_parked_for_what_is_gone(alone: Alone) -> None:
    """Its retry was given up, and more was appended while no more was found."""
    alone.append("k")
    in_flight = alone.next()
    alone.lane.close()
    alone.lane.reopen()
    alone.lane.retry(in_flight, 20.0)
    alone.answer()
    assert alone.states() == ["dead"]
    alone.clock.advance(20.0)
    alone.turn()
    alone.append("k")
    alone.answer()
    alone.answer()
    alone.lane.complete(alone.next())
    assert alone.states() == ["dead", "delivered"]
