"""What can happen: the catalogue of event names, their payloads, and :class:`Event`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Generic, Literal, TypeAlias, TypedDict, get_args

from relaybox_hooks.errors import ConfigError, UnknownEventError
from relaybox_hooks.session import Session

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

AuthEventName: TypeAlias = Literal["auth:signup", "auth:verify", "auth:signin"]
PresenceEventName: TypeAlias = Literal["presence:join", "presence:leave", "presence:update"]
RoomEventName: TypeAlias = Literal["room:join", "room:leave", "room:destroy"]

EventName: TypeAlias = Literal[
    "auth:signup",
    "auth:verify",
    "auth:signin",
    "auth:session:initialize",
    "presence:join",
    "presence:leave",
    "presence:update",
    "room:create",
    "room:join",
    "room:leave",
    "room:destroy",
    "room:publish",
    "user:status:update",
]

EventPattern: TypeAlias = Literal[
    "*", "auth:*", "auth:session:*", "presence:*", "room:*", "user:*", "user:status:*"
]

#: The 13 events that RelayBox documents.
EVENTS: Final[tuple[EventName, ...]] = get_args(EventName)

_NAME = re.compile(r"[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*", re.ASCII)


class AuthData(TypedDict):
    """Data of ``auth:signup``, ``auth:verify`` and ``auth:signin``."""

    identities: list[Any]
    factors: list[Any]
    authMfaEnabled: bool
    email: str
    verifiedAt: str | None


class PresenceData(TypedDict):
    """Data of ``presence:join``, ``presence:leave`` and ``presence:update``."""

    roomId: str
    userData: Any


class RoomCreateData(TypedDict):
    """Data of ``room:create``."""

    id: str
    uuid: str
    visibility: str


class RoomData(TypedDict):
    """Data of ``room:join``, ``room:leave`` and ``room:destroy``."""

    roomId: str


class RoomPublishData(TypedDict):
    """Data of ``room:publish`` as RelayBox's service sends it."""

    id: str
    body: Any
    roomId: str
    timestamp: str
    event: str


class RoomMessageData(TypedDict):
    """Data of ``room:publish`` in its documented form."""

    message: Any
    roomId: str
    event: str


class UserStatusData(TypedDict):
    """Data of ``user:status:update``."""

    status: str


DataT_co = TypeVar("DataT_co", covariant=True, default=Any)


class Event(Generic[DataT_co]):
    """One thing that happened. Read-only by convention: every target is handed the same one.

    Attributes:
        id: a UUID; the same for every target and on every attempt.
        name: the event's name, for example ``"room:join"``.
        data: what the server passed to ``emit``. For a subscriber it is that very object.
        session: who it happened to; all of its members are ``None`` where none was given.
    """

    __slots__ = ("_time", "data", "id", "name", "session")

    def __init__(
        self,
        id: str,
        name: str,
        data: DataT_co,
        session: Session,
        time: float,
    ) -> None:
        self.id: str = id
        self.name: str = name
        self.data: DataT_co = data
        self.session: Session = session
        self._time = time

    @property
    def timestamp(self) -> datetime:
        """When it was emitted or, of a received event, when this attempt was signed (UTC)."""
        return datetime.fromtimestamp(self._time, UTC)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.id}>"


class Catalogue:
    """The declared event names, and what a pattern over them stands for."""

    __slots__ = ("names",)

    def __init__(self, custom_events: Iterable[str] = ()) -> None:
        if isinstance(custom_events, str):
            raise ConfigError("custom_events", custom_events, "pass a list of names")
        self.names: dict[str, None] = dict.fromkeys(EVENTS)
        for name in custom_events:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ConfigError(
                    "custom_events",
                    name,
                    "a name is words of letters, digits, '_', '.' and '-' joined by ':'",
                )
            self.names[name] = None

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The declared names that ``pattern`` stands for: a name, ``"room:*"`` or ``"*"``.

        Raises:
            UnknownEventError: it stands for none.
        """
        names: tuple[str, ...] = ()
        if pattern == "*":
            names = tuple(self.names)
        elif isinstance(pattern, str) and pattern.endswith(":*"):
            names = tuple(name for name in self.names if name.startswith(pattern[:-1]))
        elif pattern in self.names:
            names = (pattern,)
        if not names:
            raise UnknownEventError(pattern, self.names)
        return names
