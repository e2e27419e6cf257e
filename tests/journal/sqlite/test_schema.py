"""The file: opened by one process alone, rejected where it is none, its schema lifted."""

# ruff: noqa: ASYNC240 - nothing else runs in these tests' event loops

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import apsw
import pytest
from support.journals import child, envelope, open_error, stored

from relaybox_hooks.journal import (
    JournalFormatError,
    JournalIOError,
    JournalLockedError,
    JournalReadOnlyError,
    JournalVersionError,
    SQLiteJournal,
)
from relaybox_hooks.journal.sqlite.schema import APPLICATION_ID, MIGRATIONS, connect, migrate


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
async def test_durability_is_how_often_the_log_is_synced(
    path: Path, durability: Any, synchronous: int
) -> None:
    connection = connect(str(path), durability)
    assert connection.pragma("synchronous") == synchronous
    assert connection.pragma("fullfsync") == (durability == "power")
    assert connection.pragma("journal_mode") == "wal"
    connection.close()
    async with SQLiteJournal(path, durability=durability) as journal:
        await journal.append_nowait(envelope(1), [("a", None)])


async def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    path.write_text("shopping list\n" * 500)
    assert isinstance(await open_error(path), JournalFormatError)
    assert path.read_text() == "shopping list\n" * 500
    assert os.listdir(path.parent) == ["hooks.db"]


async def test_another_applications_database_is_refused_and_kept(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE guests (name)")
    connection.close()
    before = path.read_bytes()
    assert "another application" in str(await open_error(path))
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused_and_kept(path: Path) -> None:
    async with SQLiteJournal(path):
        pass
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    before = path.read_bytes()
    error = await open_error(path)
    assert isinstance(error, JournalVersionError)
    assert (error.found, error.supported) == (99, len(MIGRATIONS))
    assert path.read_bytes() == before


async def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    error = await open_error(tmp_path / "missing" / "hooks.db")
    assert isinstance(error, JournalIOError)
    assert error.errno == 2
    assert isinstance(await open_error(tmp_path), JournalIOError)


async def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    async with SQLiteJournal(path) as journal:
        await journal.append_nowait(envelope(1), [("a", None)])


@pytest.fixture
def somebodys() -> Iterator[Path]:
    """A directory, as a user who is not the superuser: the superuser may write everything."""
    directory = Path(mkdtemp(prefix="relaybox-"))
    superuser = os.geteuid() == 0
    if superuser:
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(directory, nobody, -1)
        os.seteuid(nobody)
    try:
        yield directory
    finally:
        directory.chmod(0o700)
        if superuser:
            os.seteuid(0)
        shutil.rmtree(directory)


async def test_a_read_only_file_is_refused(somebodys: Path) -> None:
    path = somebodys / "hooks.db"
    async with SQLiteJournal(path) as journal:
        await journal.append_nowait(envelope(1), [("a", None)])
    path.chmod(0o400)
    assert isinstance(await open_error(path), JournalReadOnlyError)
    path.chmod(0o000)
    assert isinstance(await open_error(path), JournalReadOnlyError)
    path.chmod(0o600)
    async with SQLiteJournal(path) as journal:
        assert await stored(journal) == ["event-1"]


async def test_a_read_only_directory_is_refused(somebodys: Path) -> None:
    path = somebodys / "hooks.db"
    async with SQLiteJournal(path):
        pass
    somebodys.chmod(0o500)
    assert isinstance(await open_error(path), JournalReadOnlyError)
    assert isinstance(await open_error(somebodys / "new.db"), JournalReadOnlyError)


HOLDER = """
import asyncio, sys
from relaybox_hooks.journal import SQLiteJournal
async def main():
    journal = SQLiteJournal(sys.argv[1])
    await journal.open()
    print("open", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


async def test_a_file_belongs_to_one_process_until_it_is_killed(path: Path) -> None:
    holder = child(HOLDER, path)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert isinstance(await open_error(path), JournalLockedError)
    finally:
        holder.kill()
        holder.communicate()
    async with SQLiteJournal(path) as journal:
        await journal.append_nowait(envelope(1), [("a", None)])
        assert isinstance(await open_error(path), JournalLockedError)
        late = child(HOLDER, path)
        _, errors = late.communicate("")
        assert "JournalLockedError" in errors
        assert await stored(journal) == ["event-1"]


def test_a_database_is_lifted_from_the_version_it_has(path: Path) -> None:
    connection = connect(str(path), "process")
    connection.execute("INSERT INTO webhook VALUES (1, 'a', 0, NULL)")

    def second(connection: apsw.Connection) -> None:
        connection.execute("ALTER TABLE webhook ADD COLUMN name TEXT NOT NULL DEFAULT 'nameless'")

    migrate(connection, str(path), [*MIGRATIONS, second])
    assert connection.pragma("user_version") == len(MIGRATIONS) + 1
    assert connection.pragma("application_id") == APPLICATION_ID
    assert connection.execute("SELECT id, name FROM webhook").get == ("a", "nameless")
    migrate(connection, str(path), [*MIGRATIONS, second])
    connection.close()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    connection = connect(str(path), "process")

    def broken(connection: apsw.Connection) -> None:
        connection.execute("DROP TABLE event")
        connection.execute("CREATE TABLE webhook (id)")

    with pytest.raises(apsw.SQLError):
        migrate(connection, str(path), [*MIGRATIONS, broken])
    assert connection.pragma("user_version") == len(MIGRATIONS)
    assert connection.execute("SELECT count(*) FROM event").get == 0
    connection.close()
