"""Retention: settled deliveries are purged from the journal, in rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from relaybox_hooks.clock import Alarm
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import Journal
from relaybox_hooks.observer import logger
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import to_seconds

#: Seconds between two rounds. With a thousand deliveries a second, the log of those delivered
#: outgrows its limit by sixty thousand in that time.
ROUND: Final = 60.0
#: Rounds between two notes of which webhooks are registered: their absence is measured in days.
_ROUNDS_PER_NOTE: Final = 60


class Retention:
    """A round each minute: one task while it is under way, and one timer in between.

    Args:
        runtime: shared with the lanes.
        journal: purged.
        policy: what is kept, and how long.
        registered: the ids of the registered webhooks.
        dead_letter_unregistered: dead-letters what has waited too long for its webhook.
    """

    def __init__(
        self,
        runtime: Runtime,
        journal: Journal,
        policy: RetentionPolicy,
        registered: Callable[[], Iterable[str]],
        dead_letter_unregistered: Callable[[], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._max_count = policy.count
        self._delivered = to_seconds("delivered", policy.delivered, zero=True)
        self._dead = to_seconds("dead", policy.dead, zero=True)
        self._registered = registered
        self._dead_letter_unregistered = dead_letter_unregistered
        self._rounds = 0
        self._alarm = Alarm(runtime, self.begin_round)
        self._task: asyncio.Task[None] | None = None

    def begin_round(self) -> None:
        """Begin a round; the next ones follow."""
        self._task = self._runtime.loop.create_task(self._round())

    async def aclose(self) -> None:
        """End the round under way, and make no more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        self._alarm.cancel()

    async def _round(self) -> None:
        journal, now = self._journal, self._runtime.clock.time()
        try:
            if self._rounds % _ROUNDS_PER_NOTE == 0:
                journal.touch(self._registered(), now)
            self._rounds += 1
            await journal.purge("delivered", before=now - self._delivered, keep=self._max_count)
            await journal.purge("dead", before=now - self._dead, keep=self._max_count)
            await self._dead_letter_unregistered()
            if journal.failing is not None:
                logger.error("what became of deliveries cannot be written: %s", journal.failing)
        except JournalError as error:
            logger.error("retention: %s", error)
        except Exception:  # of an observer's making; the next round is made all the same
            logger.exception("retention: a round has failed")
        self._alarm.set(self._runtime.clock.monotonic() + ROUND)
