"""Observers may act: disable, remove or emit from inside any callback, and the books hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from support import KEY, ROOM, until

from relaybox_hooks import (
    Attempt,
    BreakerPolicy,
    DeadLetter,
    Event,
    Hooks,
    Observer,
    RetryPolicy,
    Timeouts,
    Webhook,
)
from relaybox_hooks.events import RoomData
from relaybox_hooks.testing import Answer, EndlessBody, FaultReceiver, Hold, Script
from relaybox_hooks.testing.clock import VirtualClock

Moment = Literal["attempted", "retried", "dead_lettered", "breaker_changed"]


class Acting(Observer):
    """Disables or removes the webhook when something happens to it, as an operator might."""

    def __init__(self, moment: Moment, action: str) -> None:
        self.hooks: Hooks
        self.action = action
        self.letters: list[DeadLetter] = []
        self.unbalanced: list[object] = []
        self.acted = 0
        setattr(self, moment, self._act)

    def _act(self, *_: object) -> None:
        self.look()
        if any(webhook.id == "w" and webhook.enabled for webhook in self.hooks.webhooks):
            self.acted += 1
            getattr(self.hooks, self.action)("w")
        self.look()

    def look(self) -> None:
        row = self.hooks.stats()
        if row.accepted != row.delivered + row.failed + row.dropped + row.pending:
            self.unbalanced.append(row)


class Watching(Observer):
    """Looks at the books at each loss."""

    def __init__(self) -> None:
        self.hooks: Hooks
        self.letters: list[DeadLetter] = []
        self.rows: list[tuple[int, ...]] = []

    def dead_lettered(self, letter: DeadLetter) -> None:
        self.letters.append(letter)
        self.rows.append(self.hooks.stats()[:6])


@asynccontextmanager
async def opened(
    script: Script, observer: Acting | Watching, **policies: Any
) -> AsyncIterator[tuple[Hooks, FaultReceiver]]:
    options: dict[str, Any] = {
        "concurrency": 1,
        "retry": RetryPolicy(attempts=5, initial=0, maximum=0),
        "timeouts": Timeouts(total=1000),
    } | policies
    clock = options.pop("clock", None)
    async with asyncio.timeout(20), FaultReceiver(script) as receiver:
        webhook = Webhook(receiver.url, ["room:join"], KEY, id="w", **options)
        async with Hooks(
            [webhook], observers=[observer], logging=False, close_timeout=0, clock=clock
        ) as hooks:
            observer.hooks = hooks
            yield hooks, receiver


async def check(hooks: Hooks, events: int) -> None:
    stats = hooks.stats()
    assert stats.accepted == events
    assert stats.pending == 0
    assert stats.delivered + stats.failed + stats.dropped == events
    letters = [(letter.webhook_id, letter.event_id) for letter in await hooks.dead_letters()]
    assert len(letters) == len(set(letters)) == stats.failed + stats.dropped


@pytest.mark.parametrize("action", ["disable_webhook", "remove_webhook"])
@pytest.mark.parametrize("moment", ["attempted", "retried", "breaker_changed"])
async def test_a_webhook_that_is_ended_while_an_attempt_is_told_of_is_not_tried_again(
    moment: Moment, action: str
) -> None:
    observer = Acting(moment, action)
    breaker = BreakerPolicy(failures=1, cooldown=0.001)
    async with opened(Answer(503), observer, breaker=breaker) as (hooks, receiver):
        for _ in range(5):
            await hooks.emit("room:join", ROOM)
        await hooks.join()
        assert observer.acted == 1
        assert len(receiver.requests) == 1
        await check(hooks, 5)
    assert observer.unbalanced == []


@pytest.mark.parametrize("action", ["disable_webhook", "remove_webhook"])
async def test_a_webhook_that_is_ended_at_the_first_loss(action: str) -> None:
    """Of many that expire together the first is told of when the others are still there."""
    observer = Acting("dead_lettered", action)
    clock = VirtualClock()
    async with opened(Hold(), observer, max_age=10, clock=clock) as (hooks, receiver):
        for _ in range(5):
            await hooks.emit("room:join", ROOM)
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        await clock.advance(10)
        reasons = [letter.reason for letter in await hooks.dead_letters()]
        assert reasons.count("expired") == 1
        assert len(reasons) == 4
        receiver.release()
        await hooks.join()
        await check(hooks, 5)
    assert observer.unbalanced == []


async def test_an_event_emitted_at_each_loss_breaks_no_chain() -> None:
    """It pushes an older one out of the full lane while several are being given up."""
    clock = VirtualClock()

    class Alarm(Watching):
        emitted_ = 0

        def dead_lettered(self, letter: DeadLetter) -> None:
            super().dead_lettered(letter)
            if letter.reason == "expired" and self.emitted_ < 3:
                self.emitted_ += 1
                for _ in range(6):  # as many as there is room for
                    self.hooks.emit_nowait("room:join", ROOM)

    observer = Alarm()
    policies: dict[str, Any] = {"overflow": "drop_oldest", "queue_size": 6, "max_age": 10}
    async with opened(Hold(), observer, clock=clock, **policies) as (hooks, receiver):
        for _ in range(6):
            await hooks.emit("room:join", ROOM)
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        await clock.advance(10)
        stats = hooks.stats()
        assert stats.accepted == 6 + 6 * observer.emitted_
        assert stats.pending <= 6
        for accepted, delivered, failed, _, dropped, pending in observer.rows:
            assert accepted == delivered + failed + dropped + pending
        receiver.release()
        await receiver.wait_until(lambda: len(receiver.accepted) == 1)
        await hooks.aclose(timeout=0)
        await check(hooks, stats.accepted)


@pytest.mark.parametrize("action", ["disable_webhook", "remove_webhook"])
async def test_a_webhook_that_is_ended_at_the_first_loss_of_the_close(action: str) -> None:
    observer = Acting("dead_lettered", action)
    async with opened(Hold(), observer, concurrency=2) as (hooks, receiver):
        for _ in range(5):
            await hooks.emit("room:join", ROOM, {"connectionId": "c"})
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        report = await hooks.aclose(timeout=0)
        assert report.left == 5
        await check(hooks, 5)


async def test_the_books_balance_at_every_loss() -> None:
    """Whoever is told of a dead letter finds it counted, and pending no more."""
    observer = Watching()
    async with opened([Answer(400)] * 5, observer) as (hooks, _):
        for _ in range(5):
            await hooks.emit("room:join", ROOM)
        await hooks.join()
    assert [row[2] for row in observer.rows] == [1, 2, 3, 4, 5]
    for accepted, delivered, failed, _, dropped, pending in observer.rows:
        assert accepted == delivered + failed + dropped + pending


async def test_closing_begins_no_new_attempt() -> None:
    """An attempt whose status is known is settled when it is cut short; where that closes the
    breaker, those it held back stay where they are: the session is about to go."""
    observer = Watching()
    clock = VirtualClock()
    script = [Hold(), Hold(), Answer(503), EndlessBody(interval=1000)]
    breaker = BreakerPolicy(failures=1, cooldown=5)
    policies: dict[str, Any] = {"breaker": breaker, "concurrency": 3, "order_by": "none"}
    retry = RetryPolicy(initial=7, jitter=0)
    async with opened(script, observer, clock=clock, retry=retry, **policies) as (hooks, receiver):
        for _ in range(2):  # so that there are idle connections, ready to be written to
            await hooks.emit("room:join", ROOM)
        await receiver.wait_until(lambda: len(receiver.held) == 2)
        receiver.release()
        await hooks.join()
        await hooks.emit("room:join", ROOM)
        await until(lambda: hooks.stats().targets["w"].breaker == "open")
        for _ in range(3):
            await hooks.emit("room:join", ROOM)
        await clock.advance(5)
        await receiver.wait_for(4)
        await clock.advance(0)
        assert hooks.stats().targets["w"].breaker == "half-open"
        await hooks.aclose(timeout=0)
        assert hooks.stats().targets["w"].breaker == "closed"
        await receiver.wait_until(lambda: receiver.connected == 0)
        assert len(receiver.requests) == 4
        assert (hooks.stats().delivered, hooks.stats().failed) == (3, 3)


async def test_a_broken_observer_breaks_no_delivery() -> None:
    class Broken(Watching):
        def attempted(self, attempt: Attempt) -> None:
            raise RuntimeError("broken")

        def delivered(self, attempt: Attempt) -> None:
            raise RuntimeError("broken")

        def subscriber_failed(self, subscriber: str, event: Event, error: BaseException) -> None:
            raise RuntimeError("broken")

    async with opened(Answer(), Broken()) as (hooks, _):

        @hooks.on("room:join")
        async def failing(event: Event[RoomData]) -> None:
            raise ValueError("failing")

        for _ in range(5):
            await hooks.emit("room:join", ROOM)
        await hooks.join()
        assert (hooks.stats().delivered, hooks.stats().failed) == (5, 5)


class Echo(Watching):
    """Emits another event at the first loss."""

    def __init__(self, name: Literal["room:join", "room:leave"]) -> None:
        super().__init__()
        self.name = name

    def dead_lettered(self, letter: DeadLetter) -> None:
        super().dead_lettered(letter)
        if len(self.letters) == 1:
            self.hooks.emit_nowait(self.name, ROOM)


async def test_an_event_emitted_at_a_drop_overfills_no_lane() -> None:
    """It takes the room that was made, so there is none for the one that it was made for."""
    policies = {"overflow": "drop_oldest", "queue_size": 3}
    async with opened(Hold(), Echo("room:join"), **policies) as (hooks, receiver):
        await hooks.emit("room:join", ROOM)
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        for _ in range(2):
            await hooks.emit("room:join", ROOM)
        receipt = await hooks.emit("room:join", ROOM)
        assert (receipt.accepted, receipt.dropped) == (0, 1)
        stats = hooks.stats()
        assert (stats.accepted, stats.pending, stats.dropped) == (5, 3, 2)
    await check(hooks, 5)


async def test_emit_nowait_waits_for_no_room_that_an_observer_took() -> None:
    """When it looked there was room in the second lane; the loss in the first one filled it."""
    policies = {"overflow": "drop_newest", "queue_size": 1}
    async with opened(Hold(), Echo("room:leave"), **policies) as (hooks, receiver):
        second = Webhook(receiver.url, ["room:*"], KEY, id="second", queue_size=2)
        hooks.add_webhook(second)
        await hooks.emit("room:join", ROOM)
        receipt = hooks.emit_nowait("room:join", ROOM)
        assert (receipt.accepted, receipt.dropped) == (0, 2)
        row = hooks.stats().targets["second"]
        assert (row.accepted, row.pending, row.dropped) == (3, 2, 1)
    await check(hooks, 5)


async def test_a_wait_that_is_cancelled_as_room_comes_is_not_served() -> None:
    """Its emit has not gone on yet, but whoever called it has been promised nothing."""

    class Leaving(Watching):
        waiting: asyncio.Task[Any]

        def attempted(self, attempt: Attempt) -> None:
            self.waiting.cancel()

    observer = Leaving()
    async with opened(Hold(), observer, queue_size=1) as (hooks, receiver):
        await hooks.emit("room:join", ROOM)
        observer.waiting = asyncio.create_task(hooks.emit("room:join", ROOM))
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        receiver.release()
        await until(observer.waiting.done)
        assert observer.waiting.cancelled()
        await hooks.join()
        assert len(receiver.requests) == 1
        assert (hooks.stats().delivered, hooks.stats().dropped) == (1, 1)
        assert [letter.reason for letter in observer.letters] == ["overflow"]
