"""A delivery that is given up on lets the next of its key go."""

from __future__ import annotations

from typing import Any

from support import KEY, until

from relaybox_hooks import (
    Hooks,
    RetryPolicy,
    Webhook,
)
from relaybox_hooks.testing import Answer, FaultReceiver
from relaybox_hooks.testing.clock import VirtualClock


async def one_held_one_behind(hooks: Hooks, receiver: FaultReceiver) -> None:
    """Two events of one key: the first waits for its retry, the second waits behind it."""
    await hooks.emit("room:join", {"roomId": "first"}, {"connectionId": "c"})
    await hooks.emit("room:join", {"roomId": "second"}, {"connectionId": "c"})
    await receiver.wait_for(1)
    await until(lambda: not hooks.stats().targets["w1"].in_flight)


RETRY_IN_AN_HOUR = RetryPolicy(initial=3600, maximum=3600, jitter=0)


async def test_a_head_that_overflow_drops_lets_the_next_of_its_key_go() -> None:
    """At once, and not only when the dropped one's retry would have been due."""
    clock = VirtualClock()
    webhook_options: Any = {"queue_size": 2, "overflow": "drop_oldest", "retry": RETRY_IN_AN_HOUR}
    async with FaultReceiver([Answer(503)]) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w1", **webhook_options)
        async with Hooks([webhook], clock=clock) as hooks:
            await one_held_one_behind(hooks, receiver)
            await hooks.emit("room:join", {"roomId": "third"}, {"connectionId": "c"})
            await hooks.join()
            assert hooks.stats()[:6] == (3, 2, 0, 0, 1, 0)
        rooms = [request.json()["data"]["roomId"] for request in receiver.requests]
        assert rooms == ["first", "second", "third"]


async def test_a_head_that_expires_lets_the_next_of_its_key_go() -> None:
    clock = VirtualClock()
    async with FaultReceiver([Answer(503)]) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w1", max_age=60, retry=RETRY_IN_AN_HOUR)
        async with Hooks([webhook], clock=clock) as hooks:
            await hooks.emit("room:join", {"roomId": "first"}, {"connectionId": "c"})
            await receiver.wait_for(1)
            await clock.advance(30)
            await hooks.emit("room:join", {"roomId": "second"}, {"connectionId": "c"})
            await until(lambda: not hooks.stats().targets["w1"].in_flight)
            await clock.advance(30)
            await hooks.join()
            assert hooks.stats()[:6] == (2, 1, 1, 0, 0, 0)
            assert [letter.reason for letter in await hooks.dead_letters()] == ["expired"]
