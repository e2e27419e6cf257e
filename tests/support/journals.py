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
from relaybox_hooks.journal import Journal, JournalError, SQLiteJournal
from relaybox_hooks.journal.protocol import StoredOutcome
from relaybox_hooks.journal.sqlite.queries import Steps
from relaybox_hooks.journal.sqlite.rows import Store
from relaybox_hooks.wire.envelope import Envelope

REFUSED: Final = StoredOutcome(None, "ClientConnectorError", "refused")
BUSY: Final = StoredOutcome(503, None, "")
FINE: Final = StoredOutcome(204, None, "")


def envelope(number: int, name: str = "room:join", *, size: int = 0) -> Envelope:
    """The event ``event-<number>``, emitted at that many seconds."""
    return Envelope(f"event-{number}", name, b'{"data":' + b"1" * size, float(number))


async def stored(journal: SQLiteJournal, webhook_id: str = "a") -> list[str]:
    """The ids of the events pending for a webhook."""
    rows = await journal.lease(webhook_id, limit=10**6, until=0)
    return [row.envelope.id for row in rows]


async def refused(path: Path) -> JournalError:
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


async def bury(journal: Journal, *webhook_ids: str) -> list[str]:
    """Append an event for each webhook and give up on it; returns the events' ids."""
    for number, webhook_id in enumerate(webhook_ids):
        event = Envelope.encode(
            f"e-{number}", "room:join", {"roomId": "x"}, Session(), 10_000, time=time.time()
        )
        (seq,) = await journal.append(event, [(webhook_id, None)])
        journal.bury(seq, "exhausted", attempts=5, outcome=BUSY, at=time.time())
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

        self.task = loop.create_task(self.journal._ask(wait))
        await reached.wait()
        self.commits.clear()
        return go_on.set
