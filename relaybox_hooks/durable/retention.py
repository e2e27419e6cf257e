"""What a journal needs from time to time: retention, leases, and webhooks that never came back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from relaybox_hooks.clock import Alarm
from relaybox_hooks.durable.delivery_log import letter_of
from relaybox_hooks.durable.journal_queue import DurableLane
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import Journal, KnownWebhook
from relaybox_hooks.lanes.runtime import RemoteHub
from relaybox_hooks.observer import logger
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.validation import to_seconds

#: Seconds between two rounds. With a thousand deliveries a second, the log of those delivered
#: outgrows its limit by sixty thousand in that time.
ROUND: Final = 60.0
#: Rounds between two notes of who is registered: what comes of them is measured in days.
_ROUNDS_PER_NOTE: Final = 60
#: Deliveries given up on in one go.
_SWEEP: Final = 500


class House(Protocol):
    """What is kept."""

    journal: Journal
    known: dict[str, KnownWebhook]
    unregistered: dict[str, int]

    @property
    def lanes(self) -> Mapping[str, DurableLane]:
        """The lanes of the registered webhooks."""

    def lease_end(self) -> float:
        """Until when a lease that is extended now lasts."""


class Housekeeping:
    """A round each minute: one task while it is under way, and one timer in between."""

    def __init__(self, hub: RemoteHub, house: House, retention: RetentionPolicy) -> None:
        self._hub = hub
        self._house = house
        self._retention = retention
        self._rounds = 0
        self._alarm = Alarm(hub, self.begin)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin a round."""
        self._task = self._hub.loop.create_task(self._round())

    async def end(self) -> None:
        """Make no more rounds."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        self._alarm.cancel()

    async def _round(self) -> None:
        house, journal, now = self._house, self._house.journal, self._hub.clock.time()
        keep = self._retention
        try:
            if self._rounds % _ROUNDS_PER_NOTE == 0:
                journal.touch(house.lanes, now)
            self._rounds += 1
            journal.extend(
                [seq for lane in house.lanes.values() for seq in lane.loaded], house.lease_end()
            )
            delivered, dead = to_seconds("delivered", keep.delivered), to_seconds("dead", keep.dead)
            await journal.purge("delivered", before=now - delivered, keep=keep.count)
            await journal.purge("dead", before=now - dead, keep=keep.count)
            await self._give_up_unregistered(now)
            if journal.failing is not None:
                logger.error("what became of deliveries cannot be written: %s", journal.failing)
        except JournalError as error:
            logger.error("housekeeping: %s", error)
        self._alarm.set(self._hub.clock.monotonic() + ROUND)

    async def _give_up_unregistered(self, now: float) -> None:
        """Dead letters of what has waited too long for its webhook to be registered again."""
        house, hub = self._house, self._hub
        grace = to_seconds("unregistered", self._retention.unregistered)
        for webhook_id in tuple(house.unregistered):
            known = house.known.get(webhook_id)
            if known is not None and now - known.last_seen < grace:
                continue
            del house.unregistered[webhook_id]
            while True:
                rows = await house.journal.lease(webhook_id, limit=_SWEEP, until=house.lease_end())
                for row in rows:
                    hub.bury(letter_of(row, "unregistered", hub.clock.time()))
                hub.totals.lost(len(rows))
                if len(rows) < _SWEEP:
                    break
