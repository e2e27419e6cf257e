"""The journal's contract without its promise: nothing survives the process."""

from __future__ import annotations

import asyncio
from asyncio import Future
from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.journal.errors import JournalClosedError, JournalFullError
from relaybox_hooks.journal.protocol import (
    AttemptResult,
    Counts,
    DeliveryState,
    KnownWebhook,
    StoredDelivery,
    StoredOutcome,
    Targets,
    check_order_keys,
    escape_surrogates,
)
from relaybox_hooks.validation import Overflow, check_int, check_overflow
from relaybox_hooks.wire.envelope import Envelope


class MemoryJournal:
    """A :class:`~relaybox_hooks.journal.Journal` that forgets everything when it is closed.

    For tests and as the reference of the contract; searches look at everything there is.

    Args:
        max_pending: how many deliveries may be pending.
        overflow: what ``Hooks`` does with one more event: ``"wait"``, ``"drop_oldest"``,
            ``"drop_newest"`` or ``"raise"``.
    """

    failing: None = None

    def __init__(self, *, max_pending: int = 1_000_000, overflow: Overflow = "wait") -> None:
        self._max_pending = check_int("max_pending", max_pending)
        self._overflow = check_overflow("overflow", overflow)
        self._state = "new"
        self._next_seq = 1
        self._rows: dict[int, StoredDelivery] = {}
        #: The pending seqs of each webhook, ascending.
        self._pending: dict[str, list[int]] = {}
        self._pending_total = 0
        self._webhooks: dict[str, KnownWebhook] = {}
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<MemoryJournal {self._state}: {self._pending_total} pending>"

    @property
    def max_pending(self) -> int:
        """How many deliveries may be pending."""
        return self._max_pending

    @property
    def overflow(self) -> Overflow:
        """What the dispatcher does with one more event where ``max_pending`` are pending."""
        return self._overflow

    @property
    def pending_total(self) -> int:
        """How many are."""
        return self._pending_total

    @property
    def last_seq(self) -> int:
        """The highest ``seq`` that was ever given."""
        return self._next_seq - 1

    async def open(self) -> None:
        """Begin to accept appends."""
        if self._state != "new":
            raise JournalClosedError(None, self._state)
        self._loop = asyncio.get_running_loop()
        self._state = "open"

    async def aclose(self) -> None:
        """Forget everything."""
        self._state = "closed"
        self._rows.clear()
        self._pending.clear()
        self._pending_total = 0

    def append_nowait(
        self, envelope: Envelope, targets: Targets, *, dead: str | None = None
    ) -> Future[Sequence[int]]:
        """Keep an event and its deliveries; the future is done at once.

        Raises:
            JournalFullError: more than ``max_pending`` would be pending; nothing is kept.
            JournalClosedError: it is not open.
            ConfigError: ``targets`` is empty.
            PayloadError: a key is no text that UTF-8 can carry.
        """
        self._refuse_unless_open()
        if not targets:
            raise ConfigError("targets", targets, "give one webhook or more")
        check_order_keys(targets)
        if dead is None and self._pending_total + len(targets) > self._max_pending:
            raise JournalFullError(None, self._max_pending, self._pending_total)
        future: Future[Sequence[int]] = self._loop.create_future()
        first = self._next_seq
        for seq, (webhook_id, key) in enumerate(targets, first):
            row = StoredDelivery(
                seq, webhook_id, key, envelope, "pending", 0, envelope.time, None, None, None
            )
            seqs = self._pending.setdefault(webhook_id, [])
            if dead is None:
                seqs.append(seq)
                self._pending_total += 1
            else:
                row = row._replace(state="dead", reason=dead, at=envelope.time)
            self._rows[seq] = row
            self._webhooks.setdefault(webhook_id, KnownWebhook(envelope.time, None))
        self._next_seq += len(targets)
        future.set_result(range(first, self._next_seq))
        return future

    async def append(self, envelope: Envelope, targets: Targets) -> Sequence[int]:
        """Keep an event and its deliveries."""
        return await self.append_nowait(envelope, targets)

    async def lease(
        self,
        webhook_id: str,
        *,
        limit: int,
        until: float,
        after: int = 0,
        key: str | None = None,
        skip_keys: Collection[str] = (),
    ) -> list[StoredDelivery]:
        """Pending deliveries of a webhook, in the order of ``seq``; ``until`` is not needed."""
        self._refuse_unless_open()
        found: list[StoredDelivery] = []
        seqs = self._pending.get(webhook_id, [])
        for place in range(bisect_right(seqs, after), len(seqs)):
            if len(found) == limit:
                break
            row = self._rows[seqs[place]]
            if (key is None or row.key == key) and (row.key is None or row.key not in skip_keys):
                found.append(row)
        return found

    def settle(self, seq: int, *, attempts: int, outcome: AttemptResult | None, at: float) -> None:
        """Delivered at ``at``; a dead letter that a replay delivered too."""
        self._change(seq, "delivered", attempts, outcome, at=at)

    def reschedule(
        self, seq: int, *, attempts: int, due: float, outcome: AttemptResult | None
    ) -> None:
        """Pending, with its next attempt at ``due``; a dead letter is pending again."""
        self._change(seq, "pending", attempts, outcome, due=due)

    def bury(
        self,
        seq: int,
        reason: str,
        *,
        attempts: int,
        outcome: AttemptResult | None,
        at: float,
    ) -> None:
        """Given up on at ``at``; a dead letter has its reason, outcome and time replaced."""
        self._change(seq, "dead", attempts, outcome, reason=reason, at=at)

    def extend(self, seqs: Iterable[int], until: float) -> None:
        """Nothing to do: nobody else could lease them."""

    async def flush(self) -> None:
        """Nothing to wait for."""
        self._refuse_unless_open()

    async def dead_letters(
        self,
        *,
        event_id: str | None = None,
        webhook_id: str | None = None,
        event: str | None = None,
        reason: str | None = None,
        since: float | None = None,
        until: float | None = None,
        after: StoredDelivery | None = None,
        limit: int | None = None,
    ) -> list[StoredDelivery]:
        """Deliveries given up on that fit all of what is given, in the order they died."""
        self._refuse_unless_open()
        last = (after.at or 0.0, after.seq) if after else None
        dead = sorted(
            ((row.at or 0.0, row.seq), row)
            for row in self._select("dead", event_id, webhook_id, event)
            if (reason is None or row.reason == reason) and _within(row.at or 0.0, since, until)
        )
        return [row for place, row in dead if last is None or place > last][:limit]

    async def deliveries(
        self,
        *,
        event_id: str | None = None,
        webhook_id: str | None = None,
        event: str | None = None,
        status: DeliveryState | None = None,
        since: float | None = None,
        until: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[StoredDelivery]:
        """The delivery log: what fits all of what is given, newest first."""
        self._refuse_unless_open()
        rows = [
            row
            for row in self._select(status, event_id, webhook_id, event)
            if _within(row.envelope.time, since, until) and (before is None or row.seq < before)
        ]
        return rows[::-1][:limit]

    async def counts(self) -> dict[str, Counts]:
        """The counts of every webhook that has deliveries."""
        self._refuse_unless_open()
        counts: dict[str, dict[DeliveryState, int]] = {}
        for row in self._rows.values():
            of_webhook = counts.setdefault(
                row.webhook_id, {"pending": 0, "delivered": 0, "dead": 0}
            )
            of_webhook[row.state] += 1
        return {webhook_id: Counts(**found) for webhook_id, found in counts.items()}

    async def purge(
        self,
        status: Literal["delivered", "dead"],
        *,
        before: float = 0.0,
        keep: int | None = None,
    ) -> int:
        """Forget settled deliveries by age and by count; returns how many."""
        self._refuse_unless_open()
        rows = sorted(
            (row.at or 0.0, row.seq) for row in self._rows.values() if row.state == status
        )
        excess = 0 if keep is None else max(0, len(rows) - keep)
        gone = [seq for place, (at, seq) in enumerate(rows) if place < excess or at < before]
        for seq in gone:
            del self._rows[seq]
        return len(gone)

    def touch(self, webhook_ids: Iterable[str], at: float) -> None:
        """These webhooks are registered at ``at``."""
        self._refuse_unless_open()
        for webhook_id in webhook_ids:
            known = self._webhooks.get(webhook_id, KnownWebhook(at, None))
            self._webhooks[webhook_id] = known._replace(last_seen=max(at, known.last_seen))

    def save_state(self, webhook_id: str, state: Mapping[str, Any] | None) -> None:
        """Keep what a webhook must not forget: any JSON object, read out at once."""
        self._refuse_unless_open()
        copy = None if state is None else orjson.loads(orjson.dumps(dict(state)))
        known = self._webhooks.get(webhook_id, KnownWebhook(0.0, None))
        self._webhooks[webhook_id] = known._replace(state=copy)

    async def load_states(self) -> dict[str, KnownWebhook]:
        """Every webhook the journal knows: appended to, touched, or with a state."""
        self._refuse_unless_open()
        return dict(self._webhooks)

    def _change(
        self,
        seq: int,
        state: DeliveryState,
        attempts: int,
        outcome: AttemptResult | None,
        *,
        due: float | None = None,
        reason: str | None = None,
        at: float | None = None,
    ) -> None:
        self._refuse_unless_open()
        row = self._rows.get(seq)
        if row is None:
            return  # purged
        stored = None
        if outcome is not None:
            stored = StoredOutcome(outcome.status, outcome.error, escape_surrogates(outcome.detail))
        seqs = self._pending[row.webhook_id]
        if row.state == "pending" and state != "pending":
            del seqs[bisect_right(seqs, seq) - 1]
            self._pending_total -= 1
        elif row.state != "pending" and state == "pending":
            insort(seqs, seq)
            self._pending_total += 1
        self._rows[seq] = row._replace(
            state=state,
            attempts=attempts,
            due=row.due if due is None else due,
            outcome=stored,
            reason=reason,
            at=at,
        )

    def _select(
        self,
        status: DeliveryState | None,
        event_id: str | None,
        webhook_id: str | None,
        event: str | None,
    ) -> Iterator[StoredDelivery]:
        """In the order of ``seq``."""
        for row in self._rows.values():
            if (
                (status is None or row.state == status)
                and (event_id is None or row.envelope.id == event_id)
                and (webhook_id is None or row.webhook_id == webhook_id)
                and (event is None or row.envelope.name == event)
            ):
                yield row

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise JournalClosedError(None, self._state)


def _within(time: float, since: float | None, until: float | None) -> bool:
    return (since is None or time >= since) and (until is None or time < until)
