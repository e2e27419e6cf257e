"""The lane of an inline subscriber: its calls and their counts, without an emit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import soon

from relaybox_hooks import Event, Observer, SubscriberTimeoutError, SubscriberWaitError
from relaybox_hooks.lanes.inline_lane import InlineLane
from relaybox_hooks.observer import Notifier
from relaybox_hooks.session import NO_SESSION
from relaybox_hooks.targets.subscriber import Handler, Subscriber
from relaybox_hooks.transport.runtime import Runtime

EVENT: Event[Any] = Event("e-1", "room:join", {"roomId": "r"}, NO_SESSION, 1.0)


class Told(Observer):
    """Writes down what it is told of subscribers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def subscriber_began(self, subscriber: str, event: Event) -> None:
        self.calls.append(("began", subscriber, event))

    def subscriber_ended(self, subscriber: str, event: Event, error: BaseException | None) -> None:
        self.calls.append(("ended", subscriber, event, error))

    def subscriber_failed(self, subscriber: str, event: Event, error: BaseException) -> None:
        self.calls.append(("failed", subscriber, event, error))


def make(function: Handler, *observers: Observer, **options: Any) -> InlineLane:
    runtime = Runtime(Notifier(observers), lambda: 0.5)
    subscriber = Subscriber(function=function, name="f", inline=True, **options)
    return InlineLane(runtime, subscriber)


def counts(lane: InlineLane) -> tuple[int, ...]:
    """Accepted, delivered, failed, pending, in flight, and what the runtime has outstanding."""
    row = lane.stats()
    outstanding = lane.runtime.outstanding
    return row.accepted, row.delivered, row.failed, row.pending, row.in_flight, outstanding


class Callee:
    async def __call__(self, event: Event) -> None:
        await asyncio.sleep(0)
        heard.append(event)


heard: list[Event] = []


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


async def coroutine_function(event: Event) -> None:
    await Callee()(event)


def hidden(function: Callable[[Event], Any]) -> Handler:
    """Not seen to be async before it has been called."""
    return lambda event: function(event)  # noqa: PLW0108 - that is the point


@pytest.mark.parametrize(
    "function",
    [
        heard.append,
        coroutine_function,
        Callee(),
        partial(coroutine_function),
        hidden(coroutine_function),
        lambda event: asyncio.ensure_future(coroutine_function(event)),
    ],
    ids=["sync", "async", "object", "partial", "coroutine", "future"],
)
async def test_every_kind_of_function_has_run_when_its_call_returns(function: Handler) -> None:
    lane = make(function)
    assert lane.begin(EVENT)
    assert counts(lane) == (1, 0, 0, 1, 1, 1)
    await lane.call(EVENT)
    assert heard == [EVENT]
    assert counts(lane) == (1, 1, 0, 0, 0, 0)


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), SystemExit(3)])
async def test_an_error_is_counted_told_and_passed_on_as_it_is(error: BaseException) -> None:
    async def failing(event: Event) -> None:
        raise error

    told = Told()
    lane = make(failing, told)
    lane.begin(EVENT)
    with pytest.raises(type(error)) as caught:
        await lane.call(EVENT)
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert counts(lane) == (1, 0, 1, 0, 0, 0)
    assert told.calls == [
        ("began", "f", EVENT),
        ("ended", "f", EVENT, error),
        ("failed", "f", EVENT, error),
    ]


async def test_a_cancellation_is_a_failure_but_not_the_functions() -> None:
    told = Told()
    lane = make(lambda event: asyncio.Event().wait(), told)
    lane.begin(EVENT)
    task = asyncio.create_task(lane.call(EVENT))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert counts(lane) == (1, 0, 1, 0, 0, 0)
    assert [call[0] for call in told.calls] == ["began", "ended"]


async def test_a_function_that_takes_too_long_is_cancelled_and_named() -> None:
    ended = []

    async def slow(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(event)

    told = Told()
    lane = make(slow, told, timeout=0.001)
    lane.begin(EVENT)
    with pytest.raises(TimeoutError, match=r"'f' took longer than 0\.001 s") as caught:
        await soon(lane.call(EVENT))
    assert isinstance(caught.value, SubscriberTimeoutError)
    assert (caught.value.subscriber, caught.value.timeout) == ("f", 0.001)
    assert ended == [EVENT]
    assert counts(lane) == (1, 0, 1, 0, 0, 0)
    assert told.calls[1:] == [
        ("ended", "f", EVENT, caught.value),
        ("failed", "f", EVENT, caught.value),
    ]


@pytest.mark.parametrize("timeout", [3600, float("inf"), None])
async def test_a_function_within_its_limit_keeps_its_own_errors(timeout: float | None) -> None:
    """Also a ``TimeoutError``, which is not that of the limit."""
    error = TimeoutError("the database")

    async def failing(event: Event) -> None:
        raise error

    lane = make(failing, timeout=timeout)
    lane.begin(EVENT)
    with pytest.raises(TimeoutError, match="the database") as caught:
        await lane.call(EVENT)
    assert caught.value is error


def test_without_await_a_sync_function_runs() -> None:
    told = Told()
    lane = make(heard.append, told)
    lane.begin(EVENT)
    lane.call_nowait(EVENT)
    assert heard == [EVENT]
    assert counts(lane) == (1, 1, 0, 0, 0, 0)
    assert told.calls == [("began", "f", EVENT), ("ended", "f", EVENT, None)]


def test_without_await_an_error_is_passed_on() -> None:
    def failing(event: Event) -> None:
        raise KeyError("no")

    lane = make(failing)
    lane.begin(EVENT)
    with pytest.raises(KeyError, match="no"):
        lane.call_nowait(EVENT)
    assert counts(lane) == (1, 0, 1, 0, 0, 0)


async def test_without_await_what_would_have_to_be_awaited_is_refused() -> None:
    """A coroutine is closed, or Python would warn that it was never awaited."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    returned: list[Callable[[Event], Any]] = [coroutine_function, lambda event: future]
    for function in returned:
        lane = make(hidden(function))
        assert not lane.is_async
        lane.begin(EVENT)
        with pytest.raises(SubscriberWaitError, match="cannot await the inline subscriber 'f'"):
            lane.call_nowait(EVENT)
        assert counts(lane) == (1, 0, 1, 0, 0, 0)
    assert not future.done()
    assert heard == []


def test_once_takes_one_event() -> None:
    subscriber = Subscriber(function=heard.append, name="f", inline=True, once=True)
    firsts: list[InlineLane] = []
    runtime = Runtime(Notifier(()), lambda: 0.5)
    lane = InlineLane(runtime, subscriber, on_first=firsts.append)
    assert [lane.begin(EVENT), lane.begin(EVENT)] == [True, False]
    assert firsts == [lane]
    assert counts(lane)[0] == 1


async def test_a_call_given_up_at_closing_changes_no_count_when_it_ends_at_last() -> None:
    for error in (None, ValueError("late")):
        release = asyncio.Event()

        async def late(event: Event, error: Exception | None = error) -> None:
            await release.wait()  # noqa: B023 - awaited before the next round
            if error is not None:
                raise error

        lane = make(late)
        lane.begin(EVENT)
        task = asyncio.create_task(lane.call(EVENT))
        await asyncio.sleep(0)
        assert lane.discard() == 1
        release.set()
        await asyncio.wait([task])
        assert task.exception() is error
        assert counts(lane) == (1, 0, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("options", "observers", "stored", "plain"),
    [
        ({}, (), False, True),
        ({}, (), True, False),
        ({"timeout": 1}, (), False, False),
        ({"once": True}, (), False, False),
        ({}, (Told(),), False, False),
    ],
)
def test_emit_may_take_the_short_way_only_where_nothing_else_is_to_be_done(
    options: dict[str, Any], observers: tuple[Observer, ...], stored: bool, plain: bool
) -> None:
    runtime = Runtime(Notifier(observers), lambda: 0.5)
    subscriber = Subscriber(function=heard.append, inline=True, **options)
    assert (InlineLane(runtime, subscriber, stored=stored).plain_call is not None) is plain
