"""The rows of events and deliveries: what is written, and what a purge takes along."""

from __future__ import annotations

from pathlib import Path

import apsw
from support.journals import FINE, envelope

from relaybox_hooks.journal import (
    SQLiteJournal,
    StoredOutcome,
)


async def test_everything_is_there_after_reopening(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        a, b, c = await journal.append(envelope(1), [("a", "k"), ("a", None), ("b", None)])
        journal.reschedule(a, attempts=3, due=99.5, outcome=StoredOutcome(503, None, "busy"))
        journal.settle(b, attempts=1, outcome=FINE, at=2.0)
        journal.bury(c, "rejected", attempts=1, outcome=None, at=3.0)
        journal.save_state("a", {"disabled": True})
    async with SQLiteJournal(path) as journal:
        (row,) = await journal.lease("a", limit=9, until=0)
        assert (row.seq, row.attempts, row.due) == (a, 3, 99.5)
        assert row.outcome == StoredOutcome(503, None, "busy")
        assert await journal.counts() == {"a": (1, 1, 0), "b": (0, 0, 1)}
        assert (await journal.load_states())["a"].state == {"disabled": True}
        assert journal.pending_total == 1


async def test_a_purge_leaves_no_event_without_deliveries(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        one = await journal.append(envelope(1), [("a", None), ("b", None)])
        (two,) = await journal.append(envelope(2), [("a", None)])
        for seq in (one[0], two):
            journal.settle(seq, attempts=1, outcome=FINE, at=2.0)
        assert await journal.purge("delivered", keep=0) == 2
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT id FROM event").get == "event-1"
    connection.close()
