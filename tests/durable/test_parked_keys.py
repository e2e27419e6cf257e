"""What is left in the journal: by when it is due, one entry a key, no answer twice."""

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
        self.aside = ParkedKeys(self, self.wake)

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def lane() -> Lane:
    return Lane()


def due_key(lane: Lane) -> str | None:
    entry = lane.aside.first_due()
    return entry.key if entry else None


async def test_entries_come_due_in_the_order_of_their_times(lane: Lane) -> None:
    now = lane.clock.monotonic()
    lane.aside.add("late", 1, now + 20)
    lane.aside.add("soon", 2, now + 10)
    assert due_key(lane) is None
    await lane.time.advance(10)
    assert lane.woken == 1
    assert due_key(lane) == "soon"
    await lane.time.advance(10)
    entry = lane.aside.first_due()
    assert entry is not None
    lane.aside.discard(entry)
    assert due_key(lane) == "late"


async def test_a_key_stays_set_aside_while_it_is_read(lane: Lane) -> None:
    """Being due takes nothing away: only discarding it does."""
    lane.aside.add("k", 7, lane.clock.monotonic())
    entry = lane.aside.first_due()
    assert entry is not None
    assert entry is lane.aside.first_due() is lane.aside.get("k")
    assert (entry.after, [*lane.aside.keys]) == (7, ["k"])
    lane.aside.discard(entry)
    assert lane.aside.get("k") is lane.aside.first_due() is None
    assert len(lane.aside) == 0


async def test_the_last_word_on_a_key_holds(lane: Lane) -> None:
    now = lane.clock.monotonic()
    lane.aside.add("k", 1, now)
    lane.aside.add("k", 5, now + 30)
    assert due_key(lane) is None
    assert len(lane.aside) == 1
    await lane.time.advance(30)
    entry = lane.aside.first_due()
    assert entry is not None
    assert entry.after == 5


async def test_deliveries_without_a_key_are_entries_of_their_own(lane: Lane) -> None:
    now = lane.clock.monotonic()
    lane.aside.add(None, 3, now)
    lane.aside.add(None, 4, now)
    assert len(lane.aside) == 2
    assert [*lane.aside.keys] == []
    assert lane.aside.get(None) is None


async def test_what_waits_for_the_memory_is_due_once_that_has_drained(lane: Lane) -> None:
    lane.aside.add("hot", 9, NEVER)
    await lane.time.advance(1e6)
    assert due_key(lane) is None
    lane.aside.drained("hot")
    assert due_key(lane) == "hot"


async def test_what_waits_for_its_time_is_not_due_for_being_drained(lane: Lane) -> None:
    lane.aside.add("parked", 9, lane.clock.monotonic() + 60)
    lane.aside.drained("parked")
    lane.aside.drained("unknown")
    assert due_key(lane) is None


async def test_cleared_it_wakes_nobody(lane: Lane) -> None:
    lane.aside.add("k", 1, lane.clock.monotonic() + 5)
    lane.aside.clear()
    await lane.time.advance(10)
    assert lane.woken == 0
    assert len(lane.aside) == 0
