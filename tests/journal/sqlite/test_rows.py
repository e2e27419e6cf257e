"""The rows of events and deliveries: what is written, and what a purge takes along."""

from __future__ import annotations

from pathlib import Path

import apsw
from support.journals import dead, delivered, envelope, pending, retry_at

from relaybox_hooks.journal import PERMANENT, Backlog, LaneHead, SQLiteJournal, StoredOutcome


async def test_everything_is_there_after_reopening(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        targets = [("a", "k"), ("a", None), ("b", None)]
        a, b, c = await journal.append_nowait(envelope(1), targets)
        retry_at(journal, 99.5, a, attempts=3, outcome=StoredOutcome(503, None, "busy"))
        delivered(journal, b)
        dead(journal, c, reason="rejected", outcome=None)
        journal.save_state("a", {"disabled": True})
    async with SQLiteJournal(path) as journal:
        assert journal.backlog() == Backlog(pending=1, last_seq=c)
        (row,) = await pending(journal)
        assert (row.seq, row.attempts, row.due) == (a, 3, 99.5)
        assert row.outcome == StoredOutcome(503, None, "busy")
        assert await journal.counts() == {"a": (1, 1, 0), "b": (0, 0, 1)}
        assert await journal.lanes(PERMANENT) == [
            LaneHead("a", 1, 1.0, {"disabled": True}),
            LaneHead("b", 0, 1.0, None),
        ]


async def test_a_purge_leaves_no_event_without_deliveries(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        one = await journal.append_nowait(envelope(1), [("a", None), ("b", None)])
        (two,) = await journal.append_nowait(envelope(2), [("a", None)])
        delivered(journal, one[0], two)
        assert await journal.purge("delivered", keep=0) == 2
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT id FROM event").get == "event-1"
    connection.close()
