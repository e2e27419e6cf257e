"""Order keys: by connection, by room, by a function of the user's, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relaybox_hooks.events import Event
from relaybox_hooks.session import Session
from relaybox_hooks.targets.order_key import key_function, room_of


def event(name: str = "room:join", data: Any = None, **session: Any) -> Event:
    return Event("id", name, data, Session(**session), 0.0)


def test_order_by_connection_is_left_to_the_fast_path() -> None:
    """Every emit finds the connection once for all lanes, so there is no function."""
    assert key_function("connection") is None


def test_order_by_none_keeps_nothing_in_order() -> None:
    key_of = key_function("none")
    assert key_of is not None
    assert key_of(event(data={"roomId": "r"}, connection_id="c")) is None


def test_order_by_function_is_that_function() -> None:
    def by_name(event: Event) -> str | None:
        return event.name

    assert key_function(by_name) is by_name


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (lambda: event(data={"roomId": "r"}, connection_id="c"), "r"),
        (lambda: event("room:create", {"id": "r", "roomId": "x"}, connection_id="c"), "r"),
        (lambda: event(data={"id": "x"}, connection_id="c", client_id="u"), "c"),
        (lambda: event(data={"roomId": 7}, connection_id="c"), "c"),
        (lambda: event(data=["roomId"], client_id="u"), "u"),
        (lambda: event(data={"roomId": "r"}), "r"),
        (event, None),
    ],
    ids=[
        "room",
        "the room that is created",
        "connection",
        "no text",
        "no object",
        "no session",
        "nothing",
    ],
)
def test_order_by_room(given: Callable[[], Event], key: str | None) -> None:
    """The room, outside rooms the connection, else the client, else no order."""
    assert key_function("room") is room_of
    assert room_of(given()) == key
