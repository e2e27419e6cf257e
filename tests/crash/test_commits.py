"""A process dies in the middle of a commit, right after it, or in the middle of a write."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest
from crash.parent import SEED, Scene, scene

#: Emits that a child makes; up to 8 of them share a transaction.
EMITS: Final = 60


async def doomed(stage: Scene, point: str, after: int) -> set[str]:
    """The events in the transaction in which a child died."""
    async with stage.child(death={"point": point, "after": after}) as child:
        child.tell(f"emit {EMITS}")
        assert await child.end() == -9
        events = set((await child.says("doomed")).split())
        assert len(child.emitted) < EMITS
        assert events.isdisjoint(child.emitted)
    return events


async def test_a_transaction_that_was_cut_off_leaves_no_trace(tmp_path: Path) -> None:
    """Between BEGIN and COMMIT: none of its emits had returned, and none of its events arrives."""
    draw = random.Random(SEED)
    async with scene(tmp_path) as stage:
        lost: set[str] = set()
        for _ in range(3):
            lost |= await doomed(stage, "written", draw.randint(1, 7))
        assert lost
        await stage.drain()
        print(stage.account())
        assert lost.isdisjoint(request.event_id for request in stage.receiver.requests)


async def test_a_transaction_that_was_committed_counts_though_no_emit_returned(
    tmp_path: Path,
) -> None:
    """After COMMIT, before the event loop knows: the events arrive, though emit never returned."""
    draw = random.Random(SEED)
    async with scene(tmp_path) as stage:
        kept: set[str] = set()
        for _ in range(3):
            kept |= await doomed(stage, "committed", draw.randint(1, 7))
        assert kept
        await stage.drain()
        print(stage.account())
        for webhook_id in ("connection", "room", "none"):
            assert kept <= stage.took(webhook_id)


@pytest.mark.parametrize(
    ("file", "writes"),
    [
        pytest.param("hooks.db-journal", (1, 3), id="making the tables"),
        pytest.param("hooks.db-wal", (2, 300), id="appending to the log"),
        pytest.param("hooks.db", (12, 24), id="moving the log into the file"),
    ],
)
async def test_a_write_may_stop_in_the_middle(
    file: str, writes: tuple[int, int], tmp_path: Path
) -> None:
    """Half of the bytes that one write was to write are in the file when the process dies."""
    draw = random.Random(SEED)
    async with scene(tmp_path, padding=2000) as stage:
        for _ in range(3):
            death = {"point": "write", "after": draw.randint(*writes), "file": file}
            async with stage.child(death=death) as child:
                child.tell(f"emit {EMITS}")
                if file == "hooks.db":  # moved at closing, or before if there is much to move
                    await child.until(lambda child=child: child.said("emitted all"))  # type: ignore[misc]
                    child.tell("close")
                assert await child.end() == -9
        await stage.drain()
        print(stage.account())
