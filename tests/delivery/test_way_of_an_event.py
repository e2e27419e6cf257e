"""One event's way through the package: the files it enters and the moves between them.

The numbers are the design: whoever follows an event on its happy path, from the call of ``emit``
to the delivery's completion, reads so many files and changes between them so often.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support import KEY, soon, turns, until

import relaybox_hooks
from relaybox_hooks import Hooks, Session, Webhook
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.testing import FaultReceiver

PACKAGE = Path(relaybox_hooks.__file__).parent


class Trail:
    """The files of the package that Python calls lead into, in their order, but for ``testing``.

    Only this thread is traced: the journal's thread has a way of its own.
    """

    def __init__(self) -> None:
        self.files: list[str] = []

    def profile(self, frame: FrameType, event: str, arg: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or frame.f_code.co_name.startswith("<"):
            return
        if path.is_relative_to(PACKAGE) and not path.is_relative_to(PACKAGE / "testing"):
            self.files.append(str(path.relative_to(PACKAGE)))

    @property
    def moves(self) -> int:
        """How often a call leads into another file than the one before."""
        return sum(1 for _ in groupby(self.files)) - 1

    def __str__(self) -> str:
        way = " > ".join(file for file, _ in groupby(self.files))
        return f"{len(set(self.files))} files, {self.moves} moves: {way}"


async def trace(**options: Any) -> Trail:
    """Deliver two events, and trace the second: what is prepared once is left out."""
    trail, session = Trail(), Session(app_pid="a", client_id="c", connection_id="1")
    async with FaultReceiver() as receiver:
        webhook = Webhook(receiver.url, ["room:*"], KEY)
        async with Hooks([webhook], logging=False, **options) as hooks:
            await hooks.emit("room:join", {"roomId": "r"}, session)
            await soon(hooks.join())
            if options:  # the round of purging that the start began is no part of the way
                await soon(hooks.deliveries())
                await turns()
            sys.setprofile(trail.profile)
            try:
                await hooks.emit("room:join", {"roomId": "r"}, session)
                await until(lambda: len(receiver.accepted) == 2)
                for _ in range(100):  # the completion, of which nothing asks hooks.stats()
                    await asyncio.sleep(0)
            finally:
                sys.setprofile(None)
            assert hooks.stats().delivered == 2
    print(trail)
    return trail


async def test_without_a_journal() -> None:
    trail = await trace()
    assert trail.files[0] == "dispatch/emitter.py"
    assert len(set(trail.files)) <= 13, trail
    assert trail.moves <= 28, trail


async def test_with_sqlite(tmp_path: Path) -> None:
    trail = await trace(journal=SQLiteJournal(tmp_path / "hooks.db"))
    assert "journal/sqlite/journal.py" in trail.files
    assert len(set(trail.files)) <= 19, trail
    assert trail.moves <= 42, trail


@pytest.mark.parametrize("files", [["a", "a", "b", "a"], ["b"]])
def test_moves_are_counted_between_different_files(files: list[str]) -> None:
    trail = Trail()
    trail.files = files
    assert trail.moves == {4: 2, 1: 0}[len(files)]
