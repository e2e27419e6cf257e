"""A process is killed again and again while it emits, delivers, opens or closes its journal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from crash.parent import SEED, Scene, scene

from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    Fault,
    FaultScript,
    Garbage,
    Hang,
    Late,
    ReceivedRequest,
    ResetAfterRead,
    ResetBeforeRead,
)

#: Whatever an attempt that is to be made again can meet. A request times out after 0.5 s.
WEIGHTS: Final[Mapping[Fault, float]] = {
    Answer(204): 60,
    Late(Answer(204), 0.02): 5,
    Late(Answer(204), 0.5): 0.3,
    Answer(500): 3,
    Answer(503): 3,
    Answer(429, {"Retry-After": "0"}): 3,
    ResetBeforeRead(): 3,
    ResetAfterRead(): 3,
    CloseMidResponse(Answer(502, body=b"cut short"), after_bytes=3): 2,
    Garbage(): 1,
    Hang(): 0.5,
}


#: When each child is killed; a moment that is over before the kill comes is tried again.
MOMENTS: Final = [
    *["opening"] * 5,
    *["open"] * 3,
    *["emitting"] * 11,
    *["delivering"] * 8,
    *["closing"] * 3,
]


async def one_life(stage: Scene, moment: str, draw: random.Random) -> None:
    """Start a child and kill it: at a moment that depends on what it has done, and on chance."""
    async with stage.child() as child:
        await child.says("opening")
        if moment == "opening":
            await asyncio.sleep(draw.uniform(0, 0.02))  # recovering the log takes some of this
            return
        await child.says("open")
        if moment == "open":
            return
        if moment == "emitting":
            child.tell("emit 1000")
            await child.emits(draw.randint(1, 120))
            return
        child.tell(f"emit {draw.randint(1, 60)}", "join")
        if moment == "closing":
            await child.says("emitted all")
            child.tell("close")
        await stage.requests(draw.randint(1, 100), child)


async def test_nothing_is_lost_in_thirty_kills(tmp_path: Path) -> None:
    """Every event whose emit had returned arrives at each of three webhooks; order holds."""
    draw = random.Random(SEED)
    async with scene(tmp_path, FaultScript.random(SEED, WEIGHTS)) as stage:
        for moment in draw.sample(MOMENTS, len(MOMENTS)):
            before = stage.kills
            while stage.kills == before:
                await one_life(stage, moment, draw)
        await stage.drain()
        account = stage.account()
        print(account)
        assert account.kills == 30
        assert account.accepted > 1000


async def test_a_key_that_always_fails_holds_up_no_other_across_kills(tmp_path: Path) -> None:
    """Of its events only the first is ever sent, until the endpoint takes it."""
    poison, healed = "connection-0", False

    def answer(request: ReceivedRequest) -> Fault:
        if healed or request.webhook_id != "connection":
            return Answer(204)
        return Answer(503 if request.json()["session"]["connectionId"] == poison else 204)

    async with scene(tmp_path, answer) as stage:
        receiver = stage.receiver
        for _ in range(4):
            async with stage.child() as child:
                child.tell("emit 100")
                await child.says("emitted all")
        others = {
            event_id for event_id, emitted in stage.accepted.items() if emitted.connection != poison
        }
        assert 200 < len(others) < 400
        async with stage.child() as child:
            await child.until(lambda: others <= stage.took("connection"))
            assert child.ended is None
        failed = [each.event_id for each in receiver.requests if each.fault == Answer(503)]
        assert len(failed) > 4
        assert set(failed) == {min(stage.accepted.keys() - others)}
        healed = True
        await stage.drain()
        print(stage.account())
