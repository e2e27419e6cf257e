"""The log of deliveries that a journal keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict, Unpack, cast

from relaybox_hooks.dead_letters import Reason, to_timestamps
from relaybox_hooks.durable.stored import datetime_of, outcome_of
from relaybox_hooks.events import Event
from relaybox_hooks.journal.protocol import DeliveryState, Records, StoredDelivery
from relaybox_hooks.outcome import Outcome
from relaybox_hooks.wire.envelope import Envelope


class LogCriteria(TypedDict, total=False):
    """Criteria for entries of the delivery log: those that fit all of what is given.

    Attributes:
        event_id: only this event's.
        webhook_id: only those for this webhook.
        event: only events of this name.
        status: only those in this state.
        since: emitted at this moment or later (aware).
        until: emitted before this moment (aware).
        before: only those older than this entry, to read on where another call ended.
        limit: how many at most; 100 by default.
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
        outcome: of the last attempt; ``None`` where none was made.
        reason: why it is a dead letter; ``None`` unless it is dead.
        emitted_at: when the event was emitted (UTC).
        due_at: when the next attempt may be made (UTC); ``None`` unless it is pending.
        settled_at: when it was delivered or dead-lettered (UTC); ``None`` while it is pending.
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
        """Build an entry from a row of the journal."""
        return cls(
            webhook_id=row.webhook_id,
            status=row.state,
            attempts=row.attempts,
            outcome=outcome_of(row),
            reason=cast("Reason | None", row.reason),
            emitted_at=datetime_of(row.envelope.time),
            due_at=datetime_of(row.due) if row.state == "pending" else None,
            settled_at=None if row.at is None else datetime_of(row.at),
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


class DeliveryLog:
    """Deliveries of any state, as the journal has them."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def select(self, **criteria: Unpack[LogCriteria]) -> list[LoggedDelivery]:
        """Return the deliveries that fit all of what is given, newest first.

        Raises:
            ConfigError: a moment without a time zone.
            JournalError: they cannot be read.
        """
        since, until = to_timestamps(criteria.get("since"), criteria.get("until"))
        before = criteria.get("before")
        rows = await self._records.deliveries(
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
