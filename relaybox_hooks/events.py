"""Events: names, payload types, the :class:`Event` class and the catalogue of names."""

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
    """Emitted or received event. Treat it as read-only: all targets share one instance.

    Attributes:
        id: UUID string, the same for every target and on every attempt.
        name: event name, for example ``"room:join"``.
        data: payload; for a subscriber the object that was passed to ``emit``, not a copy.
        session: connection and user; all members are ``None`` if ``emit`` was given no session.
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
    def time(self) -> float:
        """Return the time of :attr:`timestamp` in seconds since the Unix epoch."""
        return self._time

    @property
    def timestamp(self) -> datetime:
        """Return the time of the emit or, for a received event, of the attempt's signing (UTC)."""
        return datetime.fromtimestamp(self._time, UTC)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.id}>"


class Catalogue:
    """Set of declared event names, with pattern matching."""

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
        """Return the declared names that match a name, ``"room:*"`` or ``"*"``.

        Raises:
            UnknownEventError: no declared name matches ``pattern``.
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
