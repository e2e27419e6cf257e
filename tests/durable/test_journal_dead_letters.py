"""Dead letters in a journal: committed, found again, and sent by one replay at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import Mood, Opened, assert_consistent, emit, soon, webhook_to
from support.journals import dead, envelope

from relaybox_hooks import ConfigError, DeadLetter
from relaybox_hooks.durable.journal_dead_letters import JournalDeadLetters
from relaybox_hooks.journal import PERMANENT, Change, StoredDelivery
from relaybox_hooks.outcome import FAILED, RETRY, Outcome
from relaybox_hooks.testing import Answer, FaultReceiver, MemoryJournal, VirtualClock

NOW = 1_000.0
BUSY = Outcome(RETRY, 503)


class Store:
    """Dead letters in a journal, and the changes that they committed to it."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.changes: list[Change] = []
        self.letters = JournalDeadLetters(journal, self.commit, lambda: NOW)

    def commit(self, change: Change) -> None:
        self.changes.append(change)
        self.journal.commit(PERMANENT, [change])

    async def append(self, number: int, webhook_id: str = "a", **options: Any) -> int:
        """Append an event for one webhook; returns the number of its delivery."""
        (seq,) = await self.journal.append_nowait(envelope(number, **options), [(webhook_id, None)])
        return seq

    async def dead_letter(self, number: int) -> DeadLetter:
        """A dead letter as the journal has it."""
        dead(self.journal, await self.append(number), attempts=3, at=100.0)
        return (await self.letters.select())[-1]

    async def row(self, seq: int) -> StoredDelivery:
        (row,) = [row for row in await self.journal.deliveries() if row.seq == seq]
        return row


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    journal = MemoryJournal()
    await journal.open()
    yield Store(journal)
    await journal.aclose()


def dead_letter(seq: int, **values: Any) -> DeadLetter:
    """A dead letter of the event with the number ``seq``."""
    defaults: dict[str, Any] = {
        "webhook_id": "a",
        "reason": "exhausted",
        "outcome": BUSY,
        "attempts": 3,
        "died_at": datetime.fromtimestamp(500.5, UTC),
        "envelope": envelope(seq),
        "seq": seq,
    }
    return DeadLetter(**(defaults | values))


# Changes


async def test_a_pending_delivery_becomes_a_dead_letter_of_its_own_time(store: Store) -> None:
    seq = await store.append(1)
    store.letters.add(dead_letter(seq))
    assert store.changes == [Change(seq, "dead", 3, BUSY, 500.5, "exhausted", "pending")]
    row = await store.row(seq)
    assert (row.state, row.reason, row.at, row.attempts) == ("dead", "exhausted", 500.5, 3)
    assert store.journal.backlog().pending == 0


async def test_what_was_rejected_on_arrival_was_never_pending(store: Store) -> None:
    """It was appended as dead; the change must not take it from what is pending."""
    (seq,) = await store.journal.append_nowait(envelope(1), [("a", None)], dead="overflow")
    rejected = dead_letter(seq, reason="overflow", outcome=None, attempts=0)
    store.letters.add(rejected, rejected=True)
    assert store.changes == [Change(seq, "dead", 0, None, 500.5, "overflow", "dead")]
    assert store.journal.backlog().pending == 0


async def test_a_replay_that_delivers_makes_a_delivery_of_it(store: Store) -> None:
    letter = await store.dead_letter(1)
    store.letters.remove(letter, Outcome("delivered", 204))
    assert store.changes == [
        Change(letter.seq, "delivered", 4, Outcome("delivered", 204), NOW, before="dead")
    ]
    assert await store.letters.select() == []
    assert (await store.row(letter.seq)).state == "delivered"


async def test_a_replay_that_fails_leaves_the_newer_dead_letter(store: Store) -> None:
    letter = await store.dead_letter(1)
    newer = dead_letter(letter.seq, reason="rejected", outcome=Outcome(FAILED, 404), attempts=4)
    store.letters.replace(letter, newer)
    (change,) = store.changes
    assert (change.state, change.before, change.attempts) == ("dead", "dead", 4)
    (found,) = await store.letters.select()
    assert (found.reason, found.status, found.attempts) == ("rejected", 404, 4)
    assert (found.died_at, found.seq) == (newer.died_at, letter.seq)


# Replays at the same time


async def test_a_dead_letter_is_free_unless_a_replay_is_sending_it(store: Store) -> None:
    letter, other = await store.dead_letter(1), await store.dead_letter(2)
    with store.letters.replaying():
        assert store.letters.is_free(letter)
        with store.letters.claim(letter):
            assert not store.letters.is_free(letter)
            assert store.letters.is_free(other)


async def test_what_was_sent_is_sent_again_by_no_replay_that_began_before(store: Store) -> None:
    """A second replay found it while the first was sending it."""
    letter = await store.dead_letter(1)
    with store.letters.replaying():
        with store.letters.replaying():
            with store.letters.claim(letter):
                pass
            assert not store.letters.is_free(letter)
        assert not store.letters.is_free(letter), "one of the two replays is still under way"
    assert store.letters.is_free(letter)


async def test_after_an_error_a_dead_letter_is_claimed_no_longer(store: Store) -> None:
    letter = await store.dead_letter(1)
    with (
        pytest.raises(ZeroDivisionError),
        store.letters.replaying(),
        store.letters.claim(letter),
    ):
        raise ZeroDivisionError
    assert store.letters.is_free(letter)


async def test_the_same_dead_letter_read_twice_is_one(store: Store) -> None:
    """Each query builds new objects: it is the number that counts."""
    letter = await store.dead_letter(1)
    (again,) = await store.letters.select()
    with store.letters.replaying(), store.letters.claim(letter):
        assert again is not letter
        assert not store.letters.is_free(again)


# Queries


async def test_dead_letters_are_found_by_all_that_is_given(store: Store) -> None:
    journal = store.journal
    dead(journal, await store.append(1), at=10.0)
    dead(journal, await store.append(2, "b"), at=20.0, reason="rejected")
    dead(journal, await store.append(3, name="room:leave"), at=30.0)
    await store.append(4)

    async def found(**criteria: Any) -> list[str]:
        return [letter.event_id for letter in await store.letters.select(**criteria)]

    moment = datetime.fromtimestamp(20.0, UTC)
    assert await found() == ["event-1", "event-2", "event-3"]
    assert await found(event_id="event-2") == ["event-2"]
    assert await found(webhook_id="a") == ["event-1", "event-3"]
    assert await found(event="room:leave") == ["event-3"]
    assert await found(reason="rejected") == ["event-2"]
    assert await found(since=moment) == ["event-2", "event-3"], "since includes the moment itself"
    assert await found(until=moment) == ["event-1"], "until does not"
    assert await found(since=moment, until=moment + timedelta(seconds=1)) == ["event-2"]
    assert await found(webhook_id="b", reason="exhausted") == []


@pytest.mark.parametrize("option", ["since", "until"])
async def test_a_moment_without_a_time_zone_is_an_error(store: Store, option: str) -> None:
    criteria: Any = {option: datetime(2023, 11, 14)}  # noqa: DTZ001
    with pytest.raises(ConfigError, match=rf"{option}=.*give it a time zone"):
        await store.letters.select(**criteria)


# Of a running Hooks


@pytest.mark.usefixtures("unavailable")
async def test_dead_letters_of_an_earlier_process_can_be_replayed(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    mood.fault = Answer(404)
    async with opened(webhook_to(receiver)) as hooks:
        event_id = await emit(hooks)
        await soon(hooks.join())
        assert hooks.stats().failed == 1
    await clock.advance(1)
    async with opened(webhook_to(receiver)) as hooks:
        (letter,) = await hooks.dead_letters(reason="rejected", event_id=event_id)
        assert (letter.status, letter.attempts, letter.event.name) == (404, 1, "room:join")
        assert await soon(hooks.replay()) == (0, 1, 0)
        (letter,) = await hooks.dead_letters()
        assert letter.attempts == 2
        mood.fault = Answer()
        assert await soon(hooks.replay()) == (1, 0, 0)
        assert await hooks.dead_letters() == []
        (entry,) = await hooks.deliveries(status="delivered")
        assert (entry.event_id, entry.attempts) == (event_id, 3)
        assert_consistent(hooks.stats())
        assert hooks.stats()[:3] == (0, 0, 0)  # the earlier process counted it
        assert hooks.stats().replayed == 1


@pytest.mark.usefixtures("unavailable")
async def test_two_replays_at_once_send_each_dead_letter_once(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    mood.fault = Answer(404)
    async with opened(webhook_to(receiver)) as hooks:
        for _ in range(5):
            await emit(hooks)
        await soon(hooks.join())
        mood.fault = Answer()
        replays = [asyncio.ensure_future(hooks.replay(rate=10)) for _ in range(2)]
        while not all(replay.done() for replay in replays):
            await clock.advance(0.1)
        assert sum(replay.result().delivered for replay in replays) == 5
        assert len(receiver.requests) == 10
        assert hooks.stats()[:3] == (5, 0, 5)
        assert hooks.stats().replayed == 5
