"""Order keys: deliveries of one webhook with the same key are sent in order, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relaybox_hooks.events import Event
from relaybox_hooks.targets.webhook import OrderBy


def key_function(order_by: OrderBy) -> Callable[[Event], str | None] | None:
    """Return the function from an event to its order key, ``None`` for the connection's key.

    ``None`` lets callers read the connection id themselves, without a call per event.
    """
    if order_by == "connection":
        return None
    if order_by == "room":
        return room_of
    if order_by == "none":
        return lambda event: None
    return order_by


def room_of(event: Event) -> str | None:
    """Return the room of an event; without one the connection id, else the client id."""
    data = event.data
    if isinstance(data, Mapping):
        room = data.get("id" if event.name == "room:create" else "roomId")
        if isinstance(room, str):
            return room
    return event.session.connection_id or event.session.client_id
