"""Parked keys come due in the order of their times, and there is one entry for each."""

from __future__ import annotations

import pytest

from relaybox_hooks.clock import Clock
from relaybox_hooks.durable.parked_keys import ParkedKeys
from relaybox_hooks.testing import VirtualClock

NEVER = float("inf")


class Lane:
    """The owner, and how often it was woken."""

    def __init__(self) -> None:
        self.time = VirtualClock()
        self.clock: Clock = self.time
        self.woken = 0
        self.parked = ParkedKeys(self, self.wake)

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def lane() -> Lane:
    return Lane()


def due_key(lane: Lane) -> str | None:
    entry = lane.parked.first_due()
    return entry.key if entry else None


async def test_entries_come_due_in_the_order_of_their_times(lane: Lane) -> None:
    now = lane.clock.monotonic()
    lane.parked.add("late", 1, now + 20)
    lane.parked.add("soon", 2, now + 10)
    assert due_key(lane) is None
    await lane.time.advance(10)
    assert lane.woken == 1
    assert due_key(lane) == "soon"
    await lane.time.advance(10)
    entry = lane.parked.first_due()
    assert entry is not None
    lane.parked.discard(entry)
    assert due_key(lane) == "late"


async def test_a_key_stays_parked_while_it_is_read(lane: Lane) -> None:
    """Being due takes nothing away: only discarding it does."""
    lane.parked.add("k", 7, lane.clock.monotonic())
    entry = lane.parked.first_due()
    assert entry is not None
    assert entry is lane.parked.first_due()
    assert (entry.after, lane.parked.by_key, lane.parked.entries) == (7, {"k": entry}, {entry})
    lane.parked.discard(entry)
    assert lane.parked.first_due() is None
    assert (lane.parked.by_key, lane.parked.entries) == ({}, set())


async def test_the_latest_entry_of_a_key_replaces_the_earlier_one(lane: Lane) -> None:
    now = lane.clock.monotonic()
    lane.parked.add("k", 1, now)
    lane.parked.add("k", 5, now + 30)
    assert due_key(lane) is None
    assert len(lane.parked.entries) == 1
    await lane.time.advance(30)
    entry = lane.parked.first_due()
    assert entry is not None
    assert entry.after == 5


async def test_deliveries_without_a_key_are_entries_of_their_own(lane: Lane) -> None:
    now = lane.clock.monotonic()
    lane.parked.add(None, 3, now)
    lane.parked.add(None, 4, now)
    assert sorted(entry.after for entry in lane.parked.entries) == [3, 4]
    assert lane.parked.by_key == {}


async def test_what_waits_for_the_memory_is_due_once_that_has_drained(lane: Lane) -> None:
    lane.parked.add("hot", 9, NEVER)
    await lane.time.advance(1e6)
    assert due_key(lane) is None
    lane.parked.drained("hot")
    assert due_key(lane) == "hot"


async def test_what_waits_for_its_time_is_not_due_for_being_drained(lane: Lane) -> None:
    lane.parked.add("parked", 9, lane.clock.monotonic() + 60)
    lane.parked.drained("parked")
    lane.parked.drained("unknown")
    assert due_key(lane) is None


async def test_cleared_it_is_empty_and_its_timer_does_not_fire(lane: Lane) -> None:
    lane.parked.add("k", 1, lane.clock.monotonic() + 5)
    lane.parked.clear()
    await lane.time.advance(10)
    assert lane.woken == 0
    assert (lane.parked.by_key, lane.parked.entries) == ({}, set())
