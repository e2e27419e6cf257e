"""Rooms and their members. Plain state: nothing here waits, sends or emits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from chat.connection import Connection
from chat.wire import InvalidRequestError, Message, UserData

#: Maximum number of rooms, and number of recent messages that a new member gets.
_ROOMS: Final = 200
_HISTORY: Final = 50


@dataclass(slots=True, kw_only=True, eq=False)
class Room:
    """Room with its member connections and their presence data."""

    id: str
    visibility: str
    owner: str
    uuid: str = field(default_factory=lambda: str(uuid4()))
    members: dict[Connection, UserData | None] = field(default_factory=dict)
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    greeted: set[str] = field(default_factory=set)

    def member(self, connection_id: str | None) -> Connection | None:
        return next((m for m in self.members if m.session.connection_id == connection_id), None)

    def require(self, who: Connection) -> None:
        if who not in self.members:
            raise InvalidRequestError("join the room first")

    def visible_to(self, who: Connection) -> bool:
        """Return True if the room is listed for ``who``: public, owned or joined."""
        return self.visibility == "public" or self.owner == who.account.id or who in self.members

    def people(self) -> list[Message]:
        return [
            {"name": who.account.username, "status": who.status, "userData": data}
            for who, data in self.members.items()
        ]


class Rooms:
    """Rooms by name."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def create(self, room_id: str, visibility: str, owner: str) -> Room:
        if room_id in self._rooms:
            raise InvalidRequestError("a room of that name exists")
        if len(self._rooms) >= _ROOMS:
            raise InvalidRequestError("there are too many rooms")
        room = self._rooms[room_id] = Room(id=room_id, visibility=visibility, owner=owner)
        return room

    def find(self, room_id: str) -> Room:
        room = self._rooms.get(room_id)
        if room is None:
            raise InvalidRequestError("there is no such room")
        return room

    def get(self, room_id: str) -> Room | None:
        return self._rooms.get(room_id)

    def remove(self, room: Room) -> None:
        del self._rooms[room.id]

    def of(self, who: Connection) -> list[Room]:
        return [room for room in self._rooms.values() if who in room.members]

    def shown_to(self, who: Connection) -> list[Message]:
        return [
            {
                "id": room.id,
                "visibility": room.visibility,
                "people": len(room.members),
                "joined": who in room.members,
                "mine": room.owner == who.account.id,
            }
            for room in self._rooms.values()
            if room.visible_to(who)
        ]
