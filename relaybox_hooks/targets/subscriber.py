"""Subscribers: local functions and the options of their lanes."""

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
    """Keyword arguments of ``on``, ``once`` and ``add_subscriber``."""

    name: str
    in_thread: bool
    concurrency: int
    queue_size: int
    overflow: Overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Local function registered for some events.

    Attributes:
        function: sync or async function of the event.
        name: name in logs and metrics; by default the qualified name of the function.
        in_thread: run a sync function in a worker thread; use it for one that blocks.
        concurrency: maximum number of concurrent calls; 1 keeps events in order.
        queue_size: bound of the lane, in events; ``None`` takes the default of ``Hooks``.
        overflow: policy of a full lane; ``None`` takes the default of ``Hooks``.
        once: remove the subscriber after its first event.

    Raises:
        ConfigError: an option is invalid; ``option`` is its name.
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
    """Return the qualified name; unlike ``repr``, without addresses or a partial's arguments."""
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
        getattr(type(function), "__call__", None)  # noqa: B004 - the attribute itself is inspected
    )
