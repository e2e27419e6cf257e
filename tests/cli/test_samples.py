"""The samples have the shapes that events.py documents."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from relaybox_hooks import EVENTS, Session, User
from relaybox_hooks.cli.samples import DATA, session_for
from relaybox_hooks.events import (
    AuthData,
    PresenceData,
    RoomCreateData,
    RoomData,
    RoomPublishData,
    UserStatusData,
)

SHAPES: dict[str, Any] = {
    "auth:signup": AuthData,
    "auth:verify": AuthData,
    "auth:signin": AuthData,
    "auth:session:initialize": None,
    "presence:join": PresenceData,
    "presence:leave": PresenceData,
    "presence:update": PresenceData,
    "room:create": RoomCreateData,
    "room:join": RoomData,
    "room:leave": RoomData,
    "room:destroy": RoomData,
    "room:publish": RoomPublishData,
    "user:status:update": UserStatusData,
}


def test_every_event_has_one() -> None:
    assert tuple(DATA) == EVENTS == tuple(SHAPES)


@pytest.mark.parametrize("name", EVENTS)
def test_data_has_the_documented_members(name: str) -> None:
    shape, sample = SHAPES[name], DATA[name]  # type: ignore[index]
    if shape is None:
        assert sample is None
        return
    assert sample.keys() == get_type_hints(shape).keys()


@pytest.mark.parametrize("name", EVENTS)
def test_sessions_are_full_but_for_those_before_there_is_a_connection(name: str) -> None:
    session = session_for(name)
    assert Session.of(session).to_wire() == session
    assert session["user"].keys() == User().to_wire().keys()
    unknown = {member for member, value in session.items() if value is None}
    http = name in {"auth:signup", "auth:verify", "auth:signin"}
    assert unknown == ({"connectionId", "socketId"} if http else set())
