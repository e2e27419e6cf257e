"""A subscriber: its name, and the options that cannot work."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from relaybox_hooks import ConfigError, Event
from relaybox_hooks.targets.subscriber import Subscriber


def plain(event: Event) -> None: ...


async def on_loop(event: Event) -> None: ...


def with_token(token: str, event: Event) -> None: ...


class Service:
    def method(self, event: Event) -> None: ...


class Callable:
    def __call__(self, event: Event) -> None: ...


class AsyncCallable:
    async def __call__(self, event: Event) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plain, "plain"),
        (Service().method, "Service.method"),
        (Callable(), "Callable"),
        (partial(with_token, "hunter2"), "with_token"),
        (partial(partial(with_token), "hunter2"), "with_token"),
        (partial(Callable()), "Callable"),
        (print, "print"),
    ],
)
def test_a_subscriber_is_named_after_its_function(function: Any, name: str) -> None:
    """Never after a ``repr``, which shows a partial's arguments."""
    assert Subscriber(function=function).name == name


def test_a_name_of_its_own_wins() -> None:
    assert Subscriber(function=plain, name="greeter").name == "greeter"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": "plain"}, "function='plain': a subscriber is a function of the event"),
        ({"function": plain, "name": 5}, "name=5: give a str"),
        ({"function": plain, "concurrency": 0}, "concurrency=0: give a whole number"),
        ({"function": plain, "queue_size": 0}, "queue_size=0: give a whole number"),
        ({"function": plain, "overflow": "drop"}, "overflow='drop': choose one of"),
    ],
)
def test_what_cannot_work_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Subscriber(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue_size": 5}, "queue_size=5: inline=True has neither queue nor thread"),
        ({"overflow": "wait"}, "overflow='wait': inline=True has"),
        ({"concurrency": 1}, "concurrency=1: inline=True has"),
        ({"in_thread": True}, "in_thread=True: inline=True has"),
        ({"timeout": 0}, "timeout=0: must be more than 0 seconds"),
        ({"timeout": "5"}, "timeout='5': give seconds or a timedelta"),
    ],
)
def test_an_inline_subscriber_has_no_option_of_a_queue(options: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Subscriber(function=plain, inline=True, **options)
    assert str(caught.value).startswith(message)


def test_only_an_inline_subscriber_has_a_time_limit() -> None:
    with pytest.raises(ConfigError, match=r"timeout=5: only inline=True has a time limit"):
        Subscriber(function=plain, timeout=5)


def test_the_same_options_are_equal_however_they_are_written() -> None:
    """Or a function could not be registered again for further events."""
    assert Subscriber(function=plain) == Subscriber(function=plain, concurrency=1)
    limited = Subscriber(function=plain, inline=True, timeout=timedelta(seconds=2))
    assert limited == Subscriber(function=plain, inline=True, timeout=2)
    assert limited.timeout == 2.0


@pytest.mark.parametrize(
    "function",
    [
        on_loop,
        AsyncCallable(),
        AsyncCallable().__call__,
        partial(on_loop),
        partial(AsyncCallable()),
    ],
    ids=["function", "object", "method", "partial", "partial of an object"],
)
def test_an_async_function_is_not_run_in_a_thread(function: Any) -> None:
    with pytest.raises(ConfigError, match="an async function runs on the loop"):
        Subscriber(function=function, in_thread=True)
