"""The lane of a webhook whose deliveries are in the journal: memory holds the next ones only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import takewhile
from typing import Final

from relaybox_hooks.clock import Alarm
from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.durable.delivery_log import delivery_of
from relaybox_hooks.durable.parked_keys import ParkedKey, ParkedKeys
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import StoredDelivery
from relaybox_hooks.lanes.memory_queue import Delivery, State
from relaybox_hooks.lanes.runtime import Keeping, RemoteHub
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.observer import logger
from relaybox_hooks.outcome import Outcome
from relaybox_hooks.targets.policies import BreakerState
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.deadlines import Worker

_NEVER: Final = float("inf")
#: Larger than any seq.
_END: Final = 2**63 - 1
#: Seconds up to which a retry is waited for in memory; for a later one it is read again.
_NEAR: Final = 5.0
#: Keys that may be left in the journal before what is behind them has to wait as well. Each
#: costs some 300 bytes, and is named in every question for more.
_MAX_ASIDE: Final = 10_000
#: Deliveries given up on in one go.
_SWEEP: Final = 500
#: Seconds until the journal is asked again after it could not answer.
_AGAIN: Final = 1.0


class DurableLane(WebhookLane):
    """What one webhook still owes, of which up to ``queue_size`` deliveries are in memory.

    The rest is read in order as there is room again. A key whose next attempt is far off, or
    that has taken its share of the memory, is set aside in the journal: it holds up no other.

    Mutable state besides that of every lane: ``_read``, the highest number up to which all that
    is pending is in memory or set aside; whether there may be more (``_behind``); the numbers
    up to which everything is given up on (``_doomed``); and the task that reads.
    """

    __slots__ = (
        "_again",
        "_aside",
        "_behind",
        "_doomed",
        "_floor",
        "_gone",
        "_keeper",
        "_loaded",
        "_missed",
        "_of_key",
        "_read",
        "_reader",
        "_share",
        "_stuck",
        "_sweeps",
    )

    _oldest_first = False

    def __init__(
        self, hub: RemoteHub, webhook: Webhook, settings: Settings, keeper: Keeping
    ) -> None:
        super().__init__(hub, webhook, settings)
        #: In the journal there is room, or it says itself that there is not.
        self.limit = _END
        self.overflow = keeper.journal.overflow
        self._keeper = keeper
        self._aside = ParkedKeys(hub, self._read_on)
        self._again = Alarm(hub, self._read_on)
        self._loaded: dict[int, Delivery] = {}
        #: What has left the memory since the journal was asked: its answer may still hold it.
        self._gone: set[int] = set()
        self._of_key: dict[str, int] = {}
        #: How many deliveries of one key may be in memory.
        self._share = max(1, settings.queue_size // 8)
        #: Nothing up to this number is this lane's.
        self._floor = 0
        self._read = 0
        self._behind = False
        self._missed = False
        self._doomed = 0
        #: How often everything has been given up on: what was asked for before is stale.
        self._sweeps = 0
        self._reader: asyncio.Task[None] | None = None
        #: The journal could not answer when it was asked last.
        self._stuck = False

    # Taking over and taking in

    def adopt(self, pending: int, breaker: dict[str, float] | None) -> None:
        """Take over what the journal holds from before.

        Args:
            pending: how many deliveries.
            breaker: what :meth:`saved_breaker` returned.
        """
        self.accepted += pending
        self.pending += pending
        self.hub.outstanding += pending
        if self.ending is not None:
            self._doomed = self._keeper.journal.last_seq
        if breaker and self._breaker is not None:
            self._breaker.restore(breaker, self.hub.clock.monotonic(), self.hub.clock.time())
        if pending:
            self._fall_behind()

    def follow(self, seq: int) -> None:
        """What is numbered up to ``seq`` belongs to a lane that had the webhook before."""
        self._floor = self._read = seq

    def put(self, item: Delivery) -> None:
        """Take a delivery that the journal has committed."""
        self.accepted += 1
        self.pending += 1
        self.hub.outstanding += 1
        seq, key = item.seq, item.key
        if seq <= self._read or seq in self._loaded:
            return  # found in the journal meanwhile
        if self._behind or seq <= self._doomed or self.ending is not None:
            self._fall_behind()
            entry = self._aside.get(key)
            if entry is not None:
                entry.missed = True
        elif self._left_aside(seq, key):
            self._read = seq
            self._read_on()
        elif len(self._loaded) < self.settings.queue_size:
            self._read = seq
            self._load(item)
        else:
            self._fall_behind()

    def _fall_behind(self) -> None:
        if not self._behind:
            self._behind = True
            now = self.hub.clock.monotonic()
            for due, delivery in self._held.take() if self._held else ():
                self._park(delivery, due - now)  # it would keep others out
        self._missed = True
        self._read_on()

    def _left_aside(self, seq: int, key: str | None) -> bool:
        """Whether a delivery stays in the journal for the sake of its key or of the others."""
        entry = self._aside.get(key)
        if entry is not None:
            entry.missed = True
            return True
        if key is not None and self._of_key.get(key, 0) >= self._share:
            self._aside.add(key, seq - 1, _NEVER)
            return True
        return False

    def _load(self, delivery: Delivery) -> None:
        self._loaded[delivery.seq] = delivery
        key = delivery.key
        if key is not None:
            self._of_key[key] = self._of_key.get(key, 0) + 1
        self._enter(delivery)

    def _unload(self, delivery: Delivery) -> None:
        if self._loaded.pop(delivery.seq, None) is None:
            return
        if self._reader is not None:
            self._gone.add(delivery.seq)
        key = delivery.key
        if key is not None:
            self._of_key[key] -= 1
            if not self._of_key[key]:
                del self._of_key[key]
                self._aside.drained(key)

    # Reading

    def _read_on(self) -> None:
        """Read what there is room for, unless that is being done."""
        if self._reader is None and not self._halted and self._wants() is not None:
            self._reader = asyncio.Task(
                self._reading(), loop=self.hub.loop, context=self.hub.context.copy()
            )

    def _wants(self) -> ParkedKey | bool | None:
        """What to read next: a key that is due, or, if true, what comes next in order."""
        room = self.settings.queue_size - len(self._loaded)
        entry = self._aside.first_due() if room > 0 else None
        if entry is not None:
            return entry
        # A half at a time: each question costs as much as many answers.
        plenty = 2 * room >= self.settings.queue_size and len(self._aside) < _MAX_ASIDE
        return True if self._behind and (plenty or self._read < self._doomed) else None

    async def _reading(self) -> None:
        try:
            while not self._halted and (wanted := self._wants()) is not None:
                room = self.settings.queue_size - len(self._loaded)
                if isinstance(wanted, ParkedKey):
                    await self._read_key(wanted, min(room, self._share))
                else:
                    await self._read_next(room)
                self._stuck = False
        except JournalError as error:
            if not self._stuck and not self._halted:
                logger.error("webhook %s: its deliveries cannot be read: %s", self.target, error)
            self._stuck = True
            if not self._halted:
                self._again.set(self.hub.clock.monotonic() + _AGAIN)
        finally:
            self._reader = None

    async def _read_next(self, room: int) -> None:
        """Read on in order."""
        self._missed = False
        self._gone.clear()
        sweep, sweeping = self._sweeps, self._read < self._doomed
        limit = _SWEEP if sweeping else room
        rows = await self._keeper.journal.lease(
            self.target,
            limit=limit,
            until=self._keeper.lease_end(),
            after=self._read,
            skip_keys=() if sweeping else self._aside.keys,
        )
        if sweep != self._sweeps:
            return
        taken = sum(
            1 for _ in takewhile(lambda row: sweep == self._sweeps and self._take(row), rows)
        )
        if sweep != self._sweeps:
            return
        # Of a lane that ends, what is left over belongs to the one that has the webhook now.
        if taken == len(rows) < limit or (self.ending is not None and taken < len(rows)):
            self._behind = self._missed
            if self.ending is None:
                self._doomed = 0

    def _take(self, row: StoredDelivery) -> bool:
        """Take up a row that was read in order; false where it has to wait for room."""
        seq, due = row.seq, row.due - self.hub.clock.time()
        here, doomed = seq in self._loaded or seq in self._gone, seq <= self._doomed
        full = len(self._loaded) >= self.settings.queue_size
        if not here and not doomed and (full or self.ending is not None):
            return False
        self._read = max(self._read, seq)
        if here:
            pass
        elif doomed:
            self._give_up_row(row)
        elif self._left_aside(seq, row.key):
            pass
        elif row.attempts and due > 0:
            self._aside.add(row.key, seq - 1, self.hub.clock.monotonic() + due)
        else:
            self._load(delivery_of(row))
        return True

    async def _read_key(self, entry: ParkedKey, limit: int) -> None:
        """Read on with a key whose time has come."""
        entry.missed = False
        key, sweep = entry.key, self._sweeps
        rows = await self._keeper.journal.lease(
            self.target,
            limit=1 if key is None else limit,
            until=self._keeper.lease_end(),
            after=entry.after,
            key=key,
        )
        if sweep != self._sweeps:
            return
        self._aside.discard(entry)
        if key is None:
            rows = [row for row in rows if row.seq == entry.after + 1]
        elif len(rows) == limit or entry.missed:
            self._aside.add(key, rows[-1].seq if rows else entry.after, _NEVER)
        for row in rows:
            if row.seq not in self._loaded:
                self._load(delivery_of(row))
        if key is not None and key not in self._of_key:
            self._aside.drained(key)

    # Outcomes

    def _complete(self, delivery: Delivery) -> None:
        self._keeper.journal.settle(
            delivery.seq,
            attempts=delivery.attempts,
            outcome=delivery.outcome,
            at=self.hub.clock.time(),
        )
        self._unload(delivery)
        super()._complete(delivery)
        self._read_on()

    def freed(self) -> None:
        super().freed()
        self._keeper.freed()

    def bury(self, item: Delivery, reason: Reason) -> None:
        self._unload(item)
        super().bury(item, reason)
        self._read_on()

    def evict(self) -> bool:
        evicted = super().evict()
        if evicted:
            self._keeper.freed()
        return evicted

    def _hold(self, delivery: Delivery, wait: float) -> None:
        self._reschedule(delivery, wait)
        if wait <= _NEAR and not self._behind:
            super()._hold(delivery, wait)
        else:
            self._park(delivery, wait)

    def _park(self, delivery: Delivery, wait: float) -> None:
        """Leave a delivery, and those of its key behind it, in the journal."""
        for each in self._backlog.remove_with_followers(delivery):
            self._unload(each)
        if self._max_age != _NEVER:
            age = self.hub.clock.time() - delivery.envelope.time
            wait = max(0.0, min(wait, self._max_age - age))
        self._aside.add(delivery.key, delivery.seq - 1, self.hub.clock.monotonic() + wait)
        self._read_on()

    def _reschedule(self, delivery: Delivery, wait: float) -> None:
        self._keeper.journal.reschedule(
            delivery.seq,
            attempts=delivery.attempts,
            due=self.hub.clock.time() + wait,
            outcome=delivery.outcome,
        )

    def _interrupted(self, worker: Worker, delivery: Delivery, outcome: Outcome | None) -> None:
        super()._interrupted(worker, delivery, outcome)
        if outcome is None and delivery.state is not State.GONE:
            self._reschedule(delivery, 0.0)

    def _give_up_row(self, row: StoredDelivery) -> None:
        self.failed += 1
        self.freed()
        self.bury(delivery_of(row), self.ending or "disabled")

    def _breaker_moved(self, before: BreakerState) -> None:
        self._keeper.save(self.target)
        super()._breaker_moved(before)

    # Ending

    def end(self, reason: Reason) -> None:
        self._doomed = self._keeper.journal.last_seq
        self._sweeps += 1
        self._read = self._floor
        self._aside.clear()
        super().end(reason)
        if self.pending > len(self._loaded):
            self._fall_behind()

    def resume(self) -> None:
        if not self._behind:
            self._doomed = 0  # or else the rest of what was pending is still given up on
        super().resume()

    def abandon(self) -> int:
        """Leave everything in the journal, where it stays pending."""
        for delivery in tuple(self._backlog):
            self._backlog.remove(delivery)
        self.hub.settled(self.pending)
        return self.pending

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return self.workers if self._reader is None else {*self.workers, self._reader}

    def stop(self) -> None:
        self._aside.clear()
        self._again.cancel()
        super().stop()

    @property
    def loaded(self) -> Iterable[int]:
        """The numbers of the deliveries in memory."""
        return self._loaded

    def saved_breaker(self) -> dict[str, float] | None:
        """What the breaker must not forget over a restart; ``None`` if there is nothing."""
        breaker, clock = self._breaker, self.hub.clock
        return None if breaker is None else breaker.saved(clock.monotonic(), clock.time())
