"""With a journal and next to no memory: nothing is lost, nothing overtakes, the books are right."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import KEY, assert_consistent

from relaybox_hooks import BreakerPolicy, DeadLetter, Hooks, Observer, RetryPolicy, Webhook
from relaybox_hooks.events import RoomPublishData
from relaybox_hooks.journal import Journal, SQLiteJournal
from relaybox_hooks.testing import (
    Answer,
    FaultReceiver,
    FaultScript,
    ReceivedRequest,
    ResetAfterRead,
)
from relaybox_hooks.testing.memory_journal import MemoryJournal

EVENTS = 600
EMITTERS = 12
ROOMS = 5

MakeJournal = Callable[[], Journal]


@pytest.fixture(params=["memory", "sqlite"])
def make_journal(request: pytest.FixtureRequest, tmp_path: Path) -> MakeJournal:
    if request.param == "memory":
        return MemoryJournal
    return lambda: SQLiteJournal(tmp_path / "hooks.db")


class Deaths(Observer):
    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    def dead_lettered(self, letter: DeadLetter) -> None:
        self.letters.append(letter)


def number_of(request: ReceivedRequest) -> int:
    return int(request.json()["data"]["id"])


def key_of(request: ReceivedRequest) -> str:
    body: dict[str, Any] = request.json()
    if request.webhook_id == "room":
        return str(body["data"]["roomId"])
    return str(body["session"]["connectionId"])


def message(number: int, rng: random.Random) -> RoomPublishData:
    return {
        "id": str(number),
        "body": "hi",
        "roomId": f"room-{rng.randrange(ROOMS)}",
        "timestamp": "",
        "event": "message",
    }


@pytest.mark.parametrize("seed", range(3))
async def test_every_event_arrives_in_order_through_a_tiny_memory(
    seed: int, make_journal: MakeJournal
) -> None:
    """Three orders, 8 deliveries in memory each, and one answer in five is a failure."""
    rng, counter = random.Random(seed), 0
    failures = {Answer(503): 2.0, Answer(503, {"Retry-After": "0"}): 1.0, ResetAfterRead(): 1.0}
    script = FaultScript.random(seed, {Answer(204): 16.0, **failures})
    deaths = Deaths()
    async with asyncio.timeout(60), FaultReceiver(script) as receiver:
        webhooks = [
            Webhook(receiver.url_for(f"/{order}"), ["*"], KEY, id=order, order_by=order)
            for order in ("connection", "room", "none")
        ]
        hooks: Hooks[Any] = Hooks(
            webhooks,
            journal=make_journal(),
            queue_size=8,
            retry=RetryPolicy(attempts=30, initial=0.001, maximum=0.01),
            breaker=BreakerPolicy(failures=4, cooldown=0.01, maximum=0.02),
            observers=[deaths],
        )
        emitted: list[str] = []

        async def emitter(connection: str) -> None:
            nonlocal counter
            while counter < EVENTS:
                counter += 1
                receipt = await hooks.emit(
                    "room:publish", message(counter, rng), {"connectionId": connection}
                )
                assert receipt[1:] == (3, 0)
                emitted.append(receipt.event_id)
                assert_consistent(hooks.stats())
                if rng.random() < 0.3:
                    await asyncio.sleep(0)

        async with hooks:
            async with asyncio.TaskGroup() as group:
                for each in range(EMITTERS):
                    group.create_task(emitter(f"c-{each}"))
            await hooks.join()
            stats = hooks.stats()
            assert stats[:3] == (3 * EVENTS, 3 * EVENTS, 0)
            assert not deaths.letters
            log = await hooks.deliveries(status="pending")
            assert log == []

    first: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for request in receiver.requests:
        webhook_id, event_id = str(request.webhook_id), str(request.event_id)
        if (webhook_id, event_id) not in seen:
            seen.add((webhook_id, event_id))
            first[webhook_id, key_of(request)].append(number_of(request))
    assert len(seen) == 3 * EVENTS
    for (webhook_id, _), numbers in first.items():
        if webhook_id != "none":
            assert numbers == sorted(numbers), webhook_id


@pytest.mark.parametrize("seed", range(3))
async def test_the_books_are_right_whatever_is_switched_on_and_off(
    seed: int, make_journal: MakeJournal
) -> None:
    """Webhooks are disabled, enabled, removed and registered again while events flow."""
    rng = random.Random(seed)
    script = FaultScript.random(seed, {Answer(204): 8.0, Answer(503): 2.0, Answer(404): 1.0})
    deaths = Deaths()
    async with asyncio.timeout(60), FaultReceiver(script) as receiver:
        webhooks = [Webhook(receiver.url, ["*"], KEY, id=f"w{n}") for n in range(3)]
        hooks: Hooks[Any] = Hooks(
            webhooks,
            journal=make_journal(),
            queue_size=8,
            retry=RetryPolicy(attempts=3, initial=0.001, maximum=0.005),
            breaker=None,
            observers=[deaths],
            logging=False,
        )
        accepted = 0
        async with hooks:
            for number in range(EVENTS):
                session = {"connectionId": f"c-{rng.randrange(40)}"}
                receipt = await hooks.emit("room:publish", message(number, rng), session)
                accepted += receipt.accepted
                which = rng.choice(webhooks)
                match rng.randrange(40):
                    case 0:
                        if which in hooks.webhooks:
                            hooks.disable_webhook(which.id)
                    case 1 | 2:
                        for webhook in hooks.webhooks:
                            hooks.enable_webhook(webhook.id)
                    case 3:
                        if which.id in {webhook.id for webhook in hooks.webhooks}:
                            hooks.remove_webhook(which.id)
                        hooks.add_webhook(which)
                assert_consistent(hooks.stats())
            await hooks.join()
            stats = hooks.stats()
            assert_consistent(stats)
            assert stats.accepted == accepted
            assert stats.pending == 0
            assert stats.failed == len(deaths.letters)
            dead = await hooks.dead_letters()
            fates = {(letter.webhook_id, letter.event_id): letter.reason for letter in dead}
            assert len(fates) == len(dead) == stats.failed
            told = {(each.webhook_id, each.event_id): each.reason for each in deaths.letters}
            assert told == fates
