"""The receiver reads requests however they come, and its accounts of them hold."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
from support.raw_http import Post
from yarl import URL

from relaybox_hooks import testing
from relaybox_hooks.testing import Acceptance, Answer, FaultReceiver


def test_the_public_names_are_sorted_and_there() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)


async def test_it_listens_where_it_is_told_to() -> None:
    async with FaultReceiver(host="::1") as receiver, aiohttp.ClientSession() as session:
        assert URL(receiver.url).host == "::1"
        async with session.get(receiver.url) as response:
            assert response.status == 200


async def test_accounts_of_retried_events_add_up(post: Post) -> None:
    """Each event is sent until the client sees a 2xx, many at a time, through every fault."""
    delivered: list[str] = []

    async def deliver(event: str) -> None:
        while True:
            try:
                status, _ = await post(receiver.url, event)
            except aiohttp.ClientError:
                continue
            if status == 200:
                delivered.append(event)
                return

    async with FaultReceiver(seed=7) as receiver:
        events = [f"e{number}" for number in range(100)]
        await asyncio.gather(*map(deliver, events))
        first = {acceptance.event_id for acceptance in receiver.first_successes()}
        assert sorted(delivered) == sorted(events)
        assert receiver.successes() == Counter(Acceptance("/", "wh", event) for event in delivered)
        assert first == set(events)
        answered = [r for r in receiver.requests if r.answered_status == 200]
        assert len(receiver.accepted) == len(answered) == 100
        assert receiver.attempts > len(receiver.requests) > 100


async def test_first_successes_are_in_order_and_without_repeats(post: Post) -> None:
    async with FaultReceiver([Answer(), Answer(500), Answer(), Answer(), Answer(299)]) as receiver:
        for event in ("a", "b", "a", "c", "b"):
            await post(receiver.url, event)
        first = [acceptance.event_id for acceptance in receiver.first_successes()]
        assert first == ["a", "c", "b"]
        assert receiver.successes()[Acceptance("/", "wh", "a")] == 2
