"""The books: what is outstanding, what died, and the counts of who is no longer registered."""

from __future__ import annotations

import asyncio
from typing import Any

from relaybox_hooks.dead_letters import DeadLetter, DeadLetterStore, MemoryDeadLetters
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.observer import Notifier
from relaybox_hooks.stats import Totals


class Books:
    """What all lanes report to.

    Attributes:
        outstanding: what all lanes have pending, together.
        letters: the dead letters, in memory or in the journal.
        totals: the counts of targets that were taken off and have settled everything.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, notifier: Notifier, dead_letter_limit: int) -> None:
        self.notifier = notifier
        #: Whether anybody is told of emits: each of them asks.
        self._emits_told = bool(notifier.emitting or notifier.emitted)
        self.outstanding = 0
        self.letters: DeadLetterStore = MemoryDeadLetters(dead_letter_limit)
        self.totals = Totals()
        #: Lanes that were taken off while they still had events.
        self._retired: set[Lane[Any]] = set()
        self._joiners: list[asyncio.Future[None]] = []

    def settled(self, events: int = 1) -> None:
        """Accepted events are off the books of a lane."""
        self.outstanding -= events
        if not self.outstanding and self._joiners:
            joiners, self._joiners = self._joiners, []
            for joiner in joiners:
                if not joiner.done():
                    joiner.set_result(None)

    def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter and tell the observers."""
        self.letters.add(letter)
        if self.notifier.dead_lettered:
            self.notifier.tell(self.notifier.dead_lettered, letter)

    def at_rest(self) -> asyncio.Future[None]:
        """Done as soon as no lane has anything pending."""
        future: asyncio.Future[None] = self.loop.create_future()
        if self.outstanding:
            self._joiners.append(future)
        else:
            future.set_result(None)
        return future

    def retire(self, lane: Lane[Any]) -> None:
        """A lane was taken off; its counts stay in the totals.

        It is folded later, for it may be taken off in the very moment it is handed an event.
        """
        self.fold()
        self._retired.add(lane)

    def fold(self) -> None:
        """Move the counts of retired lanes that have settled everything into the totals."""
        for lane in [lane for lane in self._retired if not lane.pending]:
            self.totals.add(lane.stats())
            self._retired.discard(lane)
            lane.stop()
