"""Room in the journal: the four policies, the order of waiting events, and what gives room back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

import pytest
from support import turns
from support.journals import dead, delivered, envelope

from relaybox_hooks import HooksClosedError, PayloadError, Webhook
from relaybox_hooks.durable.journal_room import Append, JournalRoom
from relaybox_hooks.journal import Journal, JournalError, JournalFullError, SQLiteJournal
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.room import Waiter, wait_for_room
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.testing import MemoryJournal, VirtualClock
from relaybox_hooks.validation import Overflow

FOREVER: Final = float("inf")


class Lane:
    """As much of a webhook's lane as a room needs: the numbers of its deliveries, oldest first.

    Args:
        in_flight: how many of the oldest cannot be dropped.
        unread: how many of the newest are in the journal only.
    """

    webhook = Webhook("http://127.0.0.1:9/", ["*"], "key", id="a")
    closed_for = None

    def __init__(
        self, journal: Journal, seqs: Sequence[int], *, in_flight: int = 0, unread: int = 0
    ) -> None:
        self._journal = journal
        self.in_flight = in_flight
        self._unread = unread
        self.seqs = list(seqs)

    @property
    def pending(self) -> int:
        return len(self.seqs)

    def drop_one(self) -> bool:
        if self.pending <= self.in_flight + self._unread:
            return False
        dead(self._journal, self.seqs.pop(self.in_flight), reason="overflow", attempts=0)
        return True


@dataclass(frozen=True)
class Emit:
    """What an event of a room comes from: notes what has become of it."""

    emits: Emits
    number: int
    targets: int

    def append_done(self, seqs: Sequence[int], pending: bool) -> None:
        assert len(seqs) == self.targets
        self.emits.stored.append((self.number, pending))

    def append_failed(self) -> None:
        self.emits.failed.append(self.number)


class Emits:
    """A room, and events that are offered to it as the gateway offers them.

    Attributes:
        failed: the number of each event that was not stored.
        stored: the number of each event that was stored, and whether its deliveries are pending.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.lanes: list[Lane] = []
        self.failed: list[int] = []
        self.stored: list[tuple[int, bool]] = []
        self.room = JournalRoom(journal, self._lanes_by_id)

    def _lanes_by_id(self) -> dict[str, WebhookLane]:
        return cast("dict[str, WebhookLane]", {str(n): lane for n, lane in enumerate(self.lanes)})

    def append(self, number: int, targets: int = 1, *, name: str = "room:join") -> Append:
        """The event of that number, to so many targets."""
        lane = cast("WebhookLane", Lane(self.journal, []))
        addressed = [(lane, Delivery(envelope(number, name), None)) for _ in range(targets)]
        return Append(envelope(number, name), addressed, self.room, Emit(self, number, targets))

    def offer(self, append: Append) -> bool | Waiter[Append]:
        """Offer it at once, and else by the policy."""
        if self.room.append_at_once(append):
            return True
        self.room.check(append)
        return self.room.offer(append, wait=True)

    def wait(self, append: Append) -> Waiter[Append]:
        """Offer an event for which there is no room now."""
        outcome = self.offer(append)
        assert isinstance(outcome, Waiter)
        return outcome

    def settle(self, *seqs: int) -> None:
        """Commit that these were delivered, and let those in that waited for it."""
        delivered(self.journal, *seqs)
        self.room.serve_waiters()

    @property
    def pending(self) -> int:
        return self.journal.backlog().pending


@asynccontextmanager
async def emits(journal: Journal, *, pending: int = 0) -> AsyncIterator[Emits]:
    """A room in a journal with so many deliveries pending."""
    await journal.open()
    if pending:
        await journal.append_nowait(envelope(0), [("a", None)] * pending)
    yield Emits(journal)
    await journal.aclose()


def journal_of_four(overflow: Overflow = "wait") -> MemoryJournal:
    return MemoryJournal(max_pending=4, overflow=overflow)


# Policies


@pytest.mark.parametrize("overflow", get_args(Overflow))
async def test_where_there_is_room_every_policy_appends(overflow: Overflow) -> None:
    async with emits(journal_of_four(overflow)) as each:
        appends = [each.append(1), each.append(2, targets=3)]
        assert [each.offer(append) for append in appends] == [True, True]
        assert each.pending == 4
        assert [await append.stored for append in appends] == [True, True]
        assert each.stored == [(1, True), (2, True)]


async def test_a_full_journal_can_let_an_event_wait() -> None:
    async with emits(journal_of_four("wait"), pending=4) as each:
        append = each.append(1)
        waiter = each.wait(append)
        assert (waiter.taken, each.pending) == (None, 4)
        each.settle(1)
        assert (waiter.taken, each.pending) == (True, 4)
        assert await append.stored
        assert each.stored == [(1, True)]


async def test_a_full_journal_can_drop_the_newest() -> None:
    """The event is stored as dead letters, for which there is always room."""
    async with emits(journal_of_four("drop_newest"), pending=4) as each:
        append = each.append(1, targets=2)
        assert each.offer(append) is False
        assert await append.stored is False
        assert each.stored == [(1, False)]
        assert each.pending == 4
        letters = await each.journal.dead_letters()
        assert [(row.envelope.id, row.reason) for row in letters] == [("event-1", "overflow")] * 2


async def test_a_full_journal_can_drop_the_oldest_of_the_fullest_lane() -> None:
    """As many as the event needs room for."""
    async with emits(journal_of_four("drop_oldest"), pending=3) as each:
        small, full = Lane(each.journal, [1]), Lane(each.journal, [2, 3])
        each.lanes = [small, full]
        append = each.append(1, targets=3)
        assert each.offer(append) is True
        assert await append.stored
        assert (small.seqs, full.seqs, each.pending) == ([1], [], 4)
        letters = await each.journal.dead_letters(reason="overflow")
        assert [row.seq for row in letters] == [2, 3]


async def test_where_the_fullest_lane_holds_too_few_the_next_one_drops_as_well() -> None:
    """Or else its deliveries are dropped for nothing, and the event too."""
    async with emits(journal_of_four("drop_oldest"), pending=4) as each:
        each.lanes = [Lane(each.journal, [1, 2]), Lane(each.journal, [3, 4])]
        append = each.append(1, targets=3)
        assert each.offer(append) is True
        assert await append.stored
        assert sum(lane.pending for lane in each.lanes) == 1
        assert each.pending == 4


async def test_no_other_lane_pays_for_one_whose_deliveries_are_in_the_journal_only() -> None:
    """A dead webhook that fills the journal does not cost a healthy one its deliveries."""
    async with emits(journal_of_four("drop_oldest"), pending=4) as each:
        dead_webhook, healthy = Lane(each.journal, [1, 2, 3], unread=3), Lane(each.journal, [4])
        each.lanes = [dead_webhook, healthy]
        append = each.append(1)
        assert each.offer(append) is False
        assert await append.stored is False
        assert (dead_webhook.pending, healthy.pending, each.pending) == (3, 1, 4)


async def test_where_nothing_can_be_dropped_the_event_is() -> None:
    """What is in flight is never dropped."""
    async with emits(journal_of_four("drop_oldest"), pending=4) as each:
        each.lanes = [Lane(each.journal, [1, 2, 3, 4], in_flight=4)]
        append = each.append(1)
        assert each.offer(append) is False
        assert await append.stored is False
        letters = await each.journal.dead_letters()
        assert [(row.envelope.id, row.reason) for row in letters] == [("event-1", "overflow")]
        assert each.pending == 4


async def test_a_full_journal_can_raise(tmp_path: Path) -> None:
    path = tmp_path / "hooks.db"
    for journal in (
        journal_of_four("raise"),
        SQLiteJournal(path, max_pending=4, overflow="raise"),
    ):
        async with emits(journal, pending=3) as each:
            with pytest.raises(JournalFullError, match="max_pending is 4") as caught:
                each.offer(each.append(1, targets=2))
            error = caught.value
            assert (error.path, error.limit, error.pending) == (journal.path, 4, 3)
            assert each.journal.backlog() == (3, 3)
            assert each.offer(each.append(2)) is True


@pytest.mark.parametrize("overflow", get_args(Overflow))
async def test_an_event_with_more_targets_than_max_pending_is_rejected_at_once(
    overflow: Overflow,
) -> None:
    """It would wait forever, or drop everything for nothing."""
    async with emits(journal_of_four(overflow), pending=1) as each:
        each.lanes = [Lane(each.journal, [1])]
        with pytest.raises(JournalFullError):
            each.offer(each.append(1, targets=5))
        assert each.journal.backlog() == (1, 1)
        assert each.offer(each.append(2)) is True


# Waiting


async def test_those_that_wait_are_served_in_their_order() -> None:
    """A later event that would fit waits behind one that does not."""
    async with emits(journal_of_four(), pending=3) as each:
        large, small, last = each.append(1, targets=2), each.append(2), each.append(3)
        waiters = [each.wait(append) for append in (large, small, last)]
        assert each.pending == 3
        each.settle(1)
        assert [waiter.taken for waiter in waiters] == [True, None, None]
        each.settle(2, 3)
        assert [waiter.taken for waiter in waiters] == [True, True, True]
        assert [await append.stored for append in (large, small, last)] == [True, True, True]
        assert each.stored == [(1, True), (2, True), (3, True)]


async def test_an_event_with_too_many_targets_does_not_wait_behind_others() -> None:
    async with emits(journal_of_four(), pending=4) as each:
        waiter = each.wait(each.append(1))
        with pytest.raises(JournalFullError):
            each.offer(each.append(2, targets=5))
        each.settle(1)
        assert waiter.taken


async def start_waiting(
    each: Emits, append: Append, clock: VirtualClock, timeout: float = FOREVER
) -> asyncio.Task[None]:
    waiter = each.wait(append)
    task = asyncio.ensure_future(wait_for_room([(each.room, waiter)], clock, timeout))
    await turns()
    return task


async def test_a_cancelled_waiter_leaves_and_its_event_is_a_dead_letter() -> None:
    async with emits(journal_of_four(), pending=4) as each:
        clock = VirtualClock()
        first, second, third = (each.append(number) for number in (1, 2, 3))
        tasks = [await start_waiting(each, append, clock) for append in (first, second, third)]
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert tasks[1].cancelled()
        assert await second.stored is False
        each.settle(1, 2)
        await asyncio.gather(tasks[0], tasks[2])
        assert [await append.stored for append in (first, third)] == [True, True]
        assert each.stored == [(2, False), (1, True), (3, True)]
        assert each.pending == 4


async def test_a_waiter_whose_time_is_over_leaves_and_its_event_is_a_dead_letter() -> None:
    async with emits(journal_of_four(), pending=4) as each:
        clock = VirtualClock()
        append = each.append(1)
        waiting = await start_waiting(each, append, clock, 3.0)
        await clock.advance(2.9)
        assert each.room.waiters
        await clock.advance(0.1)
        await waiting
        assert await append.stored is False
        assert not each.room.waiters
        assert each.pending == 4
        assert each.stored == [(1, False)]


async def test_a_waiter_that_leaves_lets_in_those_behind_it_that_fit() -> None:
    """They waited for it, not for room."""
    async with emits(journal_of_four(), pending=3) as each:
        clock = VirtualClock()
        large, small = each.append(1, targets=2), each.append(2)
        waiting = await start_waiting(each, large, clock, 3.0)
        behind = await start_waiting(each, small, clock)
        await clock.advance(3.0)
        await waiting
        await turns()
        served = behind.done()
        behind.cancel()
        await asyncio.wait([behind])
        assert served
        assert each.stored == [(1, False), (2, True)]


async def test_closing_rejects_those_that_wait() -> None:
    """Nothing of them is stored, and their emits know it."""
    async with emits(journal_of_four(), pending=4) as each:
        appends = [each.append(1), each.append(2)]
        waiters = [each.wait(append) for append in appends]
        each.room.reject_waiters("shutdown")
        assert [waiter.taken for waiter in waiters] == [False, False]
        for append in appends:
            with pytest.raises(HooksClosedError):
                await append.stored
        each.settle(1)
        assert (each.failed, each.stored) == ([1, 2], [])
        assert each.journal.backlog() == (3, 4)


# Appends


async def test_an_append_that_fails_gives_its_room_back(tmp_path: Path) -> None:
    """To those that wait for it, of which another one fails: its name cannot be stored."""
    journal = SQLiteJournal(tmp_path / "hooks.db", max_pending=2)
    async with emits(journal, pending=1) as each:
        first, second = each.append(1, name="\ud800"), each.append(2, name="\ud800")
        third = each.append(3)
        assert each.offer(first) is True
        waiters = [each.wait(second), each.wait(third)]
        assert each.pending == 2
        for broken in (first, second):
            with pytest.raises(JournalError, match="cannot be stored"):
                await broken.stored
        assert await third.stored
        assert [waiter.taken for waiter in waiters] == [True, True]
        assert (each.failed, each.stored) == ([1, 2], [(3, True)])
        assert each.pending == 2


async def test_an_append_that_the_journal_rejects_takes_no_room() -> None:
    """Whether it is tried at once or after a wait."""
    async with emits(journal_of_four(), pending=4) as each:
        bad: list[tuple[str, str | None]] = [("a", "\ud800")]
        waiting = each.append(1)
        waiting.targets = bad
        waiter, behind = each.wait(waiting), each.wait(each.append(2))
        each.settle(1)
        assert (waiter.taken, behind.taken) == (True, True)
        with pytest.raises(PayloadError):
            await waiting.stored
        each.settle(2)
        at_once = each.append(3)
        at_once.targets = bad
        with pytest.raises(PayloadError):
            each.offer(at_once)
        assert each.pending == 3
        await turns()
        assert each.stored == [(2, True)]


async def test_a_cancelled_emit_still_hands_on_what_was_stored(tmp_path: Path) -> None:
    async with emits(SQLiteJournal(tmp_path / "hooks.db")) as each:
        appends: list[Any] = [each.append(1), each.append(2, name="\ud800")]
        assert each.offer(appends[0]) is True
        appends[0].stored.cancel()
        await each.journal.flush()
        assert each.stored == [(1, True)]
        assert each.offer(appends[1]) is True
        appends[1].stored.cancel()
        await each.journal.flush()
        assert each.stored == [(1, True)]
        assert each.pending == 1
