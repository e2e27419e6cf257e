"""What waits for a webhook that is not registered: claimed, or given up after a while."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from datetime import timedelta
from typing import Any

import pytest
from support import KEY, Mood, Opened, Watch, emit, soon, webhook_to
from support.journals import envelope, stored
from support.manual_clock import ManualClock

from relaybox_hooks import DeadLetter, RetentionPolicy, Webhook
from relaybox_hooks.durable.journal_dead_letters import JournalDeadLetters
from relaybox_hooks.durable.unregistered import SavedState, UnregisteredDeliveries
from relaybox_hooks.journal import (
    PERMANENT,
    Change,
    JournalError,
    LaneHead,
    StoredDelivery,
)
from relaybox_hooks.observer import Notifier
from relaybox_hooks.testing import FaultReceiver, Hang, MemoryJournal, VirtualClock
from relaybox_hooks.transport.runtime import Runtime

#: Seconds that are waited for a webhook.
GRACE = 3600
URL = "https://crm.example/hook"
STATE: dict[str, Any] = {"url": URL, "disabled": True, "breaker": None}


def webhook(id: str = "crm", url: str = URL) -> Webhook:
    return Webhook(url, ["*"], KEY, id=id)


class Waiting:
    """Deliveries in a journal whose webhooks are not registered.

    Attributes:
        kept: the dead letters that were made of them.
        counted: how many, call by call.
        reads: which webhooks were read.
        failing: the next read fails.
    """

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.clock = ManualClock()
        self.kept: list[DeadLetter] = []
        self.counted: list[int] = []
        self.reads: list[str] = []
        self.failing = False
        self._store = JournalDeadLetters(journal, self._commit, self.clock.time)
        self.deliveries = UnregisteredDeliveries(
            self,
            Runtime(Notifier(()), lambda: 0.0, clock=self.clock),
            RetentionPolicy(unregistered=GRACE),
            self._keep,
            self.counted.append,
        )
        #: Called when rows have been read, and nothing has been done with them.
        self.on_read: Callable[[], object] = lambda: None

    async def append(self, webhook_id: str, first: int, events: int) -> None:
        for number in range(first, first + events):
            await self.journal.append_nowait(envelope(number), [(webhook_id, None)])

    async def load(self) -> None:
        """Let the journal be opened, by a process that has registered no webhook yet."""
        self.deliveries.load(await self.journal.lanes(PERMANENT))

    async def read(
        self,
        webhook_id: str,
        *,
        limit: int,
        max_bytes: int,
        after: int = 0,
        key: str | None = None,
        skip_keys: Collection[str] = (),
    ) -> list[StoredDelivery]:
        self.reads.append(webhook_id)
        if self.failing:
            self.failing = False
            raise JournalError(None, "the disk is on fire")
        rows = await self.journal.read(
            PERMANENT,
            webhook_id,
            limit=limit,
            max_bytes=max_bytes,
            after=after,
            key=key,
            skip_keys=skip_keys,
        )
        self.on_read()
        return rows

    def _keep(self, letter: DeadLetter) -> None:
        self.kept.append(letter)
        self._store.add(letter)

    def _commit(self, change: Change) -> None:
        self.journal.commit(PERMANENT, [change])


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    journal = MemoryJournal()
    await journal.open()
    yield Waiting(journal)
    await journal.aclose()


# Claimed


def test_what_the_journal_holds_is_known_by_webhook(waiting: Waiting) -> None:
    heads = [LaneHead("a", 3, 50.0, None), LaneHead("b", 0, 60.0, STATE)]
    waiting.deliveries.load(heads)
    assert waiting.deliveries.pending == {"a": 3}
    assert waiting.deliveries.states == {"a": SavedState(50.0, None), "b": SavedState(60.0, STATE)}


def test_a_webhook_claims_its_deliveries_and_its_state_once(waiting: Waiting) -> None:
    waiting.deliveries.load([LaneHead("crm", 3, 50.0, STATE), LaneHead("other", 1, 50.0, None)])
    assert waiting.deliveries.claim(webhook()) == (3, STATE)
    assert waiting.deliveries.pending == {"other": 1}
    assert waiting.deliveries.claim(webhook())[0] is None


def test_a_state_of_another_endpoint_is_not_claimed(waiting: Waiting) -> None:
    """The deliveries are: they go to the webhook, wherever it has moved."""
    waiting.deliveries.load([LaneHead("crm", 3, 50.0, STATE)])
    assert waiting.deliveries.claim(webhook(url="https://moved.example/")) == (3, {})


@pytest.mark.parametrize("heads", [[], [LaneHead("crm", 0, 50.0, None)]], ids=["unknown", "empty"])
def test_where_nothing_is_left_nothing_is_claimed(waiting: Waiting, heads: list[LaneHead]) -> None:
    waiting.deliveries.load(heads)
    assert waiting.deliveries.claim(webhook()) == (None, {})


def test_a_state_that_is_noted_is_claimed_and_seen_now(waiting: Waiting) -> None:
    waiting.deliveries.note("crm", STATE)
    assert waiting.deliveries.states["crm"] == SavedState(waiting.clock.now, STATE)
    assert waiting.deliveries.claim(webhook()) == (None, STATE)


def test_what_no_webhook_has_claimed_is_logged(
    waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    waiting.deliveries.load([LaneHead("crm", 3, 50.0, None), LaneHead("gone", 7, 50.0, None)])
    waiting.deliveries.claim(webhook())
    waiting.deliveries.warn()
    assert caplog.messages == [
        "the journal holds 7 deliveries for webhook gone, which is not registered"
    ]


# Given up


async def test_what_has_waited_too_long_is_dead_lettered_oldest_first(waiting: Waiting) -> None:
    await waiting.append("gone", 1, 3)
    waiting.journal.touch(["gone"], waiting.clock.now)
    await waiting.load()
    waiting.clock.advance(GRACE - 1)
    await waiting.deliveries.dead_letter_old()
    assert (waiting.kept, waiting.deliveries.pending) == ([], {"gone": 3})
    waiting.clock.advance(1)
    await waiting.deliveries.dead_letter_old()
    assert [letter.event_id for letter in waiting.kept] == ["event-1", "event-2", "event-3"]
    assert {letter.reason for letter in waiting.kept} == {"unregistered"}
    assert {letter.died_at.timestamp() for letter in waiting.kept} == {waiting.clock.now}
    assert (waiting.deliveries.pending, sum(waiting.counted)) == ({}, 3)
    assert await stored(waiting.journal, "gone") == []


async def test_the_wait_is_measured_from_when_the_webhook_was_registered_last(
    waiting: Waiting,
) -> None:
    """However old the events are."""
    waiting.clock.advance(10 * GRACE)
    await waiting.append("late", 1, 1)
    await waiting.append("early", 2, 1)
    waiting.journal.touch(["early"], waiting.clock.now - GRACE)
    waiting.journal.touch(["late"], waiting.clock.now - GRACE + 1)
    await waiting.load()
    await waiting.deliveries.dead_letter_old()
    assert [letter.webhook_id for letter in waiting.kept] == ["early"]
    assert waiting.deliveries.pending == {"late": 1}


async def test_what_was_claimed_is_left_alone(waiting: Waiting) -> None:
    await waiting.append("crm", 1, 2)
    await waiting.load()
    waiting.deliveries.claim(webhook())
    waiting.clock.advance(10 * GRACE)
    await waiting.deliveries.dead_letter_old()
    assert (waiting.kept, waiting.reads, waiting.counted) == ([], [], [])
    assert len(await stored(waiting.journal, "crm")) == 2


@pytest.mark.parametrize("events", [499, 500, 501, 1000])
async def test_more_than_one_read_holds_is_dead_lettered_too(waiting: Waiting, events: int) -> None:
    """Each is kept and counted once."""
    await waiting.append("gone", 1, events)
    await waiting.load()
    waiting.clock.advance(GRACE)
    await waiting.deliveries.dead_letter_old()
    assert [letter.seq for letter in waiting.kept] == [*range(1, events + 1)]
    assert sum(waiting.counted) == events
    assert await stored(waiting.journal, "gone") == []


async def test_what_could_not_be_read_is_dead_lettered_in_the_next_round(
    waiting: Waiting,
) -> None:
    """Until then it is still known, and a webhook may claim it."""
    await waiting.append("gone", 1, 2)
    await waiting.load()
    waiting.clock.advance(GRACE)
    waiting.failing = True
    with pytest.raises(JournalError, match="on fire"):
        await waiting.deliveries.dead_letter_old()
    assert waiting.deliveries.pending == {"gone": 2}
    await waiting.deliveries.dead_letter_old()
    assert [letter.event_id for letter in waiting.kept] == ["event-1", "event-2"]
    assert waiting.deliveries.pending == {}


async def test_what_is_claimed_while_it_is_read_is_left_to_its_webhook(waiting: Waiting) -> None:
    await waiting.append("crm", 1, 2)
    await waiting.load()
    waiting.clock.advance(GRACE)
    claimed = []
    waiting.on_read = lambda: claimed.append(waiting.deliveries.claim(webhook()))
    await waiting.deliveries.dead_letter_old()
    assert [pending for pending, _ in claimed] == [2]
    assert (waiting.kept, waiting.counted, waiting.deliveries.pending) == ([], [], {})


# Of a running Hooks


@pytest.mark.usefixtures("unavailable")
async def test_what_no_webhook_claims_is_a_dead_letter_after_a_while(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    mood.fault = Hang()
    async with opened(webhook_to(receiver)) as hooks:
        ids = [await emit(hooks) for _ in range(3)]
    watch, started = Watch(), clock.time()
    retention = RetentionPolicy(unregistered=timedelta(hours=1))
    async with opened(retention=retention, observers=[watch]) as hooks:
        await clock.advance(3500)
        await soon(hooks.deliveries())
        assert hooks.unregistered == {"root": 3}
        while hooks.unregistered:
            await clock.advance(60)
            await soon(hooks.deliveries())
        assert clock.time() - started >= 3600
        await watch.until(lambda: len(watch.letters) == 3)
        found = await hooks.dead_letters(reason="unregistered")
        assert [letter.event_id for letter in found] == ids
        assert hooks.stats()[:6] == (3, 0, 3, 0, 0, 0)
