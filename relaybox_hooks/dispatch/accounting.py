"""Accounting: dead letters, and the counts of targets that are registered no longer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from relaybox_hooks.dead_letters import DeadLetter, DeadLetterStore, MemoryDeadLetters, Reason
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.stats import Totals
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.runtime import Runtime


class Accounting:
    """Keeps what lanes report, and the lanes that were removed while they had events.

    Attributes:
        dead_letters: in memory, or in the journal once it is open.
        removed: lanes of removed targets that may have something pending.
        totals: the counts of removed targets that have settled everything.
    """

    def __init__(self, runtime: Runtime, dead_letter_limit: int, dead_letter_bytes: int) -> None:
        self._runtime = runtime
        self.dead_letters: DeadLetterStore = MemoryDeadLetters(dead_letter_limit, dead_letter_bytes)
        self.totals: Totals = Totals()
        self.removed: set[Lane[Any]] = set()

    def dead_letter(
        self, webhook: Webhook, delivery: Delivery, reason: Reason, rejected: bool
    ) -> None:
        """Keep a dead letter of a delivery, and report it.

        Args:
            webhook: where it was to go.
            delivery: it was given up.
            reason: why.
            rejected: on arrival, so that it was never pending.
        """
        letter = DeadLetter(
            webhook_id=webhook.id,
            reason=reason,
            outcome=delivery.outcome,
            attempts=delivery.attempts,
            died_at=datetime.fromtimestamp(self._runtime.clock.time(), UTC),
            envelope=delivery.envelope,
            seq=delivery.seq,
        )
        self.keep(letter, rejected=rejected)

    def keep(self, letter: DeadLetter, *, rejected: bool = False) -> None:
        """Keep a dead letter, and report it to the observers."""
        self.dead_letters.add(letter, rejected=rejected)
        notifier = self._runtime.notifier
        if notifier.dead_lettered:
            notifier.notify(notifier.dead_lettered, letter)

    def add_removed(self, lane: Lane[Any]) -> None:
        """Keep the counts of a lane whose target was removed.

        It is folded later, for it may be removed in the very moment it is handed an event.
        """
        self.fold()
        self.removed.add(lane)

    def fold(self) -> None:
        """Move the counts of removed lanes that have settled everything into the totals."""
        for lane in [lane for lane in self.removed if not (lane.pending or lane.committing)]:
            self.totals.add(lane.stats())
            self.removed.discard(lane)
            lane.cancel_timers()
