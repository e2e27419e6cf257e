"""State that outlives a killed process besides its deliveries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from crash.child import EVENT, Attempts, registered
from crash.parent import Scene, scene

from relaybox_hooks import BreakerPolicy, Hooks, RetryPolicy
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.testing import Answer, Fault, Hold, ReceivedRequest, VirtualClock

HOUR: Final = 3600.0
EMITS: Final = 40
#: Three attempts, an hour after one another.
HOURLY: Final[dict[str, Any]] = {"attempts": 3, "initial": HOUR, "maximum": HOUR, "jitter": 0}
#: A breaker that opens at once and for long.
TOUCHY: Final[dict[str, Any]] = {"failures": 3, "cooldown": 600, "maximum": 600}
NEVER: Final[dict[str, Any]] = {"failures": 10_000}


@asynccontextmanager
async def restarted(
    stage: Scene, breaker: dict[str, Any]
) -> AsyncIterator[tuple[Hooks[Any], VirtualClock, Attempts]]:
    """Hooks on the journal of a child that was killed, on a clock that goes on from now."""
    clock, attempts = VirtualClock(start=time.time()), Attempts()
    hooks: Hooks[Any] = Hooks(
        registered(stage.setup["webhooks"]),
        custom_events=[EVENT],
        retry=RetryPolicy(**HOURLY),
        breaker=BreakerPolicy(**breaker),
        journal=SQLiteJournal(stage.path),
        observers=[attempts],
        clock=clock,
        logging=False,
    )
    async with asyncio.timeout(60):
        await hooks.start()
        try:
            yield hooks, clock, attempts
        finally:
            await hooks.aclose(0)


@asynccontextmanager
async def one_webhook(path: Path, script: Any, **setup: Any) -> AsyncIterator[Scene]:
    """A scene with a single webhook, without an order."""
    async with scene(path, script, retry=HOURLY, **setup) as stage:
        stage.setup["webhooks"] = {"none": stage.setup["webhooks"]["none"]}
        yield stage


def stamped(request: ReceivedRequest) -> datetime:
    """When the attempt was made, by the clock of who made it."""
    return datetime.fromisoformat(request.json()["timestamp"])


async def test_attempts_made_and_due_times_are_kept(tmp_path: Path) -> None:
    """The first attempt of each delivery is made before the kill, the second when it is due
    after it, the third is the last."""
    async with one_webhook(tmp_path, Answer(503), breaker=NEVER) as stage:
        receiver, began = stage.receiver, datetime.now(UTC)
        async with stage.child() as child:
            child.tell(f"emit {EMITS}", f"attempt {EMITS}")
            await child.says("attempted")
        ended = datetime.now(UTC)
        async with restarted(stage, NEVER) as (hooks, clock, attempts):
            log = {each.event_id: each for each in await hooks.deliveries()}
            assert log.keys() == stage.accepted.keys()
            for each in log.values():
                assert each.attempts == 1
                assert each.outcome is not None
                assert each.outcome.status == 503
                assert each.due_at is not None
                assert (each.due_at - began).total_seconds() >= HOUR
                assert (each.due_at - ended).total_seconds() <= HOUR
            await clock.advance(HOUR)
            await attempts.reach(EMITS)
            again = receiver.requests[EMITS:]
            assert {str(request.event_id) for request in again} == log.keys()
            for request in again:
                due = log[str(request.event_id)].due_at
                assert due is not None
                assert stamped(request) >= due.replace(microsecond=due.microsecond // 1000 * 1000)
            await clock.advance(HOUR)
            await attempts.reach(2 * EMITS)
            letters = await hooks.dead_letters()
            assert {(each.reason, each.attempts) for each in letters} == {("exhausted", 3)}
            assert {each.event_id for each in letters} == log.keys()
        assert len(receiver.requests) == 3 * EMITS


async def test_an_open_breaker_stays_open(tmp_path: Path) -> None:
    """Until its time has come; then a single probe is made, and the rest once that succeeds."""
    answer: Fault = Answer(503)
    async with one_webhook(tmp_path, lambda request: answer, breaker=TOUCHY) as stage:
        receiver, began = stage.receiver, datetime.now(UTC)
        async with stage.child() as child:
            child.tell(f"emit {EMITS}")
            await child.says("emitted all")
            child.tell("attempt 3")
            await child.says("attempted")
        before, answer = len(receiver.requests), Hold(Answer(204))
        assert 3 <= before < EMITS / 2
        async with restarted(stage, TOUCHY) as (hooks, clock, attempts):
            assert hooks.stats().targets["none"].breaker == "open"
            tried = sum(each.attempts for each in await hooks.deliveries(status="pending"))
            assert 3 <= tried <= before
            await clock.advance(600)
            (*_, probe) = await receiver.wait_for(before + 1)
            assert hooks.stats().targets["none"].breaker == "half-open"
            assert (stamped(probe) - began).total_seconds() >= 600
            await hooks.deliveries()  # whatever else was to be read has been read
            assert len(receiver.requests) == before + 1
            answer = Answer(204)
            receiver.release()
            await attempts.reach(EMITS - tried)
            await clock.advance(HOUR)  # those that had failed
            await attempts.reach(EMITS)
            assert hooks.stats().pending == 0
        assert stage.took("none") == stage.accepted.keys()


async def test_a_disabled_webhook_stays_disabled(tmp_path: Path) -> None:
    """It answered 410; what waited for it is dead letters, which a replay delivers."""
    answer = Answer(410)
    async with one_webhook(tmp_path, lambda request: answer, breaker=NEVER) as stage:
        async with stage.child() as child:
            child.tell("emit 200", "attempt 1")
            await child.says("attempted")
        requests, answer = len(stage.receiver.requests), Answer(204)
        async with restarted(stage, NEVER) as (hooks, _, _):
            assert [webhook.enabled for webhook in hooks.webhooks] == [False]
            await hooks.join()
            assert len(stage.receiver.requests) == requests
            letters = await hooks.dead_letters()
            assert stage.accepted.keys() <= {letter.event_id for letter in letters}
            assert {letter.reason for letter in letters} == {"rejected", "disabled"}
        async with restarted(stage, NEVER) as (hooks, _, _):
            assert [webhook.enabled for webhook in hooks.webhooks] == [False]
            hooks.enable_webhook("none")
        async with restarted(stage, NEVER) as (hooks, _, _):
            assert [webhook.enabled for webhook in hooks.webhooks] == [True]
        async with stage.child() as child:
            child.tell("replay")
            assert await child.says("replayed") == f"[{len(letters)}, 0, 0]"
        assert stage.accepted.keys() <= stage.took("none")
