"""Subscribers: local functions and the options of their lanes."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias, TypedDict, cast

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Event
from relaybox_hooks.validation import Overflow, check_int, check_overflow, to_seconds

Handler: TypeAlias = Callable[[Event[Any]], Awaitable[object] | object]


class SubscriberOptions(TypedDict, total=False):
    """Keyword arguments of ``on``, ``once`` and ``add_subscriber``."""

    name: str
    in_thread: bool
    concurrency: int
    queue_size: int
    overflow: Overflow
    inline: bool
    timeout: float | timedelta


#: Options of a queue, which a function that is awaited inside ``emit`` does not have.
_OF_QUEUES: Final = ("in_thread", "concurrency", "queue_size", "overflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Local function registered for some events.

    Attributes:
        function: sync or async function of the event.
        name: name in logs and metrics; by default the qualified name of the function.
        in_thread: run a sync function in a worker thread; use it for one that blocks.
        concurrency: maximum number of concurrent calls; ``None`` for 1, which keeps events in
            order.
        queue_size: bound of the lane, in events; ``None`` takes the default of ``Hooks``.
        overflow: policy of a full lane; ``None`` takes the default of ``Hooks``.
        inline: await the function inside ``emit``, before the event is stored or handed to any
            other target; its error is ``emit``'s, and then none of them gets the event.
        timeout: seconds that an inline function may take, while it is awaited; ``None`` for no
            limit.
        once: remove the subscriber after its first event.

    Raises:
        ConfigError: an option is invalid; ``option`` is its name.
    """

    function: Handler
    name: str = ""
    in_thread: bool = False
    concurrency: int | None = None
    queue_size: int | None = None
    overflow: Overflow | None = None
    inline: bool = False
    timeout: float | timedelta | None = None
    once: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError("function", self.function, "a subscriber is a function of the event")
        if not isinstance(self.name, str):
            raise ConfigError("name", self.name, "give a str")
        if not self.name:
            object.__setattr__(self, "name", _name_of(self.function))
        if self.inline:
            self._check_inline()
        else:
            self._check_queued()

    def _check_queued(self) -> None:
        if self.timeout is not None:
            raise ConfigError("timeout", self.timeout, "only inline=True has a time limit")
        if self.in_thread and is_async(self.function):
            raise ConfigError("in_thread", self.in_thread, "an async function runs on the loop")
        if self.concurrency is None:
            object.__setattr__(self, "concurrency", 1)
        else:
            check_int("concurrency", self.concurrency)
        if self.queue_size is not None:
            check_int("queue_size", self.queue_size)
        if self.overflow is not None:
            check_overflow("overflow", self.overflow)

    def _check_inline(self) -> None:
        for option in _OF_QUEUES:
            value = getattr(self, option)
            if value is not None and value is not False:
                raise ConfigError(
                    option, value, "inline=True has neither queue nor thread; leave one of them out"
                )
        if self.timeout is not None:
            object.__setattr__(self, "timeout", to_seconds("timeout", self.timeout))


def _name_of(function: Any) -> str:
    """Return the qualified name; unlike ``repr``, without addresses or a partial's arguments."""
    function = _unwrapped(function)
    name: str = getattr(function, "__qualname__", None) or type(function).__qualname__
    return name


def _unwrapped(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def to_async(function: Handler) -> Callable[[Event], Awaitable[object]]:
    """Return what calls a function, and can always be awaited: if it is async, itself."""
    if is_async(function):
        return cast("Callable[[Event], Awaitable[object]]", function)

    async def call(event: Event) -> None:
        result = function(event)
        if inspect.isawaitable(result):
            await result

    return call


def is_async(function: Any) -> bool:
    """Return whether a function is seen to be async before it is called."""
    function = _unwrapped(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - the attribute itself is inspected
    )
