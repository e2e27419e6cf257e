"""Journals to test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relaybox_hooks.journal import Journal, SQLiteJournal
from relaybox_hooks.testing.memory_journal import MemoryJournal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hooks.db"


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Journal]:
    """Every implementation, open, with room for 1000 pending deliveries."""
    made: Journal = (
        MemoryJournal(max_pending=1000)
        if request.param == "memory"
        else SQLiteJournal(path, max_pending=1000)
    )
    await made.open()
    yield made
    await made.aclose()


@pytest.fixture
async def sqlite(path: Path) -> AsyncIterator[SQLiteJournal]:
    async with SQLiteJournal(path) as made:
        yield made
