"""One event on its way: what it is offered to, and what has become of that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Event
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.inline_lane import InlineLane
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.lanes.room import Room, Waiter
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.session import Session
from relaybox_hooks.wire.envelope import Envelope


class Emission:
    """One event on its way to its targets.

    It is the :class:`~relaybox_hooks.durable.journal_room.Appender` of its own append: callbacks
    made for each append, hundreds of them waiting at a time, would start the garbage collector
    at every transaction.

    Attributes:
        accepted: how many lanes have taken it.
        committing: lanes that know that the journal is about to store it.
        dropped: how many have rejected it.
        event_id: the event's id.
        inline: lanes whose function is awaited before any other has it, each with the event.
        items: lanes that it is offered to, each with the delivery or event.
        name: the event's name.
        origin: the lane whose subscriber emits it, if any.
        stored: lanes that have it once the journal has committed it, with the deliveries.
        envelope: the encoded event, where a webhook wants it.
        waiting: lanes that have no room yet, with who waits.
    """

    __slots__ = (
        "accepted",
        "committing",
        "dropped",
        "envelope",
        "event_id",
        "inline",
        "items",
        "name",
        "origin",
        "stored",
        "waiting",
    )

    def __init__(self, event_id: str, name: str, envelope: Envelope | None) -> None:
        self.event_id: str = event_id
        self.name: str = name
        self.envelope: Envelope | None = envelope
        self.accepted: int = 0
        self.dropped: int = 0
        self.origin: Lane[Any] | None = None
        self.inline: Sequence[tuple[InlineLane, Event]] = ()
        self.committing: Sequence[tuple[Lane[Any], Any]] = ()
        self.items: list[tuple[Lane[Any], Any]] = []
        self.stored: list[tuple[WebhookLane, Delivery]] = []
        self.waiting: list[tuple[Room[Any], Waiter[Any]]] = []

    def add_outcome(self, outcome: bool | Waiter[Any], lane: Lane[Any]) -> None:
        """Count the result of an offer."""
        if outcome is True:
            self.accepted += 1
        elif outcome is False:
            self.dropped += 1
        else:
            self.waiting.append((lane, outcome))

    def offer(self, *, wait: bool) -> None:
        """Offer the event to each lane, and count the results."""
        for lane, item in self.items:
            self.add_outcome(lane.offer(item, wait=wait, origin=self.origin), lane)

    def append_done(self, seqs: Sequence[int], pending: bool) -> None:
        """Hand the event to its lanes: the journal has stored it."""
        self._release_lanes()
        for (lane, delivery), seq in zip(self.stored, seqs, strict=True):
            delivery.seq = seq
            if pending:
                lane.enqueue(delivery)
                self.accepted += 1
            else:
                lane.reject(delivery, "overflow")
                self.dropped += 1
        if self.items:
            self.offer(wait=True)

    def append_failed(self) -> None:
        """Release the lanes: the journal has not stored the event."""
        self._release_lanes()

    def _release_lanes(self) -> None:
        """Let no lane wait for the event any more."""
        for lane, _ in self.committing:
            lane.committing -= 1

    def lanes(self) -> list[Lane[Any]]:
        """Return all lanes that the event goes to."""
        return [lane for lanes in (self.inline, self.stored, self.items) for lane, _ in lanes]

    def reject_closed(self) -> None:
        """Reject the event at webhooks that inline functions have disabled or removed."""
        open_items = []
        for lane, item in self.items:
            if isinstance(lane, WebhookLane) and lane.closed_for is not None:
                lane.reject(item, lane.closed_for)
                self.dropped += 1
            else:
                open_items.append((lane, item))
        self.items = open_items


def add_deliveries(
    lanes: Iterable[WebhookLane],
    envelope: Envelope,
    data: object,
    session: Session,
    deliveries: list[tuple[WebhookLane, Delivery]],
) -> None:
    """Add a delivery for each lane, with its order key."""
    connection = session.connection_id or session.client_id
    for lane in lanes:
        if lane.key_of is None:
            key = connection
        else:
            event = Event(envelope.id, envelope.name, data, session, envelope.time)
            key = lane.key_of(event)
            if key is not None and not isinstance(key, str):
                raise ConfigError(
                    "order_by", key, "the function must return a str, or None for no order"
                )
        deliveries.append((lane, Delivery(envelope, key)))
