"""Opening and closing of a SQLite journal, in order or not."""

# ruff: noqa: ASYNC240 - nothing else runs in these tests' event loops

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from support.journals import child, envelope, integrity

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.journal import SQLiteJournal


async def test_closing_leaves_one_consistent_file_of_its_owner(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        await journal.append_nowait(envelope(1), [("a", None)])
        assert sorted(os.listdir(path.parent)) == ["hooks.db", "hooks.db-wal"]
        assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["hooks.db"]
    assert integrity(path) == "ok"
    assert repr(path)[11:-1] in repr(journal)


async def test_a_cancelled_open_releases_the_file(path: Path) -> None:
    opening = asyncio.ensure_future(SQLiteJournal(path).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    for thread in threading.enumerate():
        if thread.name.startswith("relaybox-hooks"):
            thread.join()
    async with SQLiteJournal(path):
        pass


def test_a_forgotten_journal_warns_and_releases_the_file(path: Path) -> None:
    loop = asyncio.new_event_loop()
    journal = SQLiteJournal(path)
    loop.run_until_complete(journal.open())
    loop.run_until_complete(journal.append_nowait(envelope(1), [("a", None)]))
    loop.close()
    thread = journal._writer._thread
    assert thread.daemon
    journals = [journal]
    del journal
    with pytest.warns(ResourceWarning, match="unclosed <SQLiteJournal"):
        journals.clear()
    thread.join()
    assert integrity(path) == "ok"


def test_a_process_that_never_closes_ends_all_the_same(path: Path) -> None:
    process = child(
        """
import asyncio, sys
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.wire.envelope import Envelope
journal = SQLiteJournal(sys.argv[1])
async def main():
    await journal.open()
    await journal.append_nowait(Envelope("event-1", "room:join", b"", 1.0), [("a", None)])
asyncio.run(main())
""",
        path,
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert integrity(path) == "ok"


def test_an_unknown_durability_is_rejected(path: Path) -> None:
    with pytest.raises(ConfigError, match="durability"):
        SQLiteJournal(path, durability="disk")  # type: ignore[arg-type]


def test_a_missing_extra_is_named(path: Path) -> None:
    process = child(
        """
import sys
sys.modules["apsw"] = None
import relaybox_hooks.journal as journal
try:
    journal.SQLiteJournal
except ImportError as error:
    print(type(error).__name__, error.extra, error)
try:
    journal.PostgresJournal
except AttributeError as error:
    print(error)
"""
    )
    output, errors = process.communicate(timeout=60)
    first, second = output.splitlines()
    assert first == (
        "JournalDependencyError sqlite journal: apsw is not installed: "
        "pip install 'relaybox-hooks[sqlite]'"
    ), errors
    assert second == "module 'relaybox_hooks.journal' has no attribute 'PostgresJournal'"
