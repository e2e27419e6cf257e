"""A running Hooks, what happens in it, and a receiver that a test can change its mind about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from relaybox_hooks import (
    Attempt,
    CloseReport,
    DeadLetter,
    Event,
    Hooks,
    Observer,
    Receipt,
    RetryPolicy,
    Stats,
    TargetStats,
    Webhook,
    observer,
)
from relaybox_hooks.events import RoomData
from relaybox_hooks.targets.policies import BreakerState
from relaybox_hooks.testing import Fault, FaultReceiver, ReceivedRequest
from relaybox_hooks.testing.clock import VirtualClock
from support.waiting import soon

#: A signing key.
KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
ROOM: Final[RoomData] = {"roomId": "chat:one"}
#: Where a VirtualClock begins.
START: Final = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)

#: The methods of observers that the notifier knows.

#: No retry: what fails is a dead letter.
ONCE: Final = RetryPolicy(attempts=1)
#: The methods of an observer.
METHODS: Final = observer.METHODS
#: Retries without dice.
STEADY: Final = RetryPolicy(jitter=0)


class Watch(Observer):
    """Writes down every call; tests wait for what they expect to see in it.

    Attributes:
        calls: the method's name and its arguments, in order.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._waits: dict[asyncio.Future[None], Callable[[], bool]] = {}

    def all(self, method: str) -> list[Any]:
        """What ``method`` was called with: its argument, or a tuple of several."""
        found = [arguments for name, arguments in self.calls if name == method]
        return [each[0] if len(each) == 1 else each for each in found]

    @property
    def attempts(self) -> list[Attempt]:
        return self.all("attempted")

    @property
    def letters(self) -> list[DeadLetter]:
        return self.all("dead_lettered")

    @property
    def states(self) -> list[tuple[str, str]]:
        """The changes of all breakers, before and after."""
        return [(before, after) for _, before, after in self.all("breaker_changed")]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` holds, asked whenever something is observed."""
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits[waiter] = condition
        try:
            await soon(waiter)
        finally:
            del self._waits[waiter]

    async def attempted_times(self, count: int) -> Attempt:
        """Wait until ``count`` attempts came to their outcome; returns the latest."""
        await self.until(lambda: len(self.attempts) >= count)
        return self.attempts[-1]

    def _note(self, method: str, *arguments: Any) -> None:
        self.calls.append((method, arguments))
        for waiter, condition in self._waits.items():
            if not waiter.done() and condition():
                waiter.set_result(None)

    def emitted(self, name: str, receipt: Receipt) -> None:
        self._note("emitted", name, receipt)

    def attempted(self, attempt: Attempt) -> None:
        self._note("attempted", attempt)

    def delivered(self, attempt: Attempt) -> None:
        self._note("delivered", attempt)

    def retried(self, attempt: Attempt) -> None:
        self._note("retried", attempt)

    def dropped(self, target: str, event_id: str, name: str, reason: str) -> None:
        self._note("dropped", target, event_id, name, reason)

    def dead_lettered(self, letter: DeadLetter) -> None:
        self._note("dead_lettered", letter)

    def subscriber_failed(self, subscriber: str, event: Event, error: BaseException) -> None:
        self._note("subscriber_failed", subscriber, event, error)

    def breaker_changed(self, webhook: Webhook, before: BreakerState, after: BreakerState) -> None:
        self._note("breaker_changed", webhook, before, after)

    def webhook_disabled(self, webhook: Webhook, reason: str) -> None:
        self._note("webhook_disabled", webhook, reason)

    def closed(self, report: CloseReport) -> None:
        self._note("closed", report)


#: Opens hooks with the same journal each time; takes webhooks and options.
Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[Hooks[Any]]]


class Mood:
    """A script that a test changes on the way: one answer for all, until the next change."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def __call__(self, request: ReceivedRequest) -> Fault:
        return self.fault


def webhook_to(receiver: FaultReceiver, path: str = "/", **options: Any) -> Webhook:
    """A webhook for all events, called after its path."""
    options = {"events": ["*"], "signing_key": KEY, "id": path.strip("/") or "root"} | options
    return Webhook(url=receiver.url_for(path), **options)


@asynccontextmanager
async def dispatcher(
    *webhooks: Webhook, clock: VirtualClock | None = None, **options: Any
) -> AsyncIterator[Hooks[Any]]:
    """A running ``Hooks`` without dice, closed at once in the end whatever it still owes."""
    options.setdefault("random", lambda: 0.0)
    hooks: Hooks[Any] = Hooks(webhooks, clock=clock, **options)
    await hooks.start()
    try:
        yield hooks
    finally:
        await soon(hooks.aclose(timeout=0))


async def emit(hooks: Hooks[Any], room: str = "chat:one", **session: str) -> str:
    """Emit one event; returns its id."""
    receipt = await soon(hooks.emit("room:join", {"roomId": room}, session or None))
    return receipt.event_id


async def emit_times(hooks: Hooks[Any], times: int = 1) -> None:
    """Emit so many events of one connection."""
    for _ in range(times):
        await hooks.emit("room:join", {"roomId": "r"}, {"connectionId": "c"})


def arrived(receiver: FaultReceiver) -> list[str | None]:
    """The ids of the events that were received, in order, attempt by attempt."""
    return [request.event_id for request in receiver.requests]


async def advance_to_next(clock: VirtualClock) -> float:
    """Move to the next timer; returns by how many seconds."""
    wait = clock.next_timer
    assert wait is not None, "no timer is set"
    await clock.advance(wait)
    return wait


def sent_at(request: ReceivedRequest) -> str:
    """The timestamp in a request's body."""
    return str(request.json()["timestamp"])


def header_fields(request: ReceivedRequest) -> dict[str, str]:
    """The header fields with their names as they were written, none of them twice."""
    lines = request.head.decode("latin-1").split("\r\n")[1:-1]
    pairs = dict(line.split(": ", 1) for line in lines)
    assert len(pairs) == len(lines), "a header was sent twice"
    return pairs


def assert_consistent(stats: Stats) -> None:
    """Every accepted event is on exactly one side, at every target and on the whole."""
    rows: list[Stats | TargetStats] = [stats, *stats.targets.values()]
    for row in rows:
        sides = (row.delivered, row.failed, row.dropped, row.pending)
        assert row.accepted == sum(sides), row
        assert min(sides) >= 0, row
