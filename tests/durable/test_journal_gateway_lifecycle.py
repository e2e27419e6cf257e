"""Hooks with a journal: started once, closed while it opens, and nothing left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support import KEY, Mood, Opened, emit, soon, webhook_to

from relaybox_hooks import (
    Hooks,
    Webhook,
)
from relaybox_hooks.journal import JournalLockedError, SQLiteJournal
from relaybox_hooks.testing import FaultReceiver, Hang
from relaybox_hooks.testing.memory_journal import MemoryJournal

pytestmark = pytest.mark.usefixtures("unavailable")


async def test_a_journal_that_cannot_be_opened_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "hooks.db"
    async with SQLiteJournal(path):
        hooks: Hooks = Hooks(
            [Webhook("http://localhost/", ["*"], KEY)], journal=SQLiteJournal(path)
        )
        with pytest.raises(JournalLockedError, match="it is open elsewhere"):
            await hooks.start()
        assert repr(hooks).startswith("<Hooks new")
        assert not hasattr(hooks, "session")


async def test_hooks_closed_while_their_journal_opens_release_it(tmp_path: Path) -> None:
    path = tmp_path / "hooks.db"
    hooks: Hooks = Hooks(journal=SQLiteJournal(path))
    starting = asyncio.ensure_future(hooks.start())
    await asyncio.sleep(0)
    await hooks.aclose()
    with pytest.raises(Exception, match="closed"):
        await soon(starting)
    async with SQLiteJournal(path):
        pass


async def test_hooks_with_a_journal_start_once() -> None:
    hooks: Hooks = Hooks(journal=MemoryJournal())
    await asyncio.gather(hooks.start(), hooks.start())
    await hooks.aclose()


async def test_an_emit_that_was_on_its_way_at_closing_is_in_the_report(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Hang()
    async with opened(webhook_to(receiver)) as hooks:
        await emit(hooks)
        emission = asyncio.ensure_future(hooks.emit("room:join", {"roomId": "r"}))
        await asyncio.sleep(0)
        report = await soon(hooks.aclose(timeout=0))
        assert (await emission).accepted == 1
        assert report.left == 2
