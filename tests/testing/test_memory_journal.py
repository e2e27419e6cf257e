"""The journal in memory, beyond the contract that it shares with every journal.

That contract is tested in ``tests/journal``, on this journal too.
"""

from __future__ import annotations

import pytest
from support.journals import delivered, envelope

from relaybox_hooks import ConfigError
from relaybox_hooks.journal import Backlog, JournalClosedError
from relaybox_hooks.testing import MemoryJournal


async def test_it_is_empty_once_it_is_closed() -> None:
    journal = MemoryJournal()
    await journal.open()
    await journal.append_nowait(envelope(1), [("a", None)])
    assert repr(journal) == "<MemoryJournal open: 1 pending>"
    await journal.aclose()
    assert repr(journal) == "<MemoryJournal closed: 0 pending>"
    with pytest.raises(JournalClosedError, match="make a new one"):
        await journal.open()


async def test_an_append_is_stored_at_once() -> None:
    journal = MemoryJournal()
    await journal.open()
    future = journal.append_nowait(envelope(1), [("a", None), ("b", None)])
    assert future.done()
    assert list(future.result()) == [1, 2]
    delivered(journal, 1)
    assert journal.backlog() == Backlog(pending=1, last_seq=2)
    assert journal.failing is None
    await journal.aclose()


def test_options_that_cannot_work_are_rejected() -> None:
    with pytest.raises(ConfigError, match="max_pending"):
        MemoryJournal(max_pending=0)
    with pytest.raises(ConfigError, match="overflow"):
        MemoryJournal(overflow="drop")  # type: ignore[arg-type]
    journal = MemoryJournal(max_pending=5, overflow="raise")
    assert (journal.max_pending, journal.overflow) == (5, "raise")
