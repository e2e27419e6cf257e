"""A journal in memory for tests: the contract of ``Journal`` without its promise."""

from __future__ import annotations

import asyncio
from asyncio import Future
from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.journal.errors import JournalClosedError
from relaybox_hooks.journal.protocol import (
    Backlog,
    Change,
    Counts,
    DeliveryState,
    Grant,
    Journal,
    LaneHead,
    StoredDelivery,
    StoredOutcome,
    Targets,
    check_order_keys,
    escape_surrogates,
)
from relaybox_hooks.validation import Overflow, check_int, check_overflow
from relaybox_hooks.wire.envelope import Envelope


class MemoryJournal(Journal):
    """A :class:`~relaybox_hooks.journal.Journal` that is empty once it is closed.

    For tests, and as the reference of the contract; queries look at everything there is.

    Args:
        max_pending: how many deliveries may be pending.
        overflow: the policy of ``Hooks`` for one more event: ``"wait"``, ``"drop_oldest"``,
            ``"drop_newest"`` or ``"raise"``.
    """

    def __init__(self, *, max_pending: int = 1_000_000, overflow: Overflow = "wait") -> None:
        self._max_pending = check_int("max_pending", max_pending)
        self._overflow = check_overflow("overflow", overflow)
        self._state = "new"
        self._next_seq = 1
        self._rows: dict[int, StoredDelivery] = {}
        #: The pending seqs of each webhook, ascending.
        self._pending: dict[str, list[int]] = {}
        self._pending_total = 0
        #: When each webhook was registered last, and the state of its lane.
        self._webhooks: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<MemoryJournal {self._state}: {self._pending_total} pending>"

    @property
    def max_pending(self) -> int:
        return self._max_pending

    @property
    def overflow(self) -> Overflow:
        return self._overflow

    @property
    def path(self) -> None:
        return None

    @property
    def failing(self) -> None:
        return None

    async def open(self) -> None:
        if self._state != "new":
            raise JournalClosedError(None, self._state)
        self._loop = asyncio.get_running_loop()
        self._state = "open"

    async def aclose(self) -> None:
        self._state = "closed"
        self._rows.clear()
        self._pending.clear()
        self._pending_total = 0

    async def flush(self) -> None:
        self._check_open()

    def append_nowait(
        self, envelope: Envelope, targets: Targets, *, dead: str | None = None
    ) -> Future[Sequence[int]]:
        self._check_open()
        if not targets:
            raise ConfigError("targets", targets, "give one webhook or more")
        check_order_keys(targets)
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
            self._webhooks.setdefault(webhook_id, (envelope.time, None))
        self._next_seq += len(targets)
        future.set_result(range(first, self._next_seq))
        return future

    def backlog(self) -> Backlog:
        return Backlog(self._pending_total, self._next_seq - 1)

    async def lanes(self, grant: Grant) -> list[LaneHead]:
        self._check_open()
        return [
            LaneHead(webhook_id, len(self._pending.get(webhook_id, ())), seen, state)
            for webhook_id, (seen, state) in self._webhooks.items()
        ]

    async def read(
        self,
        grant: Grant,
        webhook_id: str,
        *,
        limit: int,
        max_bytes: int,
        after: int = 0,
        key: str | None = None,
        skip_keys: Collection[str] = (),
    ) -> list[StoredDelivery]:
        self._check_open()
        found: list[StoredDelivery] = []
        size = 0
        seqs = self._pending.get(webhook_id, [])
        for place in range(bisect_right(seqs, after), len(seqs)):
            if len(found) == limit or size >= max_bytes:
                break
            row = self._rows[seqs[place]]
            if (key is None or row.key == key) and (row.key is None or row.key not in skip_keys):
                found.append(row)
                size += len(row.envelope.prefix)
        return found

    def commit(self, grant: Grant, changes: Iterable[Change]) -> None:
        self._check_open()
        for change in changes:
            row = self._rows.get(change.seq)
            if row is not None:  # else it was purged
                self._apply(row, change)

    def touch(self, webhook_ids: Iterable[str], at: float) -> None:
        self._check_open()
        for webhook_id in webhook_ids:
            seen, state = self._webhooks.get(webhook_id, (at, None))
            self._webhooks[webhook_id] = max(at, seen), state

    def save_state(self, webhook_id: str, state: Mapping[str, Any] | None) -> None:
        self._check_open()
        copy = None if state is None else orjson.loads(orjson.dumps(dict(state)))
        seen, _ = self._webhooks.get(webhook_id, (0.0, None))
        self._webhooks[webhook_id] = seen, copy

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
        self._check_open()
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
        self._check_open()
        rows = [
            row
            for row in self._select(status, event_id, webhook_id, event)
            if _within(row.envelope.time, since, until) and (before is None or row.seq < before)
        ]
        return rows[::-1][:limit]

    async def counts(self) -> dict[str, Counts]:
        self._check_open()
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
        self._check_open()
        rows = sorted(
            (row.at or 0.0, row.seq) for row in self._rows.values() if row.state == status
        )
        excess = 0 if keep is None else max(0, len(rows) - keep)
        gone = [seq for place, (at, seq) in enumerate(rows) if place < excess or at < before]
        for seq in gone:
            del self._rows[seq]
        return len(gone)

    def _apply(self, row: StoredDelivery, change: Change) -> None:
        stored, outcome = None, change.outcome
        if outcome is not None:
            detail = escape_surrogates(outcome.detail)
            stored = StoredOutcome(outcome.status, outcome.error, detail)
        pending = change.state == "pending"
        seqs = self._pending[row.webhook_id]
        if row.state == "pending" and not pending:
            del seqs[bisect_right(seqs, row.seq) - 1]
            self._pending_total -= 1
        elif row.state != "pending" and pending:
            insort(seqs, row.seq)
            self._pending_total += 1
        self._rows[row.seq] = row._replace(
            state=change.state,
            attempts=change.attempts,
            due=change.at if pending else row.due,
            outcome=stored,
            reason=change.reason,
            at=None if pending else change.at,
        )

    def _select(
        self,
        status: DeliveryState | None,
        event_id: str | None,
        webhook_id: str | None,
        event: str | None,
    ) -> Iterator[StoredDelivery]:
        """Yield what fits, in the order of ``seq``."""
        for row in self._rows.values():
            if (
                (status is None or row.state == status)
                and (event_id is None or row.envelope.id == event_id)
                and (webhook_id is None or row.webhook_id == webhook_id)
                and (event is None or row.envelope.name == event)
            ):
                yield row

    def _check_open(self) -> None:
        if self._state != "open":
            raise JournalClosedError(None, self._state)


def _within(time: float, since: float | None, until: float | None) -> bool:
    return (since is None or time >= since) and (until is None or time < until)
