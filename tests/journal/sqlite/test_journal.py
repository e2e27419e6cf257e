"""The file: opened, refused, locked, lifted to the newest schema, and closed."""

# ruff: noqa: ASYNC240 - nothing else runs in these tests' event loops

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import apsw
import pytest

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.journal import (
    JournalError,
    JournalFormatError,
    JournalIOError,
    JournalLockedError,
    JournalReadOnlyError,
    JournalVersionError,
    SQLiteJournal,
    StoredOutcome,
)
from relaybox_hooks.journal.sqlite.schema import APPLICATION_ID, MIGRATIONS, connect, migrate
from relaybox_hooks.wire.envelope import Envelope

FINE = StoredOutcome(200, None, "")


def envelope(number: int, size: int = 0) -> Envelope:
    return Envelope(f"event-{number}", "room:join", b"1" * size, float(number))


async def stored(journal: SQLiteJournal, webhook_id: str = "a") -> list[str]:
    """The ids of the events pending for a webhook."""
    rows = await journal.lease(webhook_id, limit=10**6, until=0)
    return [row.envelope.id for row in rows]


async def refused(path: Path) -> JournalError:
    """What opening raises."""
    with pytest.raises(JournalError) as caught:
        await SQLiteJournal(path).open()
    assert str(path) in str(caught.value)
    assert caught.value.path == str(path)
    return caught.value


def child(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process that runs ``code``."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# Opening and closing


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


async def test_no_number_is_given_twice_even_when_all_rows_are_gone(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        for seq in await journal.append(envelope(1), [("a", None)] * 3):
            journal.settle(seq, attempts=1, outcome=FINE, at=2.0)
        await journal.purge("delivered", keep=0)
    async with SQLiteJournal(path) as journal:
        assert list(await journal.append(envelope(2), [("a", None)])) == [4]


async def test_closing_leaves_one_consistent_file_of_its_owner(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        await journal.append(envelope(1), [("a", None)])
        assert sorted(os.listdir(path.parent)) == ["hooks.db", "hooks.db-wal"]
        assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["hooks.db"]
    assert integrity(path) == "ok"
    assert repr(path)[11:-1] in repr(journal)


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
    loop.run_until_complete(journal.append(envelope(1), [("a", None)]))
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
    await journal.append(Envelope("event-1", "room:join", b"", 1.0), [("a", None)])
asyncio.run(main())
""",
        path,
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert integrity(path) == "ok"


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
        await journal.append(envelope(1), [("a", None)])


def test_a_durability_nobody_knows_is_refused(path: Path) -> None:
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


# Files that are none


async def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    path.write_text("shopping list\n" * 500)
    assert isinstance(await refused(path), JournalFormatError)
    assert path.read_text() == "shopping list\n" * 500
    assert os.listdir(path.parent) == ["hooks.db"]


async def test_another_applications_database_is_refused_and_kept(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE guests (name)")
    connection.close()
    before = path.read_bytes()
    assert "another application" in str(await refused(path))
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused_and_kept(path: Path) -> None:
    async with SQLiteJournal(path):
        pass
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    before = path.read_bytes()
    error = await refused(path)
    assert isinstance(error, JournalVersionError)
    assert (error.found, error.supported) == (99, len(MIGRATIONS))
    assert path.read_bytes() == before


async def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    error = await refused(tmp_path / "missing" / "hooks.db")
    assert isinstance(error, JournalIOError)
    assert error.errno == 2
    assert isinstance(await refused(tmp_path), JournalIOError)


async def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    async with SQLiteJournal(path) as journal:
        await journal.append(envelope(1), [("a", None)])


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
        await journal.append(envelope(1), [("a", None)])
    path.chmod(0o400)
    assert isinstance(await refused(path), JournalReadOnlyError)
    path.chmod(0o000)
    assert isinstance(await refused(path), JournalReadOnlyError)
    path.chmod(0o600)
    async with SQLiteJournal(path) as journal:
        assert await stored(journal) == ["event-1"]


async def test_a_read_only_directory_is_refused(somebodys: Path) -> None:
    path = somebodys / "hooks.db"
    async with SQLiteJournal(path):
        pass
    somebodys.chmod(0o500)
    assert isinstance(await refused(path), JournalReadOnlyError)
    assert isinstance(await refused(somebodys / "new.db"), JournalReadOnlyError)


# The lock

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
        assert isinstance(await refused(path), JournalLockedError)
    finally:
        holder.kill()
        holder.communicate()
    async with SQLiteJournal(path) as journal:
        await journal.append(envelope(1), [("a", None)])
        assert isinstance(await refused(path), JournalLockedError)
        late = child(HOLDER, path)
        _, errors = late.communicate("")
        assert "JournalLockedError" in errors
        assert await stored(journal) == ["event-1"]


# The schema


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


def integrity(path: Path) -> Any:
    connection = apsw.Connection(str(path))
    try:
        return connection.pragma("integrity_check")
    finally:
        connection.close()
