"""Journals: events to store, and files and disks on which things go wrong."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final

import apsw
import pytest

from relaybox_hooks import Session
from relaybox_hooks.journal import (
    PERMANENT,
    Change,
    DeliveryState,
    Journal,
    JournalError,
    SQLiteJournal,
    StoredDelivery,
    StoredOutcome,
)
from relaybox_hooks.journal.sqlite.queries import Steps
from relaybox_hooks.journal.sqlite.rows import Store
from relaybox_hooks.testing import MemoryJournal
from relaybox_hooks.wire.envelope import Envelope

REFUSED: Final = StoredOutcome(None, "ClientConnectorError", "refused")
BUSY: Final = StoredOutcome(503, None, "")
FINE: Final = StoredOutcome(204, None, "")


def make_journal(kind: str, path: Path, **options: Any) -> Journal:
    """A journal that is not open yet: ``"memory"``, or ``"sqlite"`` in the file ``path``."""
    return MemoryJournal(**options) if kind == "memory" else SQLiteJournal(path, **options)


def envelope(number: int, name: str = "room:join", *, size: int = 0) -> Envelope:
    """The event ``event-<number>``, emitted at that many seconds."""
    return Envelope(f"event-{number}", name, b'{"data":' + b"1" * size, float(number))


def delivered(
    journal: Journal,
    *seqs: int,
    attempts: int = 1,
    outcome: StoredOutcome | None = FINE,
    at: float = 5.0,
    before: DeliveryState = "pending",
) -> None:
    """Commit that these deliveries were delivered."""
    journal.commit(
        PERMANENT,
        [Change(seq, "delivered", attempts, outcome, at, before=before) for seq in seqs],
    )


def dead(
    journal: Journal,
    *seqs: int,
    reason: str = "exhausted",
    attempts: int = 1,
    outcome: StoredOutcome | None = BUSY,
    at: float = 5.0,
    before: DeliveryState = "pending",
) -> None:
    """Commit that these deliveries are dead letters."""
    journal.commit(
        PERMANENT,
        [Change(seq, "dead", attempts, outcome, at, reason, before) for seq in seqs],
    )


def retry_at(
    journal: Journal,
    due: float,
    *seqs: int,
    attempts: int = 1,
    outcome: StoredOutcome | None = BUSY,
    before: DeliveryState = "pending",
) -> None:
    """Commit that another attempt of these deliveries is due at that moment."""
    journal.commit(
        PERMANENT,
        [Change(seq, "pending", attempts, outcome, due, before=before) for seq in seqs],
    )


async def pending(journal: Journal, webhook_id: str = "a", **options: Any) -> list[StoredDelivery]:
    """The pending deliveries of a webhook."""
    bounds = {"limit": 10**6, "max_bytes": 10**9}
    return await journal.read(PERMANENT, webhook_id, **{**bounds, **options})


async def stored(journal: Journal, webhook_id: str = "a") -> list[str]:
    """The ids of the events pending for a webhook."""
    return [row.envelope.id for row in await pending(journal, webhook_id)]


async def open_error(path: Path) -> JournalError:
    """The error that opening raises."""
    with pytest.raises(JournalError) as caught:
        await SQLiteJournal(path).open()
    assert str(path) in str(caught.value)
    assert caught.value.path == str(path)
    return caught.value


def integrity(path: Path) -> Any:
    """The result of SQLite's check of the whole file."""
    connection = apsw.Connection(str(path))
    try:
        return connection.pragma("integrity_check")
    finally:
        connection.close()


async def append_dead(journal: Journal, *webhook_ids: str) -> list[str]:
    """Append an event for each webhook and make a dead letter of it; returns the events' ids."""
    for number, webhook_id in enumerate(webhook_ids):
        event = Envelope.encode(
            f"e-{number}", "room:join", {"roomId": "x"}, Session(), 10_000, time=time.time()
        )
        (seq,) = await journal.append_nowait(event, [(webhook_id, None)])
        dead(journal, seq, attempts=5, at=time.time())
    await journal.flush()
    return [f"e-{number}" for number in range(len(webhook_ids))]


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


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: the system refuses the write, as for a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Observed:
    """A journal whose commits are counted, and whose thread can be held up."""

    def __init__(self, journal: SQLiteJournal, commits: list[int]) -> None:
        self.journal = journal
        self.commits = commits

    async def hold_up(self) -> Callable[[], None]:
        """Stop the thread between two transactions, until the returned function is called."""
        reached = asyncio.Event()
        go_on = Event()
        loop = asyncio.get_running_loop()

        def wait(store: Store) -> Steps[None]:
            loop.call_soon_threadsafe(reached.set)
            go_on.wait()
            yield

        self.task = loop.create_task(self.journal._query(wait))
        await reached.wait()
        self.commits.clear()
        return go_on.set
