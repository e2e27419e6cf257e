"""The journal's state in the event loop: its numbers, its backlog, what cannot be written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.journals import Observed, delivered, envelope

from relaybox_hooks.journal import Backlog, JournalError, SQLiteJournal


async def test_no_number_is_given_twice_even_when_all_rows_are_gone(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        delivered(journal, *await journal.append_nowait(envelope(1), [("a", None)] * 3))
        await journal.purge("delivered", keep=0)
    async with SQLiteJournal(path) as journal:
        assert journal.backlog() == Backlog(pending=0, last_seq=3)
        assert list(await journal.append_nowait(envelope(2), [("a", None)])) == [4]


async def test_the_backlog_is_counted_before_anything_is_written(observed: Observed) -> None:
    journal = observed.journal
    given = await journal.append_nowait(envelope(0), [("a", None)] * 3)
    go_on = await observed.hold_up()
    appending = journal.append_nowait(envelope(1), [("a", None), ("b", None)])
    delivered(journal, *given)
    assert not appending.done()
    assert observed.commits == []
    assert journal.backlog() == Backlog(pending=2, last_seq=5)
    go_on()
    await appending
    assert journal.backlog() == Backlog(pending=2, last_seq=5)
    await observed.task


async def test_a_failed_append_leaves_the_backlog(observed: Observed) -> None:
    """With all that share its transaction; dead letters among them were never in it."""
    journal = observed.journal
    await journal.append_nowait(envelope(0), [("a", None)])
    go_on = await observed.hold_up()
    broken = journal.append_nowait(envelope(1, "\ud800"), [("a", None)])
    others = [
        journal.append_nowait(envelope(2), [("a", None), ("b", None)]),
        journal.append_nowait(envelope(3), [("a", None)], dead="overflow"),
    ]
    cancelled = journal.append_nowait(envelope(4), [("a", None)])
    cancelled.cancel()
    assert journal.backlog() == Backlog(pending=5, last_seq=6)
    go_on()
    with pytest.raises(JournalError, match="cannot be stored"):
        await broken
    for other in others:
        with pytest.raises(JournalError):
            await other
    assert journal.backlog().pending == 1
    assert len(await journal.deliveries()) == 1
    (seq,) = await journal.append_nowait(envelope(5), [("a", None)])
    assert seq > 6
    assert journal.backlog() == Backlog(pending=2, last_seq=seq)
    await observed.task


async def test_a_cancelled_append_is_stored_and_holds_no_other_up(observed: Observed) -> None:
    go_on = await observed.hold_up()
    impatient = observed.journal.append_nowait(envelope(1), [("a", None)])
    patient = observed.journal.append_nowait(envelope(2), [("a", None)])
    query = asyncio.ensure_future(observed.journal.counts())
    await asyncio.sleep(0)
    impatient.cancel()
    query.cancel()
    go_on()
    assert list(await patient) == [2]
    assert observed.journal.backlog().pending == 2
    await observed.task


async def test_a_change_that_cannot_be_stored_fails_no_append(observed: Observed) -> None:
    journal = observed.journal
    (seq,) = await journal.append_nowait(envelope(1), [("a", None)])
    delivered(journal, seq, attempts=2**70)
    with pytest.raises(JournalError, match="cannot be stored"):
        await journal.flush()
    await journal.append_nowait(envelope(2), [("a", None)])
    assert "cannot be stored" in str(journal.failing)
    delivered(journal, seq, before="delivered")
    await journal.flush()
    assert journal.failing is None
    assert journal.backlog().pending == 1
    assert (await journal.counts())["a"] == (1, 1, 0)
