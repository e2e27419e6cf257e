"""Order keys: deliveries of one webhook and key leave in order, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relaybox_hooks.events import Event
from relaybox_hooks.targets.webhook import OrderBy


def key_function(order_by: OrderBy) -> Callable[[Event], str | None] | None:
    """How to find an event's order key; ``None`` stands for its connection's."""
    if order_by == "connection":
        return None
    if order_by == "room":
        return room_of
    if order_by == "none":
        return lambda event: None
    return order_by


def room_of(event: Event) -> str | None:
    """The room an event belongs to; outside rooms its connection, or else its client."""
    data = event.data
    if isinstance(data, Mapping):
        room = data.get("id" if event.name == "room:create" else "roomId")
        if isinstance(room, str):
            return room
    return event.session.connection_id or event.session.client_id
