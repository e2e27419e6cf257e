"""Queries: each a generator that yields between slices, so that commits go between.

The value that a generator returns is the result. None of them holds a transaction over a ``yield``.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

import orjson

from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import (
    Change,
    Counts,
    DeliveryState,
    LaneHead,
    StoredDelivery,
    StoredOutcome,
)
from relaybox_hooks.journal.sqlite.rows import DEAD, STATES, Store
from relaybox_hooks.wire.envelope import Envelope

T = TypeVar("T")


class Unwritten(Protocol):
    """The writer, as far as its changes that could not be written matter."""

    failing: JournalError | None


#: A query under way: each step is short, the last one returns the result.
Steps: TypeAlias = Generator[None, None, T]

#: Rows that a step looks at, at most: a few milliseconds.
_SLICE: Final = 10_000
#: Rows that a step deletes, at most: they cost more, and each is a page in the log.
_PURGE_SLICE: Final = 500
#: Larger than any seq, and than the rowid of any row.
_END: Final = 2**63 - 1

_COLUMNS: Final = """SELECT d.seq, w.id, d.key, e.id, e.name, e.prefix, e.time, d.state,
    d.attempts, d.due, d.status, d.error, d.detail, d.reason, d.at FROM """
_JOINS: Final = " JOIN event AS e ON e.ref = d.event JOIN webhook AS w ON w.ref = d.webhook WHERE "

_BY_SEQ: Final = (
    _COLUMNS
    + "delivery AS d INDEXED BY pending_by_seq"
    + _JOINS
    + "d.state = 0 AND d.webhook = ? AND d.seq > ?"
)
_BY_KEY: Final = (
    _COLUMNS
    + "delivery AS d INDEXED BY pending_by_key"
    + _JOINS
    + "d.state = 0 AND d.key IS NOT NULL AND d.webhook = ? AND d.key = ? AND d.seq > ?"
)
_SKIP: Final = (
    " AND d.seq <= ? AND (d.key IS NULL OR d.key NOT IN (SELECT value FROM json_each(?)))"
)
_IN_ORDER: Final = " ORDER BY d.seq LIMIT ?"
#: Where a slice of pending deliveries ends, out of the index alone.
_SLICE_END: Final = """SELECT seq FROM delivery INDEXED BY pending_by_seq
WHERE state = 0 AND webhook = ? AND seq > ? ORDER BY seq LIMIT 1 OFFSET ?"""
_LOG_SLICE_END: Final = "SELECT seq FROM delivery WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?"


class Wanted(NamedTuple):
    """Which pending deliveries to read; see ``DeliverySource.read``."""

    webhook_id: str
    limit: int
    max_bytes: int
    after: int
    key: str | None
    skip_keys: Collection[str]


def read(
    store: Store, wanted: Wanted, unwritten: Mapping[int, Change]
) -> Steps[list[StoredDelivery]]:
    """Return pending deliveries in order, without those that are settled but not written yet."""
    found = _Found(wanted.limit, wanted.max_bytes, unwritten)
    ref, after, key = store.ref(wanted.webhook_id), wanted.after, wanted.key
    skipped = orjson.dumps(list(wanted.skip_keys)).decode()
    while ref is not None and not found.full:
        room = wanted.limit - len(found.rows)
        end: int | None = None
        if key is not None:
            rows = store.iterate(_BY_KEY + _IN_ORDER, (ref, key, after, room))
        elif not wanted.skip_keys:
            rows = store.iterate(_BY_SEQ + _IN_ORDER, (ref, after, room))
        else:
            end = next((row[0] for row in store.rows(_SLICE_END, (ref, after, _SLICE - 1))), None)
            last = _END if end is None else end
            rows = store.iterate(_BY_SEQ + _SKIP + _IN_ORDER, (ref, after, last, skipped, room))
        if found.take(rows) == room:
            after = found.last
        elif end is not None:
            after = end
        else:
            break
        yield
    return found.rows


class _Found:
    """Collects pending deliveries, up to two bounds.

    Attributes:
        rows: those that are not settled.
        last: number of the last one that was looked at.
    """

    def __init__(self, limit: int, max_bytes: int, unwritten: Mapping[int, Change]) -> None:
        self.rows: list[StoredDelivery] = []
        self.last: int = 0
        self._limit = limit
        self._left = max_bytes
        self._unwritten = unwritten

    @property
    def full(self) -> bool:
        """True if no more are wanted."""
        return len(self.rows) >= self._limit or self._left <= 0

    def take(self, rows: Generator[Any, None, None]) -> int:
        """Take rows until there are enough; return how many were looked at."""
        looked = 0
        for row in rows:
            looked += 1
            self.last = row[0]
            stored = _unless_settled(_stored(row), self._unwritten)
            if stored is not None:
                self.rows.append(stored)
                self._left -= len(stored.envelope.prefix)
                if self._left <= 0:
                    break
        rows.close()
        return looked


def _unless_settled(
    stored: StoredDelivery, unwritten: Mapping[int, Change]
) -> StoredDelivery | None:
    """Return a pending delivery as its unwritten change has it; ``None`` if it is settled."""
    change = unwritten.get(stored.seq)
    if change is None:
        return stored
    if change.state != "pending":
        return None
    outcome, kept = change.outcome, None
    if outcome is not None:
        kept = StoredOutcome(outcome.status, outcome.error, outcome.detail)
    return stored._replace(attempts=change.attempts, due=change.at, outcome=kept)


def dead_letters(
    store: Store, filters: dict[str, Any], after: StoredDelivery | None, limit: int | None
) -> Steps[list[StoredDelivery]]:
    """Return dead letters in the order of their time."""
    where, bindings = _where(filters)
    at, seq = (after.at, after.seq) if after else (float("-inf"), 0)
    sql = (
        _COLUMNS
        + "delivery AS d INDEXED BY settled"
        + _JOINS
        + f"d.state <> 0 AND d.state = {DEAD} AND (d.at, d.seq) > (?, ?){where}"
        + " ORDER BY d.at, d.seq LIMIT ?"
    )
    yield
    rows = store.rows(sql, (at, seq, *bindings, -1 if limit is None else limit))
    return [_stored(row) for row in rows]


def deliveries(
    store: Store, filters: dict[str, Any], before: int | None, limit: int
) -> Steps[list[StoredDelivery]]:
    """Return deliveries of any state, newest first."""
    where, bindings = _where(filters)
    sql = (
        _COLUMNS
        + "delivery AS d"
        + _JOINS
        + f"d.seq < ? AND d.seq >= ?{where} ORDER BY d.seq DESC LIMIT ?"
    )
    found: list[StoredDelivery] = []
    high: int | None = _END if before is None else before
    while high is not None and len(found) < limit:
        low = next((row[0] for row in store.rows(_LOG_SLICE_END, (high, _SLICE - 1))), None)
        rows = store.rows(sql, (high, low or 0, *bindings, limit - len(found)))
        found += map(_stored, rows)
        high = low
        yield
    return found


def counts(store: Store) -> Steps[dict[str, Counts]]:
    """Return the counts of each webhook."""
    yield
    return store.counts()


def lanes(store: Store) -> Steps[list[LaneHead]]:
    """Return every webhook with its number of pending deliveries and its state."""
    yield
    return [
        LaneHead(
            webhook_id,
            store.pending_of(ref),
            seen,
            None if state is None else orjson.loads(state),
        )
        for ref, webhook_id, seen, state in store.rows(
            "SELECT ref, id, last_seen, state FROM webhook ORDER BY ref"
        )
    ]


def flush(writer: Unwritten) -> Steps[None]:
    """Raise if what was queued before could not be written."""
    yield
    if writer.failing is not None:
        raise writer.failing


def purge(store: Store, status: DeliveryState, before: float, keep: int | None) -> Steps[int]:
    """Delete settled deliveries by age and by count; return how many."""
    state = STATES.index(status)
    gone = 0
    while True:
        excess = 0 if keep is None else max(0, store.total(state) - keep)
        deleted = store.delete_settled(state, before, excess, _PURGE_SLICE)
        gone += deleted
        if deleted < _PURGE_SLICE:
            return gone
        yield


def _where(filters: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return SQL conditions, and their values, for the filters that are given."""
    given = {condition: value for condition, value in filters.items() if value is not None}
    return "".join(f" AND {condition}" for condition in given), list(given.values())


def _stored(row: tuple[Any, ...]) -> StoredDelivery:
    seq, webhook_id, key, event_id, name, prefix, time, state, attempts, due = row[:10]
    status, error, detail, reason, at = row[10:]
    outcome = None
    if status is not None or error is not None:
        outcome = StoredOutcome(status, error, detail or "")
    envelope = Envelope(event_id, name, prefix, time)
    return StoredDelivery(
        seq, webhook_id, key, envelope, STATES[state], attempts, due, outcome, reason, at
    )
