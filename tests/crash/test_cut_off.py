"""A replay and a purge that a kill cuts off."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any, Final

import apsw
from crash.child import EVENT
from crash.parent import SEED, scene
from support.journals import delivered

from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.testing import Answer
from relaybox_hooks.wire.envelope import Envelope

EMITS: Final = 60
#: Deliveries that were made before, for a purge.
OLD: Final = 3000


async def test_a_replay_may_be_cut_off_and_made_again(tmp_path: Path) -> None:
    """Nothing is left out, and what was delivered and written down is not sent again."""
    answer, draw = Answer(404), random.Random(SEED)
    async with scene(tmp_path, lambda request: answer) as stage:
        deliveries = EMITS * len(stage.setup["webhooks"])
        async with stage.child() as child:
            child.tell(f"emit {EMITS}", f"attempt {deliveries}")
            await child.says("attempted")
        answer = Answer(204)
        for _ in range(4):
            async with stage.child() as child:
                child.tell("replay")
                await stage.requests(draw.randint(5, 40), child)
        async with stage.child() as child:
            child.tell("replay")
            delivered, failed, skipped = json.loads(await child.says("replayed"))
            assert delivered < deliveries
            assert (failed, skipped) == (0, 0)
        await stage.drain()
        print(stage.account())
    async with SQLiteJournal(stage.path) as journal:
        assert set((await journal.counts()).values()) == {(0, EMITS, 0)}


async def old_deliveries(path: Path) -> int:
    async with SQLiteJournal(path) as journal:
        return len(await journal.deliveries(status="delivered", until=2.0, limit=OLD))


async def test_a_purge_may_be_cut_off(tmp_path: Path) -> None:
    """In the middle of one of its transactions, or right after one: each deletes 500, or none."""
    async with scene(tmp_path) as stage:
        async with SQLiteJournal(stage.path) as journal:
            for number in range(OLD):
                journal.append_nowait(
                    Envelope(f"old-{number}", EVENT, b"{}", 1.0), [("none", None)]
                )
            await journal.flush()
            delivered(journal, *range(1, OLD + 1), at=time.time())
        async with stage.child() as child:
            child.tell(f"emit {EMITS}")
            await child.says("emitted all")
        for point, after, left in (
            ("deleted", 1, 3000),
            ("purged", 2, 2000),
            ("deleted", 2, 1500),
            ("purged", 1, 1000),
        ):
            death: dict[str, Any] = {"point": point, "after": after}
            async with stage.child(death=death, retention={"count": 1}) as child:
                await child.end()
            assert await old_deliveries(stage.path) == left
        await stage.drain()
        print(stage.account())
    connection = apsw.Connection(str(stage.path))
    rows = "event LEFT JOIN delivery ON delivery.event = event.ref WHERE seq IS NULL"
    assert connection.execute(f"SELECT count(*) FROM {rows}").get == 0  # noqa: S608
    connection.close()
