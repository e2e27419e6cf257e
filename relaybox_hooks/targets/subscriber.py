"""A local function, and how to run it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypedDict

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Event
from relaybox_hooks.validation import Overflow, check_int, check_overflow

Handler: TypeAlias = Callable[[Event[Any]], Awaitable[object] | object]


class SubscriberOptions(TypedDict, total=False):
    """The keyword arguments of ``on``, ``once`` and ``add_subscriber``."""

    name: str
    in_thread: bool
    concurrency: int
    queue_size: int
    overflow: Overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A local function registered for some events.

    Attributes:
        function: takes the event; async or not.
        name: for logs and figures; the function's qualified name by default.
        in_thread: run a sync function in a worker thread, because it blocks.
        concurrency: how many events it may handle at a time; 1 keeps them in order.
        queue_size: the lane's bound, in events; ``None`` takes what ``Hooks`` was given.
        overflow: what a full lane does; ``None`` takes what ``Hooks`` was given.
        once: it is told of one event and then forgotten.
    """

    function: Handler
    name: str = ""
    in_thread: bool = False
    concurrency: int = 1
    queue_size: int | None = None
    overflow: Overflow | None = None
    once: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError("function", self.function, "a subscriber is a function of the event")
        if not isinstance(self.name, str):
            raise ConfigError("name", self.name, "give a str")
        if not self.name:
            object.__setattr__(self, "name", _name_of(self.function))
        if self.in_thread and _is_async(self.function):
            raise ConfigError("in_thread", self.in_thread, "an async function runs on the loop")
        check_int("concurrency", self.concurrency)
        if self.queue_size is not None:
            check_int("queue_size", self.queue_size)
        if self.overflow is not None:
            check_overflow("overflow", self.overflow)


def _name_of(function: Any) -> str:
    """A name without what a ``repr`` may show: addresses, and a partial's arguments."""
    function = _unwrapped(function)
    name: str = getattr(function, "__qualname__", None) or type(function).__qualname__
    return name


def _unwrapped(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def _is_async(function: Any) -> bool:
    function = _unwrapped(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - not whether, but what it is
    )
