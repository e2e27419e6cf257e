"""A copy that was taken while the file was being written serves like the file.

Every thread of the process stands still while the database and its log are copied: the copies
are what a crash at that instruction would have left. Copies of a file that is written meanwhile
are not: whichever of the two is copied first, a checkpoint in between moves pages from the log
to the database that one copy has not got yet, or has got too early.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Final

from crash.parent import SEED, Child, Emitted, scene
from support.journals import integrity

from relaybox_hooks.journal import SQLiteJournal

COPIES: Final = 6


def copy(child: Child, path: Path, number: int) -> Path:
    """Copy the files of a journal as they are now."""
    directory = path.parent / str(number)
    directory.mkdir()
    with child.stopped():
        for file in path.parent.glob("hooks.db*"):
            shutil.copy(file, directory)
    return directory / path.name


async def test_a_copy_of_a_stopped_process_holds_all_that_was_accepted(tmp_path: Path) -> None:
    """Large events, so that checkpoints are made between the copies; the last one is gone on
    with."""
    draw = random.Random(SEED)
    copies: list[tuple[Path, dict[str, Emitted]]] = []
    async with scene(tmp_path, padding=20_000) as stage:
        async with stage.child() as child:
            child.tell("emit 100000")
            for number in range(COPIES):
                await child.emits(draw.randint(20, 100))
                accepted = child.emitted.copy()
                copies.append((copy(child, stage.path, number), accepted))
        for path, accepted in copies[:-1]:
            async with SQLiteJournal(path) as journal:
                log = await journal.deliveries(limit=10**6)
            held = {row.envelope.id for row in log}
            assert accepted.keys() <= held
            assert len(log) == len(stage.setup["webhooks"]) * len(held)
            assert integrity(path) == "ok"
        stage.path, stage.accepted = copies[-1]
        await stage.drain(path=str(stage.path))
        print(stage.account())
