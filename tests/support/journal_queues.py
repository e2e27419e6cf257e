"""A journal queue without a lane or a journal: fakes that check every move made on them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import accumulate
from typing import Literal, TypeAlias

from relaybox_hooks.durable.journal_queue import JournalQueue
from relaybox_hooks.durable.lane_store import QueueCallbacks
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import Change, DeliveryState, StoredDelivery, StoredOutcome
from relaybox_hooks.lanes.delivery import IN_FLIGHT, REMOVED, Delivery
from relaybox_hooks.outcome import DELIVERED, RETRY, Outcome
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.wire.envelope import Envelope

WEBHOOK = "webhook"

#: Bytes of events, in turn.
SIZES = (0, 4, 10, 25, 60)

#: When a query finds rows.
Finds: TypeAlias = Literal["and answers at once", "at once", "later"]


class Row:
    """A delivery in the fake journal.

    Attributes:
        lane: the lane that it was appended for, or that has taken it over.
        stored: it is committed, and queries find it.
        put: its lane has counted it.
        doomed: it had its number, or was put, while its lane was closed, and must be given up;
            ``None`` where it may be, because it was in flight then.
    """

    def __init__(self, seq: int, key: str | None, lane: FakeLane, now: float) -> None:
        self.seq = seq
        self.key = key
        self.lane = lane
        self.envelope = Envelope(str(seq), "room:join", b"x" * SIZES[seq % len(SIZES)], now)
        self.stored = False
        self.put = False
        self.doomed: bool | None = False
        self.state: DeliveryState = "pending"
        self.attempts = 0
        self.due = now

    def __repr__(self) -> str:
        stage = "" if self.put else " unput" if self.stored else " being appended"
        return f"<{self.seq} {self.key} {self.state}{stage} x{self.attempts} {self.doomed}>"

    @property
    def pending(self) -> bool:
        return self.stored and self.state == "pending"

    def snapshot(self) -> StoredDelivery:
        outcome = StoredOutcome(503, None, "") if self.attempts else None
        envelope, state, attempts, due = self.envelope, self.state, self.attempts, self.due
        return StoredDelivery(
            self.seq, WEBHOOK, self.key, envelope, state, attempts, due, outcome, None, None
        )


class Read:
    """A query under way. It finds what the journal holds at any one moment until its answer."""

    def __init__(
        self,
        journal: FakeJournal,
        limit: int,
        max_bytes: int,
        after: int,
        key: str | None,
        skip_keys: Collection[str],
    ) -> None:
        self._journal = journal
        self._wanted = limit, max_bytes, after, key, frozenset(skip_keys)
        self.rows: list[StoredDelivery] | None = None
        self.future: asyncio.Future[list[StoredDelivery]] = journal.runtime.loop.create_future()

    def look(self) -> None:
        """Find rows now, unless that was done already; what happens later is not in the answer."""
        if self.rows is None:
            self.rows = self._journal.find(*self._wanted)

    def answer(self) -> None:
        self.look()
        if not self.future.done():
            self.future.set_result(self.rows or [])

    def fail(self) -> None:
        if not self.future.done():
            self.future.set_exception(JournalError(None, "unreadable"))


class FakeJournal:
    """A source and sink of queues: numbered rows, and queries that a test answers.

    Args:
        runtime: of the queues.
        finds: when queries find rows: as they are made, or later; the answers come when a test
            gives them, or at once too, as from a journal in memory.

    Attributes:
        rows: all of them, by number, those being appended included.
        reads: queries under way.
    """

    def __init__(self, runtime: Runtime, finds: Finds) -> None:
        self.runtime = runtime
        self.rows: dict[int, Row] = {}
        self.reads: list[Read] = []
        self._finds = finds
        self.begun = 0
        self.reads_in_a_turn = 0
        self._last_seq = 0

    def append(self, key: str | None, lane: FakeLane, *, others: int = 0) -> Row:
        """Begin to append a row, after ``others`` of other webhooks."""
        self._last_seq += 1 + others
        row = Row(self._last_seq, key, lane, self.runtime.clock.time())
        self.rows[row.seq] = row
        return row

    def fail_to_store(self) -> bool:
        """Let the oldest append fail that is under way; return whether there was one."""
        row = next((row for row in self.rows.values() if not row.stored), None)
        if row is None:
            return False
        del self.rows[row.seq]
        return True

    def of(self, lane: FakeLane) -> list[Row]:
        return [row for row in self.rows.values() if row.lane is lane]

    def find(
        self, limit: int, max_bytes: int, after: int, key: str | None, skip_keys: Collection[str]
    ) -> list[StoredDelivery]:
        found = [
            row.snapshot()
            for row in self.rows.values()
            if row.pending
            and row.seq > after
            and (key is None or row.key == key)
            and row.key not in skip_keys
        ]
        sizes = accumulate((len(row.envelope.prefix) for row in found), initial=0)
        within = [row for row, before in zip(found, sizes, strict=False) if before < max_bytes]
        return within[:limit]

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
        assert webhook_id == WEBHOOK
        assert limit > 0
        assert max_bytes > 0
        self.begun += 1
        self.reads_in_a_turn += 1
        assert self.reads_in_a_turn < 100, "it reads on and on"
        if self._finds == "and answers at once":
            return self.find(limit, max_bytes, after, key, skip_keys)
        read = Read(self, limit, max_bytes, after, key, skip_keys)
        if self._finds == "at once":
            read.look()
        self.reads.append(read)
        try:
            return await read.future
        finally:
            self.reads.remove(read)

    def commit(self, change: Change) -> None:
        row = self.rows[change.seq]
        assert row.pending, f"{row} is settled twice"
        row.state, row.attempts = change.state, change.attempts
        if change.state == "pending":
            row.due = change.at

    def last_seq(self) -> int:
        return self._last_seq


class FakeLane:
    """A lane's side of a queue: counts what it is given, and makes attempts that never end.

    Args:
        journal: of its queue.
        queue_size: of its queue.
        share: how many deliveries of a key it has in memory; an eighth of a real queue.
        unit: bytes that there is room for in memory, for each delivery.
        max_age: seconds after which a delivery is given up; ``None``: never.

    Attributes:
        bound: how many deliveries are ever in memory: one read of a key may find that puts have
            taken the room that it was made for.
        bound_in_bytes: the same, in bytes of their events.
        in_flight: what ``next`` has returned and nothing has become of yet.
        retired: closed for good, its webhook was removed.
    """

    def __init__(
        self,
        journal: FakeJournal,
        queue_size: int,
        *,
        share: int = 1,
        unit: int = 1000,
        max_age: float | None = None,
    ) -> None:
        self.journal = journal
        self.bound = queue_size + share
        self.bound_in_bytes = unit * self.bound + 2 * max(SIZES)
        self.in_flight: list[Delivery] = []
        self.pending = 0
        self.closed = False
        self.retired = False
        self._max_age = max_age
        self._entered: set[Delivery] = set()
        callbacks = QueueCallbacks(lambda: None, self._enter, self._give_up)
        settings = Settings(queue_size=queue_size, max_age=max_age)
        self.queue = JournalQueue(
            journal.runtime,
            WEBHOOK,
            settings,
            journal,
            journal,
            callbacks,
            max_bytes=unit * queue_size,
        )
        self.queue._share = unit * share

    @property
    def rows(self) -> list[Row]:
        return self.journal.of(self)

    def take_over(self) -> None:
        """Take over every pending row, as after a restart."""
        pending = [row for row in self.journal.rows.values() if row.pending]
        for row in pending:
            row.lane, row.put, row.doomed = self, True, self.closed
        self.pending = len(pending)
        self.queue.take_over(len(pending))

    def put(self, row: Row) -> None:
        row.put = True
        self.pending += 1
        if self.closed:
            row.doomed = True
        delivery = Delivery(row.envelope, row.key)
        delivery.seq = row.seq
        if self.queue.put(delivery):
            self._enter(delivery)

    def next(self) -> Delivery | None:
        """Make an attempt of the next delivery, and check that it may be made."""
        self._expire()
        delivery = self.queue.next()
        if delivery is None:
            return None
        row = self.journal.rows[delivery.seq]
        now = self.journal.runtime.clock.time()
        assert delivery.state == IN_FLIGHT
        assert delivery in self._entered, f"{row} was not reported"
        assert row.lane is self, f"{row} is another queue's"
        assert row.pending, f"{row} is attempted again"
        assert row.doomed is not True, f"{row} was given up"
        assert row.seq not in self._in_flight_seqs(), f"{row} is attempted twice"
        assert (delivery.attempts, delivery.key) == (row.attempts, row.key)
        assert row.due <= now, f"{row} is due at {row.due} only"
        if row.key is not None:
            before = [
                each
                for each in self.rows
                if each.key == row.key and each.seq < row.seq and each.pending
            ]
            assert all(each.doomed is not False for each in before), f"{row} overtakes {before}"
            assert row.key not in {each.key for each in self.in_flight}, f"{row} has company"
        self.in_flight.append(delivery)
        return delivery

    def complete(self, delivery: Delivery) -> None:
        self._record(delivery, Outcome(DELIVERED, 200))
        self.queue.complete(delivery)
        self.pending -= 1

    def fail(self, delivery: Delivery) -> None:
        """Let an attempt fail for good."""
        self._record(delivery, Outcome(RETRY, 503))
        self.dead_letter(delivery)

    def retry(self, delivery: Delivery, wait: float) -> None:
        if self.closed:
            self.fail(delivery)
            return
        self._record(delivery, Outcome(RETRY, 503))
        self.queue.retry_at(delivery, self.journal.runtime.clock.monotonic() + wait)

    def interrupt(self, delivery: Delivery) -> None:
        self._record(delivery, Outcome(RETRY, error="CancelledError"))
        self.queue.requeue(delivery)

    def dead_letter(self, delivery: Delivery) -> None:
        assert delivery.state != REMOVED
        self.queue.discard(delivery)
        self.pending -= 1
        self._commit_dead(delivery)

    def drop_oldest(self) -> Delivery | None:
        dropped = self.queue.drop_oldest()
        if dropped is not None:
            self.pending -= 1
            self._commit_dead(dropped)
        return dropped

    def close(self) -> None:
        """Give up everything that is not in flight."""
        in_flight = self._in_flight_seqs()
        for row in self.rows:
            if row.state == "pending" and row.doomed is not True:
                row.doomed = None if row.seq in in_flight else True
        self.closed = True
        self.queue.close()
        for delivery in tuple(self.queue):
            if delivery.state != IN_FLIGHT:
                self.dead_letter(delivery)

    def reopen(self) -> None:
        self.closed = False
        self.queue.reopen()

    def suspend(self) -> None:
        self.queue.suspend()

    def cancel(self, *, crash: bool) -> None:
        """Cancel tasks; of what is in flight, half was delivered. A crash leaves no trace of it."""
        for task in self.queue.tasks():
            task.cancel()
        if not crash:
            for delivery in self.in_flight[::2]:
                self.complete(delivery)
            for delivery in self.in_flight[:]:
                self.interrupt(delivery)

    def discard(self) -> None:
        assert all(task.done() for task in self.queue.tasks())
        assert not tuple(self.queue.clear())
        assert not tuple(self.queue)
        self.queue.cancel_timers()

    def _in_flight_seqs(self) -> set[int]:
        return {each.seq for each in self.in_flight}

    def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        self.in_flight.remove(delivery)
        delivery.attempts += 1
        delivery.outcome = outcome

    def _enter(self, delivery: Delivery) -> None:
        self._entered.add(delivery)
        assert delivery in tuple(self.queue)
        row = self.journal.rows[delivery.seq]
        assert row.pending, f"{row} enters the memory"
        assert row.doomed is not True, f"{row} enters the memory"

    def _give_up(self, delivery: Delivery) -> None:
        row = self.journal.rows[delivery.seq]
        assert row.lane is self, f"{row} is another queue's to give up"
        assert row.doomed is not False, f"{row} is given up"
        assert row.seq not in self._in_flight_seqs(), f"{row} is in flight"
        self.dead_letter(delivery)

    def _expire(self) -> None:
        if self._max_age is None:
            return
        oldest = self.journal.runtime.clock.time() - self._max_age
        for delivery in tuple(self.queue):
            if delivery.state not in {IN_FLIGHT, REMOVED} and delivery.envelope.time <= oldest:
                self.dead_letter(delivery)

    def _commit_dead(self, delivery: Delivery) -> None:
        now = self.journal.runtime.clock.time()
        change = Change(delivery.seq, "dead", delivery.attempts, delivery.outcome, now, "disabled")
        self.journal.commit(change)
