"""What a full lane does with one more event, and what becomes of those that grow old in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support import KEY, ROOM, turns, until

from relaybox_hooks import Hooks, LaneFullError, Observer, Receipt, RetryPolicy, Timeouts, Webhook
from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.testing import Answer, FaultReceiver, Hold, Script
from relaybox_hooks.testing.clock import VirtualClock

#: Long enough for a retry never to come due by itself, and for no time-out to strike.
LONG = 1000.0


class Receipts(Observer):
    """Keeps what ``emit`` returned, also where its caller was cancelled."""

    def __init__(self) -> None:
        self.seen: list[Receipt] = []

    def emitted(self, name: str, receipt: Receipt) -> None:
        self.seen.append(receipt)


def webhook(receiver: FaultReceiver, id: str = "slow", **policies: Any) -> Webhook:
    policies = {"queue_size": 2, "concurrency": 1, **policies}
    return Webhook(receiver.url_for(f"/{id}"), ["room:join"], KEY, id=id, **policies)


@asynccontextmanager
async def opened(
    script: Script | None = None, *policies: dict[str, Any], **options: Any
) -> AsyncIterator[tuple[Hooks, FaultReceiver]]:
    """Hooks with one webhook for each of ``policies`` (or one), at a receiver with ``script``."""
    defaults: dict[str, Any] = {
        "breaker": None,
        "timeouts": Timeouts(total=LONG),
        "retry": RetryPolicy(initial=LONG, maximum=LONG, jitter=0),
        "close_timeout": 0,
        "logging": False,
    }
    async with asyncio.timeout(20), FaultReceiver(script) as receiver:
        webhooks = [webhook(receiver, **each) for each in policies or ({},)]
        async with Hooks(webhooks, **(defaults | options)) as hooks:
            yield hooks, receiver


async def let_go(hooks: Hooks, receiver: FaultReceiver) -> None:
    """Release every request that the receiver holds, until all is settled."""
    joined = asyncio.create_task(hooks.join())
    while not joined.done():
        receiver.release()
        await asyncio.sleep(0)


async def emit(hooks: Hooks, client: str | None = None) -> str:
    return (await hooks.emit("room:join", ROOM, {"clientId": client})).event_id


def emitting(hooks: Hooks, client: str | None = None) -> asyncio.Task[str]:
    return asyncio.create_task(emit(hooks, client))


def arrived(receiver: FaultReceiver, id: str = "slow") -> list[str | None]:
    return [request.event_id for request in receiver.requests if request.webhook_id == id]


async def died(hooks: Hooks, reason: Reason, id: str = "slow") -> list[str]:
    return [letter.event_id for letter in await hooks.dead_letters(reason=reason, webhook_id=id)]


# "wait"


async def test_wait_holds_back_who_emits_until_there_is_room() -> None:
    async with opened(Hold()) as (hooks, receiver):
        first, second = await emit(hooks), await emit(hooks)
        third = emitting(hooks)
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        await turns()
        assert not third.done()
        assert hooks.stats().targets["slow"].pending == 2
        receiver.release()
        assert await third
        await let_go(hooks, receiver)
        assert arrived(receiver) == [first, second, third.result()]


async def test_wait_serves_who_waits_first_first() -> None:
    async with opened(Hold(), {"queue_size": 1}) as (hooks, receiver):
        await emit(hooks)
        waiting = [emitting(hooks) for _ in range(5)]
        await turns()
        for freed in range(5):
            await receiver.wait_until(lambda: len(receiver.held) == 1)
            assert [task.done() for task in waiting] == [True] * freed + [False] * (5 - freed)
            with pytest.raises(LaneFullError):  # nobody who comes later finds the room first
                hooks.emit_nowait("room:join", ROOM)
            receiver.release()
            await waiting[freed]
        await receiver.wait_for(6)
        assert arrived(receiver)[1:] == [task.result() for task in waiting]


async def test_a_cancelled_wait_is_counted_and_harms_no_other_lane() -> None:
    """The full lane never takes the event, the other keeps it."""
    observer = Receipts()
    async with opened(
        Hold(), {"queue_size": 1}, {"id": "roomy", "queue_size": 9}, observers=[observer]
    ) as (hooks, receiver):
        await emit(hooks)
        waiting = emitting(hooks)
        await turns()
        before = hooks.stats().targets["slow"]
        assert (before.accepted, before.pending) == (1, 1)  # who waits is on no book yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        cancelled = observer.seen[-1]
        assert (cancelled.accepted, cancelled.dropped) == (1, 1)
        assert await died(hooks, "overflow") == [cancelled.event_id]
        slow = hooks.stats().targets["slow"]
        assert (slow.accepted, slow.dropped, slow.failed, slow.pending) == (2, 1, 0, 1)
        await let_go(hooks, receiver)
        assert cancelled.event_id not in arrived(receiver)
        assert cancelled.event_id in arrived(receiver, "roomy")


async def test_the_place_of_a_cancelled_wait_goes_to_the_next() -> None:
    async with opened(Hold(), {"queue_size": 1}) as (hooks, receiver):
        await emit(hooks)
        leaving, staying = emitting(hooks), emitting(hooks)
        await turns()
        leaving.cancel()
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        receiver.release()
        assert await staying
        assert leaving.cancelled()


async def test_a_wait_ends_when_its_webhook_is_removed_and_the_totals_know() -> None:
    """The counts move to the totals when a lane goes; the waiting event must be among them."""
    async with opened(Hold(), {"queue_size": 1}) as (hooks, _):
        await emit(hooks)
        waiting = emitting(hooks)
        await turns()
        hooks.disable_webhook("slow")  # the one in flight has this attempt left
        lost = await waiting
        assert await died(hooks, "disabled") == [lost]
        hooks.enable_webhook("slow")
        waiting = emitting(hooks)
        await turns()
        hooks.remove_webhook("slow")
        assert [letter.reason for letter in await hooks.dead_letters()] == ["disabled", "removed"]
        await waiting
        stats = hooks.stats()
        assert (stats.accepted, stats.failed, stats.pending) == (3, 2, 1)


async def test_the_last_waiting_event_is_counted_though_its_lane_is_gone() -> None:
    """A lane that is idle once its waiters are dismissed is folded into the totals at once."""
    async with opened(Answer(503), {"queue_size": 1}) as (hooks, receiver):
        await emit(hooks)
        await receiver.wait_for(1)
        await until(lambda: not hooks.stats().targets["slow"].in_flight)
        waiting = emitting(hooks)
        await turns()
        hooks.remove_webhook("slow")
        await waiting
        stats = hooks.stats()
        assert (stats.accepted, stats.failed, stats.pending) == (2, 2, 0)
        assert len(await died(hooks, "removed")) == 2


async def test_emit_timeout_bounds_the_wait() -> None:
    clock = VirtualClock()
    async with opened(Hold(), {"queue_size": 1}, emit_timeout=3, clock=clock) as (hooks, receiver):
        await emit(hooks)
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        waiting = asyncio.create_task(hooks.emit("room:join", ROOM))
        await clock.advance(2.9)
        assert not waiting.done()
        await clock.advance(0.1)
        receipt = await waiting
        assert (receipt.accepted, receipt.dropped) == (0, 1)
        assert await died(hooks, "overflow") == [receipt.event_id]
        receiver.release()
        await hooks.join()
        assert receipt.event_id not in arrived(receiver)


# "drop_oldest", "drop_newest", "raise"


async def test_drop_oldest_never_drops_what_is_in_flight() -> None:
    async with opened(Hold(), {"overflow": "drop_oldest", "queue_size": 3}) as (hooks, receiver):
        flying = await emit(hooks)
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        others = [await emit(hooks) for _ in range(5)]
        assert await died(hooks, "overflow") == others[:3]
        await let_go(hooks, receiver)
        assert arrived(receiver) == [flying, *others[3:]]
        assert hooks.stats().dropped == 3


async def test_drop_oldest_drops_the_newest_where_all_are_in_flight() -> None:
    policy = {"overflow": "drop_oldest", "queue_size": 2, "concurrency": 2}
    async with opened(Hold(), policy) as (hooks, receiver):
        await emit(hooks)
        await emit(hooks)
        await receiver.wait_until(lambda: len(receiver.held) == 2)
        receipt = await hooks.emit("room:join", ROOM)
        assert (receipt.accepted, receipt.dropped) == (0, 1)
        assert await died(hooks, "overflow") == [receipt.event_id]


async def test_drop_oldest_drops_what_waits_for_a_retry_and_its_key_goes_on() -> None:
    """The next of the dropped one's key leaves at once, not when the retry would have been."""
    script = [Answer(503), Answer()]
    async with opened(script, {"overflow": "drop_oldest"}) as (hooks, receiver):
        retrying = await emit(hooks, "c")
        await receiver.wait_for(1)
        await until(lambda: not hooks.stats().targets["slow"].in_flight)
        second, third = await emit(hooks, "c"), await emit(hooks, "c")
        assert await died(hooks, "overflow") == [retrying]
        await hooks.join()
        assert arrived(receiver) == [retrying, second, third]
        [letter] = await hooks.dead_letters()
        assert (letter.status, letter.attempts) == (503, 1)


async def test_drop_newest_keeps_what_it_has() -> None:
    async with opened(Hold(), {"overflow": "drop_newest"}) as (hooks, receiver):
        kept = [await emit(hooks), await emit(hooks)]
        receipt = await hooks.emit("room:join", ROOM)
        assert (receipt.accepted, receipt.dropped) == (0, 1)
        assert await died(hooks, "overflow") == [receipt.event_id]
        await let_go(hooks, receiver)
        assert arrived(receiver) == kept


async def test_raise_gives_the_event_to_nobody() -> None:
    told: list[object] = []
    async with opened(
        Hold(),
        {"id": "before", "queue_size": 9},
        {"id": "dropping", "queue_size": 1, "overflow": "drop_oldest"},
        {"overflow": "raise", "queue_size": 1},
        {"id": "after", "queue_size": 9},
    ) as (hooks, receiver):
        hooks.add_subscriber("room:join", told.append)
        await emit(hooks)
        await receiver.wait_until(lambda: len(receiver.held) == 4)
        before = hooks.stats()
        with pytest.raises(LaneFullError) as caught:
            await hooks.emit("room:join", ROOM)
        assert (caught.value.target, caught.value.limit) == ("slow", 1)
        assert hooks.stats() == before
        assert not await hooks.dead_letters()
        assert len(told) == 1


@pytest.mark.parametrize("method", ["emit", "emit_nowait"])
async def test_a_webhooks_own_policy_beats_the_default(method: str) -> None:
    async with opened(
        Hold(),
        {"id": "own", "overflow": "drop_newest", "queue_size": 1},
        {"id": "default", "queue_size": 1},
        overflow="drop_oldest",
    ) as (hooks, receiver):
        flying = await emit(hooks)
        await receiver.wait_until(lambda: len(receiver.held) == 2)
        for _ in range(2):
            result = getattr(hooks, method)("room:join", ROOM)
            await result if method == "emit" else None
        assert flying not in await died(hooks, "overflow", "own")
        assert len(await died(hooks, "overflow", "own")) == 2
        assert len(await died(hooks, "overflow", "default")) == 2  # in flight: the newest went


async def test_emit_nowait_raises_where_emit_would_wait() -> None:
    async with opened(Hold(), {"queue_size": 1}, {"id": "roomy"}) as (hooks, _):
        hooks.emit_nowait("room:join", ROOM)
        with pytest.raises(LaneFullError, match="emit_nowait does not wait"):
            hooks.emit_nowait("room:join", ROOM)
        assert hooks.stats().targets["roomy"].accepted == 1


# max_age


async def test_what_waits_behind_another_grows_too_old() -> None:
    """Neither the one in flight nor a younger one is given up on."""
    clock = VirtualClock()
    async with opened(Hold(), max_age=10, clock=clock) as (hooks, receiver):
        flying = await emit(hooks, "c")
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        old = await emit(hooks, "c")
        await clock.advance(9.9)
        assert hooks.stats().pending == 2
        await clock.advance(0.1)
        assert await died(hooks, "expired") == [old]
        young = await emit(hooks, "c")
        await let_go(hooks, receiver)
        assert arrived(receiver) == [flying, young]
        assert hooks.stats().targets["slow"].failed == 1


async def test_what_waits_for_a_worker_grows_too_old() -> None:
    clock = VirtualClock()
    async with opened(Hold(), {"queue_size": 5}, max_age=10, clock=clock) as (hooks, receiver):
        flying = await emit(hooks, "c")
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        old = [await emit(hooks, "d"), await emit(hooks)]
        await clock.advance(10)
        assert await died(hooks, "expired") == old
        await let_go(hooks, receiver)
        assert arrived(receiver) == [flying]


async def test_what_waits_for_a_retry_grows_too_old_and_lets_its_key_go_on() -> None:
    clock = VirtualClock()
    async with opened([Answer(503)], max_age=10, clock=clock) as (hooks, receiver):
        old = await emit(hooks, "c")
        await receiver.wait_for(1)
        await until(lambda: not hooks.stats().targets["slow"].in_flight)
        await clock.advance(5)
        following = await emit(hooks, "c")
        await clock.advance(5)
        assert await died(hooks, "expired") == [old]
        assert (await hooks.dead_letters())[0].status == 503
        await hooks.join()  # the retry would have been due 990 seconds from now
        assert arrived(receiver) == [old, following]


async def test_an_event_that_grew_old_waiting_for_room_is_not_sent() -> None:
    clock = VirtualClock()
    async with opened(Hold(), {"queue_size": 1}, max_age=10, clock=clock) as (hooks, receiver):
        flying = await emit(hooks)
        waiting = emitting(hooks)
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        await clock.advance(11)
        await let_go(hooks, receiver)
        assert arrived(receiver) == [flying]
        assert await died(hooks, "expired") == [await waiting]


async def test_a_webhooks_own_age_limit_beats_the_default() -> None:
    clock = VirtualClock()
    async with opened(Hold(), {"max_age": 5}, {"id": "patient"}, max_age=50, clock=clock) as (
        hooks,
        receiver,
    ):
        await emit(hooks, "c")
        await receiver.wait_until(lambda: len(receiver.held) == 2)
        old = await emit(hooks, "c")
        await clock.advance(5)
        assert await died(hooks, "expired") == [old]
        assert await died(hooks, "expired", "patient") == []
        await clock.advance(45)
        assert await died(hooks, "expired", "patient") == [old]
