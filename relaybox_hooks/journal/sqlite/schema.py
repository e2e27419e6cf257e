"""The journal's file: opened for one process alone, its schema brought up to date.

Facts relied on, with SQLite's page for each:

- In WAL mode commits survive the end of the process whatever ``synchronous`` is: the
  operating system has them. ``NORMAL`` syncs at checkpoints only: a power loss may undo the
  last commits and never damages the file, which ``OFF`` would risk. ``FULL`` also syncs the log
  at each commit (pragma.html#pragma_synchronous).
- With ``locking_mode=EXCLUSIVE`` set before the first access, a WAL database needs no shared
  memory, and no other process can open it until it is closed (wal.html#noshm). The lock
  belongs to the process: the system releases it, however the process ends.
- Closing any descriptor of a file drops all locks the process has on it
  (howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_). So
  nothing here opens a journal's file but SQLite.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import apsw

from relaybox_hooks.journal.errors import (
    JournalCorruptError,
    JournalDiskFullError,
    JournalError,
    JournalFormatError,
    JournalIOError,
    JournalLockedError,
    JournalReadOnlyError,
    JournalVersionError,
)

#: What a commit survives: ``"process"`` the end of the process by any signal, ``"power"`` the
#: loss of power too.
Durability: TypeAlias = Literal["process", "power"]

#: Lifts a database by one version.
Migration: TypeAlias = Callable[[apsw.Connection], object]

#: "RBXH": tells a journal from other databases (pragma.html#pragma_application_id).
APPLICATION_ID: Final = 0x52425848

_SYNCHRONOUS: Final[dict[Durability, str]] = {"process": "NORMAL", "power": "FULL"}

#: Enough for the inner pages of the indexes over a million pending deliveries.
_CACHE_KIB: Final = 8192
#: A log that a burst has blown up shrinks to this many bytes when it is next reused.
_LOG_BYTES: Final = 64 << 20

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_ACCESS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

# An event's `ref` is the seq of its first delivery and its deliveries are numbered without a
# gap: those of an event are found by their range, with no index of their own.
_VERSION_1: Final = """
CREATE TABLE journal (
    next_seq INTEGER NOT NULL  -- what purging must not let fall back
) STRICT;
INSERT INTO journal VALUES (1);

CREATE TABLE webhook (
    ref INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    last_seen REAL NOT NULL,
    state TEXT  -- JSON
) STRICT;

CREATE TABLE event (
    ref INTEGER PRIMARY KEY,
    deliveries INTEGER NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    prefix BLOB NOT NULL,
    time REAL NOT NULL
) STRICT;

CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    event INTEGER NOT NULL REFERENCES event,
    webhook INTEGER NOT NULL REFERENCES webhook,
    key TEXT,
    due REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,  -- 0 pending, 1 delivered, 2 dead
    attempts INTEGER NOT NULL DEFAULT 0,
    status INTEGER,
    error TEXT,
    detail TEXT,
    reason TEXT,
    at REAL
) STRICT;

CREATE INDEX pending_by_seq ON delivery (webhook, seq, key) WHERE state = 0;
CREATE INDEX pending_by_key ON delivery (webhook, key, seq) WHERE state = 0 AND key IS NOT NULL;
CREATE INDEX settled ON delivery (state, at, seq, webhook) WHERE state <> 0;
"""

#: The n-th lifts a database from version n; an empty file is of version 0.
MIGRATIONS: Final[Sequence[Migration]] = (lambda connection: connection.execute(_VERSION_1),)


def connect(path: str, durability: Durability) -> apsw.Connection:
    """Open or create the journal at ``path``, for this process alone.

    Raises:
        JournalError: it cannot be opened, or is none. It was not changed.
    """
    _create_private(path)
    try:
        connection = apsw.Connection(
            path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        )
    except apsw.Error as error:
        raise _cannot_open(path, error) from error
    try:
        if connection.readonly("main"):
            raise JournalReadOnlyError(path)
        connection.pragma("locking_mode", "EXCLUSIVE")
        connection.pragma("temp_store", "MEMORY")
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("journal_size_limit", _LOG_BYTES)
        # macOS: fsync() alone leaves the data in the drive's cache (pragma.html#pragma_fullfsync).
        connection.pragma("fullfsync", durability == "power")
        connection.pragma("checkpoint_fullfsync", durability == "power")
        migrate(connection, path)
        connection.pragma("journal_mode", "WAL")
        connection.pragma("synchronous", _SYNCHRONOUS[durability])
    except apsw.Error as error:
        found = translate(path, error, connection)
        connection.close(True)
        raise found from error
    except BaseException:
        connection.close(True)
        raise
    return connection


def migrate(
    connection: apsw.Connection, path: str, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Check whose database it is, and lift it to the newest version, all in one transaction.

    Raises:
        JournalFormatError: another application's.
        JournalVersionError: a newer release's.
    """
    # The first access, and exclusive at once: two processes that both began by reading would
    # each keep the other from ever writing.
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = int(connection.pragma("user_version"))
        owner = connection.pragma("application_id")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
        if owner != APPLICATION_ID and (owner or version or tables):
            raise JournalFormatError(path, "a SQLite database of another application")
        if version > len(migrations):
            raise JournalVersionError(path, version, len(migrations))
        for lift in migrations[version:]:
            lift(connection)
        if version < len(migrations):
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", len(migrations))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def translate(path: str, error: apsw.Error, connection: apsw.Connection) -> JournalError:
    """The journal's error for one of SQLite's (rescode.html)."""
    system = connection.system_errno
    found: JournalError
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        found = JournalLockedError(path)
    elif isinstance(error, apsw.NotADBError):
        found = JournalFormatError(path, "no SQLite database")
    elif isinstance(error, apsw.CorruptError):
        found = JournalCorruptError(path, str(error))
    elif isinstance(error, apsw.FullError):
        found = JournalDiskFullError(path, system)
    elif isinstance(error, apsw.ReadOnlyError):
        found = JournalReadOnlyError(path, system)
    elif isinstance(error, apsw.IOError | apsw.CantOpenError) and system in _NO_ROOM:
        found = JournalDiskFullError(path, system)
    elif isinstance(error, apsw.IOError | apsw.CantOpenError) and system in _NO_ACCESS:
        found = JournalReadOnlyError(path, system)
    else:
        found = JournalIOError(path, f"SQLite reports: {error}", system)
    return found


def _create_private(path: str) -> None:
    """Create a missing file readable by its owner alone: it will hold payloads.

    SQLite gives its log the permissions of the database.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise _cannot_open(path, error) from error


def _cannot_open(path: str, error: Exception) -> JournalError:
    """Why a file cannot even be opened."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _NO_ROOM:
        return JournalDiskFullError(path, number or 0)
    effective = os.access in os.supports_effective_ids
    readable = os.access(path, os.R_OK, effective_ids=effective)
    if number in _NO_ACCESS or (os.path.exists(path) and not readable):
        return JournalReadOnlyError(path, number or 0)
    return JournalIOError(path, f"it cannot be opened: {error}", number or 0)
