"""Rows that a transaction writes, and the counts that go with them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import apsw
import orjson

from relaybox_hooks.journal.protocol import (
    Change,
    Counts,
    DeliveryState,
    Targets,
    escape_surrogates,
)
from relaybox_hooks.wire.envelope import Envelope

STATES: Final[tuple[DeliveryState, ...]] = ("pending", "delivered", "dead")
PENDING, DELIVERED, DEAD = range(3)

#: Rows per statement, the largest that fits first. Many rows to a statement, because apsw gives
#: the interpreter up around each step: a busy event loop would take every one of them.
_CHUNKS: Final = (128, 32, 8, 1)

_EVENT: Final = "INSERT INTO event (ref, deliveries, id, name, prefix, time) VALUES "
_DELIVERY: Final = "INSERT INTO delivery (seq, event, webhook, key, due) VALUES "
_DEAD: Final = "INSERT INTO delivery (seq, event, webhook, key, due, state, reason, at) VALUES "
_CHANGE: Final = "WITH v (seq, state, attempts, due, status, error, detail, reason, at) AS (VALUES "
#: Values of a change in ``_CHANGE``.
_CHANGE_COLUMNS: Final = 9
_MOVES: Final = """)
SELECT d.webhook, d.state, v.state, count(*) FROM v CROSS JOIN delivery AS d ON d.seq = v.seq
GROUP BY 1, 2, 3"""
_UPDATE: Final = """)
UPDATE delivery SET state = v.state, attempts = v.attempts, due = coalesce(v.due, delivery.due),
    status = v.status, error = v.error, detail = v.detail, reason = v.reason, at = v.at
FROM v WHERE delivery.seq = v.seq"""
_WEBHOOK: Final = "INSERT INTO webhook (ref, id, last_seen) VALUES (?, ?, ?)"
_TOUCH: Final = "UPDATE webhook SET last_seen = max(last_seen, ?) WHERE ref = ?"
_KEEP: Final = "UPDATE webhook SET state = ? WHERE ref = ?"

_OLDEST: Final = """SELECT seq, event, webhook, at FROM delivery INDEXED BY settled
WHERE state <> 0 AND state = ? ORDER BY at, seq LIMIT ?"""
_DELETE: Final = "DELETE FROM delivery WHERE seq IN (SELECT value FROM json_each(?))"
_ORPHANS: Final = """DELETE FROM event WHERE ref IN (SELECT value FROM json_each(?))
AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq >= ref AND seq < ref + deliveries)"""

T = TypeVar("T")

#: An event to be appended: the seq of its first delivery, the event, its targets, and the reason
#: of its deliveries, if they are dead letters.
Append: TypeAlias = tuple[int, Envelope, Targets, str | None]


class Note(NamedTuple):
    """A note about a webhook: when it was seen, or its state as JSON."""

    webhook_id: str
    seen: float | None
    state: str | None


class Store:
    """A connection, and what is known of its rows without a query. Belongs to one thread.

    Mutable state: the webhooks' numbers, and their counts by state, both as committed.

    Attributes:
        pending: how many deliveries are.
        next_seq: the lowest number that was never given.
        log_pages: the pages the write-ahead log had after the last commit.
    """

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self.connection = connection
        self.path = path
        self.log_pages: int = 0
        # Also switches SQLite's own checkpoints off, which would run before the commit that
        # causes them is reported (c3ref/wal_hook.html).
        connection.set_wal_hook(self._logged)
        self._refs: dict[str, int] = dict(self.rows("SELECT id, ref FROM webhook"))
        self._next_ref = max(self._refs.values(), default=0) + 1
        self._counts: dict[int, list[int]] = {}
        for ref, state, number in self.rows(
            "SELECT webhook, 0, count(*) FROM delivery WHERE state = 0 GROUP BY 1 UNION ALL "
            "SELECT webhook, state, count(*) FROM delivery WHERE state <> 0 GROUP BY 1, 2"
        ):
            self._add_count(ref, state, number)
        self.pending: int = self.total(PENDING)
        self.next_seq: int = connection.execute(
            "SELECT max(next_seq, 1 + (SELECT coalesce(max(seq), 0) FROM delivery)) FROM journal"
        ).get

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[Any]:
        """Return all the rows of a query."""
        return self.connection.execute(sql, bindings).fetchall()

    def iterate(self, sql: str, bindings: Sequence[Any] = ()) -> Generator[Any, None, None]:
        """Yield the rows of a query, each read as it is asked for. Close it to read no more."""
        cursor = self.connection.execute(sql, bindings)
        try:
            yield from cursor
        finally:
            cursor.close()

    def ref(self, webhook_id: str) -> int | None:
        """Return a webhook's number, ``None`` where it is not known."""
        return self._refs.get(webhook_id)

    def total(self, state: int) -> int:
        """Return how many deliveries are in this state."""
        return sum(counts[state] for counts in self._counts.values())

    def pending_of(self, ref: int) -> int:
        """Return how many deliveries of a webhook are pending."""
        counts = self._counts.get(ref)
        return 0 if counts is None else counts[PENDING]

    def counts(self) -> dict[str, Counts]:
        """Return the counts of each webhook that has, or had, deliveries."""
        found = ((name, self._counts.get(ref)) for name, ref in self._refs.items())
        return {webhook_id: Counts(*counts) for webhook_id, counts in found if counts}

    def write(
        self, appends: Sequence[Append], changes: Iterable[Change], notes: Iterable[Note]
    ) -> None:
        """Write all of it in one transaction, or nothing.

        Raises:
            apsw.Error: nothing was written.
        """
        fresh: dict[str, int] = {}
        changes, notes = list(changes), list(notes)

        def rows() -> tuple[dict[tuple[int, int], int], list[tuple[int, int, int, int]]]:
            fresh.clear()
            grown = self._append(appends, fresh)
            moves = self._change(changes)
            self._note(notes, fresh)
            return grown, moves

        grown, moves = self._transact(rows)
        self._refs.update(fresh)
        self._next_ref += len(fresh)
        for (ref, state), number in grown.items():
            self._add_count(ref, state, number)
            self.pending += number * (state == PENDING)
        for ref, before, after, number in moves:
            self._add_count(ref, before, -number)
            self._add_count(ref, after, number)
            self.pending += number * ((after == PENDING) - (before == PENDING))

    def delete_settled(self, state: int, before: float, excess: int, limit: int) -> int:
        """Delete the oldest settled rows, and events without rows; return how many rows.

        Args:
            state: delivered or dead.
            before: those settled before, seconds since the Unix epoch.
            excess: this many of the oldest, whatever their age.
            limit: look at no more than this many.
        """
        oldest = self.rows(_OLDEST, (state, limit))
        gone = [row for place, row in enumerate(oldest) if place < excess or row[3] < before]
        if gone:
            self._transact(lambda: self._delete(gone))
            for _, _, ref, _ in gone:
                self._add_count(ref, state, -1)
        return len(gone)

    def checkpoint(self) -> None:
        """Move the log's pages to the database, so that the log is written from its start again.

        Without other connections nothing holds a passive one up (c3ref/wal_checkpoint_v2.html).

        Raises:
            apsw.Error: they stay in the log, and nothing is lost.
        """
        self.log_pages = 0
        self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def close(self) -> None:
        """Checkpoint, remove the log, release the file."""
        self.connection.close(True)

    def _transact(self, rows: Callable[[], T]) -> T:
        """Commit what ``rows`` writes; where there is no room, once more with an empty log.

        The log's file stays as long as it is, and can be written again from its start.
        """
        try:
            return self._commit(rows)
        except (apsw.FullError, apsw.IOError):
            self.checkpoint()
        return self._commit(rows)

    def _commit(self, rows: Callable[[], T]) -> T:
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = rows()
            connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back itself (lang_transaction.html, section 3).
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _delete(self, gone: list[Any]) -> None:
        execute = self.connection.execute
        execute("UPDATE journal SET next_seq = ?", (self.next_seq,))
        execute(_DELETE, (_json([row[0] for row in gone]),))
        execute(_ORPHANS, (_json([*{row[1] for row in gone}]),))

    def _append(
        self, appends: Sequence[Append], fresh: dict[str, int]
    ) -> dict[tuple[int, int], int]:
        """Insert events and deliveries; return how many for each webhook and state."""
        if not appends:
            return {}
        events: list[Any] = []
        deliveries: list[Any] = []
        dead: list[Any] = []
        grown: dict[tuple[int, int], int] = {}
        refs = self._refs
        seq = self.next_seq
        for first, envelope, targets, reason in appends:
            seq, time = first, envelope.time
            events += (seq, len(targets), envelope.id, envelope.name, envelope.prefix, time)
            for webhook_id, key in targets:
                ref = refs.get(webhook_id) or self._introduce(webhook_id, time, fresh)
                if reason is None:
                    deliveries += (seq, first, ref, key, time)
                    kind = ref, PENDING
                else:
                    dead += (seq, first, ref, key, time, DEAD, reason, time)
                    kind = ref, DEAD
                grown[kind] = grown.get(kind, 0) + 1
                seq += 1
        for sql, bindings in _chunked(_EVENT, events, 6):
            self.connection.execute(sql, bindings)
        for sql, bindings in _chunked(_DELIVERY, deliveries, 5):
            self.connection.execute(sql, bindings)
        for sql, bindings in _chunked(_DEAD, dead, 8):
            self.connection.execute(sql, bindings)
        self.next_seq = max(self.next_seq, seq)
        return grown

    def _change(self, changes: Iterable[Change]) -> list[tuple[int, int, int, int]]:
        """Update deliveries; return (webhook, state before, state after, how many)."""
        moves: list[tuple[int, int, int, int]] = []
        flat = [value for change in changes for value in _columns(change)]
        for values, bindings in _chunked(_CHANGE, flat, _CHANGE_COLUMNS):
            moves += self.rows(values + _MOVES, bindings)
            self.connection.execute(values + _UPDATE, bindings)
        return moves

    def _note(self, notes: Iterable[Note], fresh: dict[str, int]) -> None:
        for webhook_id, seen, state in notes:
            ref = self._refs.get(webhook_id) or self._introduce(webhook_id, seen or 0.0, fresh)
            if seen is not None:
                self.connection.execute(_TOUCH, (seen, ref))
            else:
                self.connection.execute(_KEEP, (state, ref))

    def _introduce(self, webhook_id: str, seen: float, fresh: dict[str, int]) -> int:
        """Number a webhook that is new in this transaction."""
        ref = fresh.get(webhook_id)
        if ref is None:
            ref = fresh[webhook_id] = self._next_ref + len(fresh)
            self.connection.execute(_WEBHOOK, (ref, webhook_id, seen))
        return ref

    def _add_count(self, ref: int, state: int, number: int) -> None:
        self._counts.setdefault(ref, [0, 0, 0])[state] += number

    def _logged(self, connection: apsw.Connection, schema: str, pages: int) -> int:
        self.log_pages = pages
        return apsw.SQLITE_OK


def _columns(change: Change) -> tuple[Any, ...]:
    """Return a change as ``_CHANGE`` has it; ``due`` stays where it is ``None``."""
    status = error = detail = None
    if change.outcome is not None:
        outcome = change.outcome
        status, error, detail = outcome.status, outcome.error, escape_surrogates(outcome.detail)
    due, at = (change.at, None) if change.state == "pending" else (None, change.at)
    state = STATES.index(change.state)
    return change.seq, state, change.attempts, due, status, error, detail, change.reason, at


def _chunked(sql: str, flat: list[Any], width: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield statements for as many rows as there are, and the bindings of each."""
    at, left = 0, len(flat) // width
    for size in _CHUNKS:
        if left >= size:
            text = _statement(sql, width, size)
            while left >= size:
                yield text, flat[at : at + size * width]
                at += size * width
                left -= size


@lru_cache(maxsize=64)
def _statement(sql: str, width: int, rows: int) -> str:
    return sql + ", ".join([f"({', '.join('?' * width)})"] * rows)


def _json(numbers: list[int]) -> str:
    return orjson.dumps(numbers).decode()
