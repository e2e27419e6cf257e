"""A delivery queue in the journal: the next deliveries are in memory, the rest is read in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Final

from relaybox_hooks.clock import Alarm
from relaybox_hooks.durable.lane_store import CommitSink, LaneSource, QueueCallbacks
from relaybox_hooks.durable.parked_keys import ParkedKey, ParkedKeys
from relaybox_hooks.durable.stored import delivery_of, may_be_more
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import Change, StoredDelivery
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.memory_queue import MemoryQueue
from relaybox_hooks.observer import logger
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.transport.runtime import Runtime

_NEVER: Final = float("inf")
#: Seconds up to which a retry is waited for in memory; for a later one it is read again.
_NEAR: Final = 5.0
#: Keys that may be parked before what is behind them has to wait as well. Each costs some 300
#: bytes, and is named in every query for more.
_MAX_PARKED: Final = 10_000
#: Deliveries given up in one go.
_SWEEP: Final = 500
#: Seconds until the journal is asked again after it could not answer.
_READ_AGAIN: Final = 1.0


class JournalQueue:
    """A :class:`~relaybox_hooks.lanes.delivery_queue.DeliveryQueue` of what a journal stores.

    Up to ``queue_size`` deliveries are in memory, and up to ``max_bytes`` of their events but for
    one; the rest is read in order as there is room again. A key whose next attempt is far off, or
    that has taken its share of the memory, is parked: it waits in the journal and delays no other.

    Mutable state besides the deliveries in memory: ``_read_seq``, up to which all that is pending
    is in memory or parked; whether there may be more behind it (``_behind``);
    ``_give_up_through_seq``, up to which everything is given up; and the task that reads.

    Args:
        runtime: shared with the lanes.
        webhook_id: whose deliveries.
        settings: the lane's; ``queue_size`` and ``max_age`` matter here.
        source: what is read from.
        sink: what settled deliveries are committed to.
        callbacks: of the lane.
        max_bytes: bytes of events in memory.
    """

    __slots__ = (
        *("_append_missed", "_behind", "_callbacks", "_capacity", "_closed", "_first_seq"),
        *("_generation", "_give_up_through_seq", "_keys_loaded", "_loaded", "_max_age"),
        *("_memory", "_open", "_parked", "_put_seq", "_read_again", "_read_failed", "_read_seq"),
        *("_reader", "_room", "_runtime", "_settled_while_reading", "_share", "_sink", "_source"),
        *("_unit", "_webhook_id", "next"),
    )

    #: A key that was parked is read later than what was emitted after it.
    oldest_first: Final = False

    def __init__(
        self,
        runtime: Runtime,
        webhook_id: str,
        settings: Settings,
        source: LaneSource,
        sink: CommitSink,
        callbacks: QueueCallbacks,
        *,
        max_bytes: int,
    ) -> None:
        self._runtime = runtime
        self._webhook_id = webhook_id
        #: Bytes that a delivery counts for at least, so that they bound the number as well.
        self._unit = max(1, max_bytes // settings.queue_size)
        self._capacity = self._unit * settings.queue_size
        #: Bytes for which there is room in memory; negative where the last one took more.
        self._room = self._capacity
        self._max_age = settings.max_age_seconds
        self._source = source
        self._sink = sink
        self._callbacks = callbacks
        self._memory = MemoryQueue(runtime, callbacks.ready)
        # Without another call on every delivery's way.
        self.next: Callable[[], Delivery | None] = self._memory.next
        self._parked = ParkedKeys(runtime, self._read_on)
        self._read_again = Alarm(runtime, self._read_on)
        self._loaded: dict[int, Delivery] = {}
        self._keys_loaded: dict[str, int] = {}
        #: What has left the memory since the latest query began: its rows may still hold it.
        self._settled_while_reading: set[int] = set()
        #: Bytes that the deliveries of one key may take of it, but for one delivery.
        self._share = self._unit * max(1, settings.queue_size // 8)
        self._open = False
        self._closed = False
        #: Nothing up to this number is this queue's.
        self._first_seq = 0
        #: Up to this number all of it was put, or taken over.
        self._put_seq = 0
        self._read_seq = 0
        self._behind = False
        self._append_missed = False
        self._give_up_through_seq = 0
        #: How often everything was given up: what was read for before is stale.
        self._generation = 0
        self._reader: asyncio.Task[None] | None = None
        #: The latest query failed.
        self._read_failed = False

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._memory)

    @property
    def ready_count(self) -> int:
        return self._memory.ready_count

    # Taking over

    def take_over(self, pending: int) -> None:
        """Begin, with deliveries that the journal holds from before a restart.

        Args:
            pending: how many.
        """
        self._open = True
        self._put_seq = self._sink.last_seq()
        if self._closed:
            self._give_up_through_seq = self._put_seq
        if pending:
            self._fall_behind()

    def start_after(self, seq: int) -> None:
        """Begin; what is numbered up to ``seq`` belongs to an earlier queue of the webhook."""
        self._open = True
        self._first_seq = self._read_seq = self._put_seq = seq

    # Delivery queue

    def put(self, delivery: Delivery) -> bool:
        """Add a delivery that the journal has committed; return whether it is in memory now."""
        seq = delivery.seq
        if self._closed or seq <= self._give_up_through_seq:
            if self._reader is not None:
                self._settled_while_reading.add(seq)
            self._callbacks.dead_letter(delivery)
            return False
        self._put_seq = seq
        if self._behind:
            self._fall_behind()
            return False
        if self._stays_parked(seq, delivery.key):
            self._read_seq = seq
            return False
        if self._room <= 0:
            self._fall_behind()
            return False
        self._read_seq = seq
        self._load(delivery)
        return True

    def complete(self, delivery: Delivery) -> None:
        outcome, now = delivery.outcome, self._runtime.clock.time()
        self._unload(delivery)
        self._sink.commit(Change(delivery.seq, "delivered", delivery.attempts, outcome, now))
        self._memory.discard(delivery)
        if self._behind or self._parked.entries:
            self._read_on()

    def retry_at(self, delivery: Delivery, due: float) -> None:
        wait = due - self._runtime.clock.monotonic()
        self._commit_retry(delivery, wait)
        if wait <= _NEAR and not self._behind:
            self._memory.retry_at(delivery, due)
        else:
            self._park(delivery, wait)

    def requeue(self, delivery: Delivery) -> None:
        self._memory.requeue(delivery)
        self._commit_retry(delivery, 0.0)

    def discard(self, delivery: Delivery) -> None:
        if delivery.seq in self._loaded:  # else it was read only to be given up
            self._memory.discard(delivery)
            self._unload(delivery)
        self._read_on()

    def drop_oldest(self) -> Delivery | None:
        oldest = self._memory.drop_oldest()
        if oldest is not None:
            self._unload(oldest)
            self._read_on()
        return oldest

    def close(self) -> None:
        self._closed = True
        if not self._open:
            return
        self._give_up_through_seq = self._sink.last_seq()
        self._generation += 1
        self._read_seq = self._first_seq
        self._parked.clear()
        self._behind = True
        self._read_on()

    def reopen(self) -> None:
        self._closed = False  # what was appended before is still given up

    def clear(self) -> Iterable[Delivery]:
        """Take everything out; all of it stays pending in the journal."""
        self._memory.clear()
        self._loaded.clear()
        self._room = self._capacity
        return ()

    def suspend(self) -> None:
        self._open = False

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return () if self._reader is None else (self._reader,)

    def cancel_timers(self) -> None:
        self._parked.clear()
        self._read_again.cancel()
        self._memory.cancel_timers()

    # Memory and parked keys

    def _load(self, delivery: Delivery) -> None:
        self._loaded[delivery.seq] = delivery
        size, key = max(self._unit, len(delivery.envelope.prefix)), delivery.key
        self._room -= size
        if key is not None:
            self._keys_loaded[key] = self._keys_loaded.get(key, 0) + size
        self._memory.put(delivery)

    def _unload(self, delivery: Delivery) -> None:
        del self._loaded[delivery.seq]
        if self._reader is not None:
            self._settled_while_reading.add(delivery.seq)
        size, key = max(self._unit, len(delivery.envelope.prefix)), delivery.key
        self._room += size
        if key is not None:
            self._keys_loaded[key] -= size
            if not self._keys_loaded[key]:
                del self._keys_loaded[key]
                if self._parked.by_key:
                    self._parked.drained(key)

    def _stays_parked(self, seq: int, key: str | None) -> bool:
        """Return whether a delivery waits in the journal, with its key or for others' sake."""
        if key is None:
            return False
        if key in self._parked.by_key:
            self._parked.by_key[key].append_missed = True
            return True
        if self._keys_loaded.get(key, 0) >= self._share:
            self._parked.add(key, seq - 1, _NEVER)
            return True
        return False

    def _park(self, delivery: Delivery, wait: float) -> None:
        """Leave a delivery, and those of its key behind it, in the journal."""
        for each in self._memory.discard_key(delivery):
            self._unload(each)
        clock = self._runtime.clock
        if self._max_age != _NEVER:
            wait = max(0.0, min(wait, self._max_age - (clock.time() - delivery.envelope.time)))
        self._parked.add(delivery.key, delivery.seq - 1, clock.monotonic() + wait)
        self._read_on()

    def _commit_retry(self, delivery: Delivery, wait: float) -> None:
        due = self._runtime.clock.time() + wait
        change = Change(delivery.seq, "pending", delivery.attempts, delivery.outcome, due)
        self._sink.commit(change)

    # Reading

    def _fall_behind(self) -> None:
        """Note that the journal holds more than has been read."""
        if not self._behind:
            self._behind = True
            now = self._runtime.clock.monotonic()
            for due, delivery in self._memory.take_waiting():
                self._park(delivery, due - now)  # it would keep others out
        self._append_missed = True
        self._read_on()

    def _read_on(self) -> None:
        """Read what there is room for, unless that is under way."""
        if self._reader is None and self._open and self._wanted() is not None:
            self._reader = asyncio.Task(
                self._read(), loop=self._runtime.loop, context=self._runtime.context.copy()
            )

    def _wanted(self) -> ParkedKey | bool | None:
        """Return what to read next: a key that is due or, if true, what comes next in order."""
        if self._behind and self._read_seq < self._give_up_through_seq:
            return True  # first of all: some of it may be of a key that is due
        room = self._room
        if room > 0 and (parked := self._parked.first_due()) is not None:
            return parked
        # A half at a time: each query costs as much as many rows.
        plenty = 2 * room >= self._capacity and len(self._parked.entries) < _MAX_PARKED
        return True if self._behind and plenty else None

    async def _read(self) -> None:
        try:
            while self._open and (wanted := self._wanted()) is not None:
                if isinstance(wanted, ParkedKey):
                    await self._read_key(wanted, min(self._room, self._share))
                else:
                    await self._read_next(self._room)
                self._read_failed = False
        except JournalError as error:
            if self._open:
                if not self._read_failed:
                    text = "webhook %s: its deliveries cannot be read: %s"
                    logger.error(text, self._webhook_id, error)
                self._read_again.set(self._runtime.clock.monotonic() + _READ_AGAIN)
            self._read_failed = True
        finally:
            self._reader = None
            self._settled_while_reading.clear()

    async def _read_next(self, room: int) -> None:
        """Read on in order, as much as there is room for: bytes."""
        self._append_missed = False
        self._settled_while_reading.clear()
        generation, sweeping = self._generation, self._read_seq < self._give_up_through_seq
        limit = _SWEEP if sweeping else max(1, room // self._unit)
        room = self._capacity if sweeping else room
        skip_keys = () if sweeping else self._parked.by_key
        read = partial(self._source.read, self._webhook_id, limit=limit, max_bytes=room)
        rows = await self._that_was_put(read(after=self._read_seq, skip_keys=skip_keys))
        for row in rows:
            if generation != self._generation or not self._take(row):
                return
        if generation == self._generation and not may_be_more(rows, limit, room):
            self._behind = self._append_missed
            self._read_seq = max(self._read_seq, self._give_up_through_seq)

    def _take(self, row: StoredDelivery) -> bool:
        """Take up a row that was read in order; return false where it has to wait for room."""
        seq, due = row.seq, row.due - self._runtime.clock.time()
        known = seq in self._loaded or seq in self._settled_while_reading
        given_up = seq <= self._give_up_through_seq
        if not known and not given_up and self._room <= 0:
            self._read_seq = seq - 1  # all before it is taken up: no sweep is needed any more
            return False
        self._read_seq = seq
        if known or (not given_up and self._stays_parked(seq, row.key)):
            pass
        elif given_up:
            if row.key in self._parked.by_key and self._parked.by_key[row.key].after == seq - 1:
                # It was parked for a retry that is not made now.
                self._parked.add(row.key, seq, self._runtime.clock.monotonic())
            self._callbacks.dead_letter(delivery_of(row))
        elif row.attempts and due > 0:
            self._parked.add(row.key, seq - 1, self._runtime.clock.monotonic() + due)
        else:
            self._enter(row)
        return True

    async def _that_was_put(self, reading: Awaitable[list[StoredDelivery]]) -> list[StoredDelivery]:
        """Return what was read; what is stored already and still to be put is left to its put."""
        return [row for row in await reading if row.seq <= self._put_seq]

    async def _read_key(self, parked: ParkedKey, room: int) -> None:
        """Read on with a key whose time has come, as much as there is room for: bytes."""
        parked.append_missed = False
        key, generation = parked.key, self._generation
        limit = 1 if key is None else max(1, room // self._unit)
        read = partial(self._source.read, self._webhook_id, limit=limit, max_bytes=room)
        rows = await self._that_was_put(read(after=parked.after, key=key))
        if generation != self._generation:
            return
        self._parked.discard(parked)
        if key is None:
            rows = [row for row in rows if row.seq == parked.after + 1]
        elif may_be_more(rows, limit, room) or parked.append_missed:
            self._parked.add(key, rows[-1].seq if rows else parked.after, _NEVER)
        for row in rows:
            self._enter(row)
        if key is not None and key not in self._keys_loaded:
            self._parked.drained(key)

    def _enter(self, row: StoredDelivery) -> None:
        delivery = delivery_of(row)
        self._load(delivery)
        self._callbacks.entered(delivery)
