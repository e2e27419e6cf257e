"""The journal's state beside its file: its numbers, what is pending, what cannot be written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.journals import FINE, Observed, envelope

from relaybox_hooks.journal import JournalError, SQLiteJournal


async def test_no_number_is_given_twice_even_when_all_rows_are_gone(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        for seq in await journal.append(envelope(1), [("a", None)] * 3):
            journal.settle(seq, attempts=1, outcome=FINE, at=2.0)
        await journal.purge("delivered", keep=0)
    async with SQLiteJournal(path) as journal:
        assert list(await journal.append(envelope(2), [("a", None)])) == [4]


async def test_an_emitter_that_gave_up_holds_nobody_up(observed: Observed) -> None:
    go_on = await observed.hold_up()
    impatient = asyncio.ensure_future(observed.journal.append(envelope(1), [("a", None)]))
    patient = asyncio.ensure_future(observed.journal.append(envelope(2), [("a", None)]))
    question = asyncio.ensure_future(observed.journal.counts())
    await asyncio.sleep(0)
    impatient.cancel()
    question.cancel()
    go_on()
    assert list(await patient) == [2]
    assert observed.journal.pending_total == 2
    await observed.task


async def test_a_change_that_cannot_be_stored_turns_no_append_away(
    observed: Observed,
) -> None:
    journal = observed.journal
    (seq,) = await journal.append(envelope(1), [("a", None)])
    journal.settle(seq, attempts=2**70, outcome=None, at=1.0)
    with pytest.raises(JournalError, match="cannot be stored"):
        await journal.flush()
    await journal.append(envelope(2), [("a", None)])
    assert "cannot be stored" in str(journal.failing)
    journal.settle(seq, attempts=1, outcome=None, at=1.0)
    await journal.flush()
    assert journal.failing is None
    assert journal.pending_total == 1
