"""Deliveries, dead letters and outcomes from the rows of a journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, cast

from relaybox_hooks.dead_letters import DeadLetter, Reason
from relaybox_hooks.journal.protocol import DeliveryState, StoredDelivery
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.outcome import DELIVERED, FAILED, RETRY, Outcome, Verdict

_VERDICTS: Final[dict[DeliveryState, Verdict]] = {
    "pending": RETRY,
    "delivered": DELIVERED,
    "dead": FAILED,
}


def dead_letter_of(
    row: StoredDelivery, reason: Reason | None = None, at: float = 0.0
) -> DeadLetter:
    """Build a dead letter from a row of the journal.

    Args:
        row: the stored delivery.
        reason: why a pending delivery is given up now.
        at: when, seconds since the Unix epoch.
    """
    return DeadLetter(
        webhook_id=row.webhook_id,
        reason=reason or cast("Reason", row.reason),
        outcome=outcome_of(row),
        attempts=row.attempts,
        died_at=datetime_of(at or row.at or 0.0),
        envelope=row.envelope,
        seq=row.seq,
    )


def delivery_of(row: StoredDelivery) -> Delivery:
    """Build a pending delivery from a row of the journal."""
    delivery = Delivery(row.envelope, row.key)
    delivery.seq, delivery.attempts, delivery.outcome = row.seq, row.attempts, outcome_of(row)
    return delivery


def outcome_of(row: StoredDelivery) -> Outcome | None:
    """Return the outcome of the last attempt, ``None`` where none was made."""
    return None if row.outcome is None else Outcome(_VERDICTS[row.state], *row.outcome)


def datetime_of(seconds: float) -> datetime:
    """Return a moment in UTC from seconds since the Unix epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def may_be_more(rows: Sequence[StoredDelivery], limit: int, max_bytes: int) -> bool:
    """Return whether there may be more after ``rows``, which were read with these bounds."""
    return len(rows) >= limit or sum(len(row.envelope.prefix) for row in rows) >= max_bytes
