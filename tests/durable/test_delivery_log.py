"""The log of deliveries: searched by what is known of them, and read on page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import Mood, Opened, emit, soon, webhook_to

from relaybox_hooks import ConfigError
from relaybox_hooks.testing import Answer, FaultReceiver, VirtualClock

pytestmark = pytest.mark.usefixtures("unavailable")


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
