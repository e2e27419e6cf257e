"""What the journal remembers: dead letters, and the log of all deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypedDict, Unpack, cast

from relaybox_hooks.dead_letters import Criteria, DeadLetter, Reason, moments
from relaybox_hooks.events import Event
from relaybox_hooks.journal.protocol import DeliveryState, Journal, StoredDelivery
from relaybox_hooks.lanes.memory_queue import Delivery
from relaybox_hooks.outcome import Outcome, Verdict
from relaybox_hooks.wire.envelope import Envelope

_VERDICTS: Final = {
    "pending": Verdict.RETRY,
    "delivered": Verdict.DELIVERED,
    "dead": Verdict.FAILED,
}


class LogCriteria(TypedDict, total=False):
    """Which entries of the delivery log are meant: those that fit all of what is given.

    Attributes:
        event_id: only this event's.
        webhook_id: only those for this webhook.
        event: only events of this name.
        status: only those that this has become of.
        since: emitted at this moment or later (aware).
        until: emitted before this moment (aware).
        before: only those older than this entry, to read on where another call ended.
        limit: how many at the most; 100 by default.
    """

    event_id: str | None
    webhook_id: str | None
    event: str | None
    status: DeliveryState | None
    since: datetime | None
    until: datetime | None
    before: LoggedDelivery | None
    limit: int


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """A delivery as the journal has it.

    Attributes:
        webhook_id: where it goes.
        status: ``"pending"``, ``"delivered"`` or ``"dead"``.
        attempts: how many were made.
        outcome: what the last attempt came to; ``None`` where none was made.
        reason: why it was given up on; ``None`` unless it is dead.
        emitted_at: when the event was emitted (UTC).
        due_at: when the next attempt may be made (UTC); ``None`` unless it is pending.
        settled_at: when it was delivered or given up on (UTC); ``None`` while it is pending.
        seq: its number in the journal.
    """

    webhook_id: str
    status: DeliveryState
    attempts: int
    outcome: Outcome | None
    reason: Reason | None
    emitted_at: datetime
    due_at: datetime | None
    settled_at: datetime | None
    seq: int
    _envelope: Envelope = field(repr=False)

    @classmethod
    def of(cls, row: StoredDelivery) -> LoggedDelivery:
        """An entry of the log from a row of the journal."""
        return cls(
            webhook_id=row.webhook_id,
            status=row.state,
            attempts=row.attempts,
            outcome=outcome_of(row),
            reason=cast("Reason | None", row.reason),
            emitted_at=_moment(row.envelope.time),
            due_at=_moment(row.due) if row.state == "pending" else None,
            settled_at=None if row.at is None else _moment(row.at),
            seq=row.seq,
            _envelope=row.envelope,
        )

    @property
    def event(self) -> Event:
        """The event as it is sent, decoded anew at each access."""
        return self._envelope.to_event()

    @property
    def event_id(self) -> str:
        """The event's id."""
        return self._envelope.id

    @property
    def event_name(self) -> str:
        """The event's name."""
        return self._envelope.name


class JournalDeadLetters:
    """Dead letters in the journal; see :class:`~relaybox_hooks.dead_letters.Morgue`."""

    def __init__(self, journal: Journal, time: Callable[[], float]) -> None:
        self._journal = journal
        self._time = time
        self._began = time()
        #: The letters that a replay is sending now, and those that were sent since the first of
        #: the replays under way began.
        self._claimed: set[int] = set()
        self._sent: set[int] = set()
        self._replays = 0

    def add(self, letter: DeadLetter) -> None:
        """Keep ``letter``."""
        self._journal.bury(
            letter.seq,
            letter.reason,
            attempts=letter.attempts,
            outcome=letter.outcome,
            at=letter.died_at.timestamp(),
        )

    def free(self, letter: DeadLetter) -> bool:
        """Whether no other replay sends ``letter``, or has sent it since it was asked for."""
        return letter.seq not in self._claimed and letter.seq not in self._sent

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """A replay is under way."""
        self._replays += 1
        try:
            yield
        finally:
            self._replays -= 1
            if not self._replays:
                self._sent.clear()

    @contextmanager
    def claim(self, letter: DeadLetter) -> Iterator[None]:
        """Keep other replays from sending ``letter``."""
        self._claimed.add(letter.seq)
        try:
            yield
        finally:
            self._claimed.discard(letter.seq)
            self._sent.add(letter.seq)

    def discard(self, letter: DeadLetter, outcome: Outcome) -> None:
        """``letter`` was delivered."""
        self._journal.settle(
            letter.seq, attempts=letter.attempts + 1, outcome=outcome, at=self._time()
        )

    def replace(self, letter: DeadLetter, newer: DeadLetter) -> None:
        """``letter`` died again."""
        self.add(newer)

    def foreign(self, letter: DeadLetter) -> bool:
        """Whether it died in an earlier process, so that no lane counts it."""
        return letter.died_at.timestamp() < self._began

    async def select(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        """The letters, oldest first, that fit all of what is given.

        Raises:
            ConfigError: a moment without a time zone.
            JournalError: they cannot be read.
        """
        since, until = moments(criteria.get("since"), criteria.get("until"))
        rows = await self._journal.dead_letters(
            event_id=criteria.get("event_id"),
            webhook_id=criteria.get("webhook_id"),
            event=criteria.get("event"),
            reason=criteria.get("reason"),
            since=since,
            until=until,
        )
        return [letter_of(row) for row in rows]

    async def log(self, **criteria: Unpack[LogCriteria]) -> list[LoggedDelivery]:
        """Deliveries of any state, newest first, that fit all of what is given.

        Raises:
            ConfigError: a moment without a time zone.
            JournalError: they cannot be read.
        """
        since, until = moments(criteria.get("since"), criteria.get("until"))
        before = criteria.get("before")
        rows = await self._journal.deliveries(
            event_id=criteria.get("event_id"),
            webhook_id=criteria.get("webhook_id"),
            event=criteria.get("event"),
            status=criteria.get("status"),
            since=since,
            until=until,
            before=None if before is None else before.seq,
            limit=criteria.get("limit", 100),
        )
        return [LoggedDelivery.of(row) for row in rows]


def letter_of(row: StoredDelivery, reason: Reason | None = None, at: float = 0.0) -> DeadLetter:
    """A dead letter from the journal's row.

    Args:
        reason: why a pending delivery is given up on now.
        at: when, seconds since the Unix epoch.
    """
    return DeadLetter(
        webhook_id=row.webhook_id,
        reason=reason or cast("Reason", row.reason),
        outcome=outcome_of(row),
        attempts=row.attempts,
        died_at=_moment(at or row.at or 0.0),
        envelope=row.envelope,
        seq=row.seq,
    )


def delivery_of(row: StoredDelivery) -> Delivery:
    """A pending delivery as it was when it was stored."""
    delivery = Delivery(row.envelope, row.key)
    delivery.seq, delivery.attempts, delivery.outcome = row.seq, row.attempts, outcome_of(row)
    return delivery


def outcome_of(row: StoredDelivery) -> Outcome | None:
    """What the last attempt came to."""
    return None if row.outcome is None else Outcome(_VERDICTS[row.state], *row.outcome)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
