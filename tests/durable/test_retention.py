"""Retention purges what is settled, by age and by count."""

from __future__ import annotations

import asyncio

import pytest
from support import Mood, Opened, emit, soon, webhook_to

from relaybox_hooks import RetentionPolicy
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import Answer, FaultReceiver, VirtualClock

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
