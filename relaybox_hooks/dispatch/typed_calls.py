"""What a type checker sees of ``emit`` and ``on``: each event's name with its payload.

There is no overload for a plain ``str``: it would accept every misspelt name. Custom events
come in through the class parameter, ``Hooks[Literal["order:paid"]](custom_events=[...])``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal, Never, Protocol, TypeAlias, Unpack, overload

from relaybox_hooks.events import (
    AuthData,
    AuthEventName,
    Event,
    EventName,
    EventPattern,
    PresenceData,
    PresenceEventName,
    RoomCreateData,
    RoomData,
    RoomEventName,
    RoomMessageData,
    RoomPublishData,
    UserStatusData,
)
from relaybox_hooks.session import SessionLike
from relaybox_hooks.targets.subscriber import SubscriberOptions

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

#: The names of a server's own events, a ``Literal``; none by default.
CustomT_contra = TypeVar("CustomT_contra", bound=str, default=Never, contravariant=True)
ReturnT_co = TypeVar("ReturnT_co", covariant=True)
DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")

AnySession: TypeAlias = SessionLike | None
Options: TypeAlias = SubscriberOptions


class Decorator(Protocol[DataT]):
    """Takes a handler of events with this data and returns it as it is.

    Its call is generic of itself: in an alias of a Callable, mypy would take the handler's
    result for ``Never``.
    """

    def __call__(
        self, function: Callable[[Event[DataT]], ResultT], /
    ) -> Callable[[Event[DataT]], ResultT]: ...


class EmitCall(Protocol[ReturnT_co, CustomT_contra]):
    """Takes an event's name, its data and a session."""

    @overload
    def __call__(
        self, name: AuthEventName, data: AuthData, session: AnySession = None
    ) -> ReturnT_co: ...
    @overload
    def __call__(
        self,
        name: Literal["auth:session:initialize"],
        data: None = None,
        session: AnySession = None,
    ) -> ReturnT_co: ...
    @overload
    def __call__(
        self, name: PresenceEventName, data: PresenceData, session: AnySession = None
    ) -> ReturnT_co: ...
    @overload
    def __call__(
        self, name: Literal["room:create"], data: RoomCreateData, session: AnySession = None
    ) -> ReturnT_co: ...
    @overload
    def __call__(
        self, name: RoomEventName, data: RoomData, session: AnySession = None
    ) -> ReturnT_co: ...
    @overload
    def __call__(
        self,
        name: Literal["room:publish"],
        data: RoomPublishData | RoomMessageData,
        session: AnySession = None,
    ) -> ReturnT_co: ...
    @overload
    def __call__(
        self, name: Literal["user:status:update"], data: UserStatusData, session: AnySession = None
    ) -> ReturnT_co: ...
    @overload
    def __call__(
        self, name: CustomT_contra, data: Any = None, session: AnySession = None
    ) -> ReturnT_co: ...


class OnCall(Protocol[CustomT_contra]):
    """Takes an event's name or a pattern and returns the decorator for its handler.

    Several names and patterns make a handler of any of them.
    """

    @overload
    def __call__(
        self, pattern: AuthEventName, /, **options: Unpack[Options]
    ) -> Decorator[AuthData]: ...
    @overload
    def __call__(
        self, pattern: Literal["auth:session:initialize"], /, **options: Unpack[Options]
    ) -> Decorator[None]: ...
    @overload
    def __call__(
        self, pattern: PresenceEventName | Literal["presence:*"], /, **options: Unpack[Options]
    ) -> Decorator[PresenceData]: ...
    @overload
    def __call__(
        self, pattern: Literal["room:create"], /, **options: Unpack[Options]
    ) -> Decorator[RoomCreateData]: ...
    @overload
    def __call__(
        self, pattern: RoomEventName, /, **options: Unpack[Options]
    ) -> Decorator[RoomData]: ...
    @overload
    def __call__(
        self, pattern: Literal["room:publish"], /, **options: Unpack[Options]
    ) -> Decorator[RoomPublishData | RoomMessageData]: ...
    @overload
    def __call__(
        self, pattern: Literal["user:status:update"], /, **options: Unpack[Options]
    ) -> Decorator[UserStatusData]: ...
    @overload
    def __call__(
        self,
        *patterns: EventName | EventPattern | CustomT_contra,
        **options: Unpack[Options],
    ) -> Decorator[Any]: ...
