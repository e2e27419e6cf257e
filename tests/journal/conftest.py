"""Journals to test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.journals import make_journal

from relaybox_hooks.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hooks.db"


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Journal]:
    """Every implementation, open."""
    made = make_journal(request.param, path)
    await made.open()
    yield made
    await made.aclose()
