"""A delivery: one event on its way to one webhook."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from relaybox_hooks.outcome import Outcome
from relaybox_hooks.wire.envelope import Envelope

#: State of a delivery in its queue: behind another of its key; ready for an attempt; under way;
#: waiting until its next attempt is due; or no longer in the queue.
DeliveryState: TypeAlias = Literal["blocked", "ready", "in_flight", "waiting_retry", "removed"]

BLOCKED: Final = "blocked"
READY: Final = "ready"
IN_FLIGHT: Final = "in_flight"
WAITING_RETRY: Final = "waiting_retry"
REMOVED: Final = "removed"


class Delivery:
    """One event on its way to one webhook.

    Attributes:
        envelope: the encoded event, shared by all the webhooks it goes to.
        key: deliveries of the same key leave in order; ``None``: in no order.
        attempts: how many were made.
        outcome: of the last one; ``None`` before the first.
        seq: its number in the journal; 0 where there is none.
        state: only its queue changes it.
        older, newer: its neighbours among all deliveries of its queue.
        before, after: its neighbours among those of its key.
    """

    # The four links make two intrusive lists, which only the queue touches. A deque for every key
    # would cost more than the event itself.
    __slots__ = (
        "after",
        "attempts",
        "before",
        "envelope",
        "key",
        "newer",
        "older",
        "outcome",
        "seq",
        "state",
    )

    def __init__(self, envelope: Envelope, key: str | None) -> None:
        self.envelope: Envelope = envelope
        self.key: str | None = key
        self.attempts: int = 0
        self.outcome: Outcome | None = None
        self.seq: int = 0
        self.state: DeliveryState = READY
        self.older: Delivery | None = None
        self.newer: Delivery | None = None
        self.before: Delivery | None = None
        self.after: Delivery | None = None
