"""A journal whose commits can be watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from support.journals import Observed

from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.journal.sqlite import writer_thread
from relaybox_hooks.journal.sqlite.schema import Durability, connect


@pytest.fixture
async def observed(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Observed]:
    commits: list[int] = []

    def connect_and_count(path: str, durability: Durability) -> apsw.Connection:
        connection = connect(path, durability)

        def commit() -> bool:
            commits.append(connection.total_changes())
            return False

        connection.set_commit_hook(commit)
        return connection

    monkeypatch.setattr(writer_thread, "connect", connect_and_count)
    async with SQLiteJournal(path) as journal:
        yield Observed(journal, commits)
