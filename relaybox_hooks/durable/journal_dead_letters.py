"""Dead letters in the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, Unpack

from relaybox_hooks.dead_letters import Criteria, DeadLetter, to_timestamps
from relaybox_hooks.durable.stored import dead_letter_of
from relaybox_hooks.journal.protocol import Change, DeliveryState, Records
from relaybox_hooks.outcome import Outcome


class Commit(Protocol):
    """Takes a change of a stored delivery."""

    def __call__(self, change: Change) -> None: ...


class JournalDeadLetters:
    """The :class:`~relaybox_hooks.dead_letters.DeadLetterStore` of a journal.

    Args:
        records: what they are read from.
        commit: takes what becomes of them.
        time: the wall clock, seconds since the Unix epoch.
    """

    def __init__(self, records: Records, commit: Commit, time: Callable[[], float]) -> None:
        self._records = records
        self._commit = commit
        self._time = time
        #: Dead letters that a replay is sending now, and those that were sent since the first of
        #: the replays under way began.
        self._claimed: set[int] = set()
        self._sent: set[int] = set()
        self._replays = 0

    def add(self, letter: DeadLetter, *, rejected: bool = False) -> None:
        # What was rejected on arrival was appended as a dead letter.
        self._commit_dead(letter, "dead" if rejected else "pending")

    def is_free(self, letter: DeadLetter) -> bool:
        return letter.seq not in self._claimed and letter.seq not in self._sent

    @contextmanager
    def replaying(self) -> Iterator[None]:
        self._replays += 1
        try:
            yield
        finally:
            self._replays -= 1
            if not self._replays:
                self._sent.clear()

    @contextmanager
    def claim(self, letter: DeadLetter) -> Iterator[None]:
        self._claimed.add(letter.seq)
        try:
            yield
        finally:
            self._claimed.discard(letter.seq)
            self._sent.add(letter.seq)

    def remove(self, letter: DeadLetter, outcome: Outcome) -> None:
        attempts, now = letter.attempts + 1, self._time()
        self._commit(Change(letter.seq, "delivered", attempts, outcome, now, before="dead"))

    def replace(self, letter: DeadLetter, newer: DeadLetter) -> None:
        self._commit_dead(newer, "dead")

    async def select(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        since, until = to_timestamps(criteria.get("since"), criteria.get("until"))
        rows = await self._records.dead_letters(
            event_id=criteria.get("event_id"),
            webhook_id=criteria.get("webhook_id"),
            event=criteria.get("event"),
            reason=criteria.get("reason"),
            since=since,
            until=until,
        )
        return [dead_letter_of(row) for row in rows]

    def _commit_dead(self, letter: DeadLetter, before: DeliveryState) -> None:
        at = letter.died_at.timestamp()
        change = Change(
            letter.seq, "dead", letter.attempts, letter.outcome, at, letter.reason, before
        )
        self._commit(change)
