"""What a journal forgets by age and count, and what waits too long for its webhook."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from support import (
    Mood,
    Opened,
    Watch,
    emit,
    soon,
    webhook_to,
)

from relaybox_hooks import (
    RetentionPolicy,
)
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, VirtualClock

pytestmark = pytest.mark.usefixtures("unavailable")


@pytest.mark.parametrize(
    ("retention", "left"),
    [
        (RetentionPolicy(), 6),
        (RetentionPolicy(delivered=30), 3),
        (RetentionPolicy(dead=30), 3),
        (RetentionPolicy(count=1), 2),
    ],
    ids=["by default", "delivered", "dead", "count"],
)
async def test_retention_goes_by_age_and_count(
    retention: RetentionPolicy,
    left: int,
    opened: Opened,
    receiver: FaultReceiver,
    mood: Mood,
    clock: VirtualClock,
) -> None:
    async with opened(webhook_to(receiver), retention=retention) as hooks:
        for answer in (Answer(), Answer(404)):
            mood.fault = answer
            for _ in range(3):
                await emit(hooks)
            await soon(hooks.join())
        await clock.advance(61)
        # The round has begun before this query and is done before it.
        gateway = parts_of(hooks).gateway
        assert gateway is not None
        await soon(gateway.flush())
        while len(await soon(hooks.deliveries())) > left:
            await asyncio.sleep(0)
        assert len(await hooks.deliveries()) == left


async def test_what_nobody_registers_again_is_a_dead_letter_after_a_while(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    mood.fault = Hang()
    async with opened(webhook_to(receiver)) as hooks:
        ids = [await emit(hooks) for _ in range(3)]
    watch, started = Watch(), clock.time()
    retention = RetentionPolicy(unregistered=timedelta(hours=1))
    async with opened(retention=retention, observers=[watch]) as hooks:
        await clock.advance(3500)
        await soon(hooks.deliveries())
        assert hooks.unregistered == {"root": 3}
        while hooks.unregistered:
            await clock.advance(60)
            await soon(hooks.deliveries())
        assert clock.time() - started >= 3600
        await watch.until(lambda: len(watch.letters) == 3)
        found = await hooks.dead_letters(reason="unregistered")
        assert [letter.event_id for letter in found] == ids
        assert hooks.stats()[:6] == (3, 0, 3, 0, 0, 0)
