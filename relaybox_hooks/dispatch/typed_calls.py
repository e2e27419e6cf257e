"""Types of ``emit`` and ``on``: each event's name with its payload, for type checkers.

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
    """Hands an event to every target that matches; handlers and HTTP run later.

    Returns as soon as all of them have it: at once, unless a full lane's policy is to wait. Only
    subscribers with ``inline=True`` are called first, and the others have the event if none of
    them raises.

    Args:
        name: a declared event's name.
        data: any JSON value; webhooks are sent what it is now, whatever becomes of it.
        session: a ``Session``, a mapping with the wire names, or an object with them in
            snake_case.

    Raises:
        UnknownEventError: ``name`` is not declared.
        PayloadError: a webhook matches, and ``data`` or ``session`` cannot be sent.
        LaneFullError: a full lane with ``overflow="raise"``, or a subscriber would wait for
            itself; with ``emit_nowait`` also where ``emit`` would have to wait for room. No
            target received the event.
        JournalWaitError: with ``emit_nowait``: ``emit`` would have to wait for the journal.
        SubscriberWaitError: with ``emit_nowait``: an inline subscriber would have to be awaited.
        SubscriberTimeoutError: an inline subscriber took longer than its ``timeout``.
        BaseException: that of an inline subscriber, as it is.
        HooksClosedError: before ``start()`` or after ``aclose()``; or inline subscribers have
            outlasted closing, and the other targets do not get the event.
        JournalError: there is a journal and it could not store the event.
    """

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
    """Takes event names and patterns, and returns a decorator that registers a function for them.

    Registered again for further events a function keeps its one lane, so its order holds across
    them.

    Args:
        patterns: event names, ``"room:*"`` or ``"*"``.
        options: ``name``, ``in_thread``, ``concurrency``, ``queue_size``, ``overflow``, or
            ``name``, ``inline``, ``timeout``: see
            :class:`~relaybox_hooks.targets.subscriber.Subscriber`.

    Raises:
        UnknownEventError: a pattern that matches no declared event.
        ConfigError: an option that cannot work.
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
