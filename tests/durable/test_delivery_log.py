"""What the journal remembers: dead letters for replay, the log, and for how long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import Mood, Opened, assert_consistent, emit, soon, webhook_to

from relaybox_hooks import (
    ConfigError,
    RetryPolicy,
)
from relaybox_hooks.testing import Answer, FaultReceiver, VirtualClock

pytestmark = pytest.mark.usefixtures("unavailable")


#: Retries at 100, 200, 400 ... seconds, never sooner.
SLOWLY = RetryPolicy(attempts=6, initial=100, maximum=10_000, jitter=0)


async def test_dead_letters_of_an_earlier_process_can_be_replayed(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    mood.fault = Answer(404)
    async with opened(webhook_to(receiver)) as hooks:
        event_id = await emit(hooks)
        await soon(hooks.join())
        assert hooks.stats().failed == 1
    await clock.advance(1)
    async with opened(webhook_to(receiver)) as hooks:
        (letter,) = await hooks.dead_letters(reason="rejected", event_id=event_id)
        assert (letter.status, letter.attempts, letter.event.name) == (404, 1, "room:join")
        assert await soon(hooks.replay()) == (0, 1, 0)
        (letter,) = await hooks.dead_letters()
        assert letter.attempts == 2
        mood.fault = Answer()
        assert await soon(hooks.replay()) == (1, 0, 0)
        assert await hooks.dead_letters() == []
        (entry,) = await hooks.deliveries(status="delivered")
        assert (entry.event_id, entry.attempts) == (event_id, 3)
        assert_consistent(hooks.stats())
        assert hooks.stats()[:3] == (0, 0, 0)  # the earlier process counted it
        assert hooks.stats().replayed == 1


async def test_two_replays_at_once_send_each_letter_once(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    mood.fault = Answer(404)
    async with opened(webhook_to(receiver)) as hooks:
        for _ in range(5):
            await emit(hooks)
        await soon(hooks.join())
        mood.fault = Answer()
        replays = [asyncio.ensure_future(hooks.replay(rate=10)) for _ in range(2)]
        while not all(replay.done() for replay in replays):
            await clock.advance(0.1)
        assert sum(replay.result().delivered for replay in replays) == 5
        assert len(receiver.requests) == 10
        assert hooks.stats()[:3] == (5, 0, 5)
        assert hooks.stats().replayed == 5


async def test_the_log_of_deliveries_is_searched_and_read_on(
    opened: Opened, receiver: FaultReceiver, mood: Mood, clock: VirtualClock
) -> None:
    mood.fault = Answer()
    async with opened(webhook_to(receiver), webhook_to(receiver, "/b")) as hooks:
        first = await emit(hooks)
        await soon(hooks.join())
        moment = datetime.fromtimestamp(clock.time(), UTC)
        await clock.advance(60)
        mood.fault = Answer(404)
        second = (await hooks.emit("room:leave", {"roomId": "r"})).event_id
        await soon(hooks.join())

        async def ids(**criteria: Any) -> list[str]:
            return [entry.event_id for entry in await hooks.deliveries(**criteria)]

        assert await ids() == [second, second, first, first]
        assert await ids(event="room:leave") == [second] * 2
        assert await ids(webhook_id="b") == [second, first]
        assert await ids(status="delivered") == [first] * 2
        assert await ids(status="dead", webhook_id="root") == [second]
        assert await ids(until=moment + timedelta(seconds=1)) == [first] * 2
        assert await ids(since=moment + timedelta(seconds=1)) == [second] * 2
        newest, following = await hooks.deliveries(limit=2)
        assert await ids(before=following) == [first] * 2
        assert (newest.event.data, newest.reason) == ({"roomId": "r"}, "rejected")
        assert newest.settled_at == moment + timedelta(seconds=60)
        assert newest.due_at is None
        with pytest.raises(ConfigError, match="give it a time zone"):
            await hooks.deliveries(since=datetime(2023, 1, 1))  # noqa: DTZ001
