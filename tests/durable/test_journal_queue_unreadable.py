"""A journal that cannot be read for a while: it is asked again, and logged once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from support import dispatcher, emit, soon, webhook_to

from relaybox_hooks.journal import Grant, JournalError, StoredDelivery
from relaybox_hooks.testing import FaultReceiver, VirtualClock
from relaybox_hooks.testing.memory_journal import MemoryJournal


class Flaky(MemoryJournal):
    """It answers no question about deliveries while it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.asked = 0

    async def read(self, grant: Grant, webhook_id: str, **which: Any) -> list[StoredDelivery]:
        self.asked += 1
        if self.broken:
            raise JournalError(None, "it is broken")
        return await super().read(grant, webhook_id, **which)


async def test_deliveries_that_cannot_be_read_wait_until_they_can(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, journal = VirtualClock(), Flaky()
    async with FaultReceiver() as receiver:
        webhook = webhook_to(receiver, queue_size=2)
        async with dispatcher(webhook, journal=journal, clock=clock) as hooks:
            journal.broken = True
            with caplog.at_level(logging.ERROR):
                ids = [await emit(hooks, connectionId="c") for _ in range(6)]
                await receiver.wait_for(1)
                asked = 0
                for _ in range(3):
                    while journal.asked == asked:
                        await asyncio.sleep(0)
                    asked = journal.asked
                    await clock.advance(1)
            assert caplog.text.count("its deliveries cannot be read: journal: it is broken") == 1
            assert hooks.stats().pending > 0
            journal.broken = False
            await clock.advance(1)
            await soon(hooks.join())
            assert [request.event_id for request in receiver.requests] == ids
