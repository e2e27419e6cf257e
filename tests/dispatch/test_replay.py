"""Replay: dead letters rise again, one attempt each, past the lane and its breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from support import (
    KEY,
    ONCE,
    START,
    Mood,
    Watch,
    assert_consistent,
    dispatcher,
    emit,
    sent_at,
    soon,
    webhook_to,
)

from relaybox_hooks import (
    BreakerPolicy,
    ConfigError,
    Hooks,
    HooksClosedError,
    RetryPolicy,
    Timeouts,
    verify_webhook_signature,
)
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, ReceivedRequest
from relaybox_hooks.testing.clock import VirtualClock

pytestmark = pytest.mark.usefixtures("unavailable")


SLOWLY = RetryPolicy(initial=60, jitter=0)


async def dead(hooks: Hooks[Any], count: int) -> list[str]:
    """Emit ``count`` events that die of the receiver's mood."""
    ids = [await emit(hooks) for _ in range(count)]
    await soon(hooks.join())
    assert len(await hooks.dead_letters()) >= count
    return ids


def requests_of(receiver: FaultReceiver, ids: Iterable[str]) -> list[ReceivedRequest]:
    return [request for request in receiver.requests if request.event_id in set(ids)]


async def test_a_replayed_letter_keeps_its_id_and_is_stamped_anew(
    clock: VirtualClock, receiver: FaultReceiver, mood: Mood
) -> None:
    async with dispatcher(webhook_to(receiver, retry=ONCE), clock=clock) as hooks:
        (event_id,) = await dead(hooks, 1)
        await clock.advance(3600)
        mood.fault = Answer()
        assert await soon(hooks.replay()) == (1, 0, 0)
        assert await hooks.dead_letters() == []
        row = hooks.stats().targets["root"]
        assert (row.accepted, row.delivered, row.failed, row.replayed) == (1, 0, 1, 1)
        assert_consistent(hooks.stats())
    first, second = requests_of(receiver, [event_id])
    assert (sent_at(first)[11:19], sent_at(second)[11:19]) == ("22:13:20", "23:13:20")
    signature = second.headers["X-Relaybox-Webhook-Signature"]
    assert verify_webhook_signature(second.body, signature, KEY)


async def test_a_webhook_registered_again_signs_with_its_new_key(
    receiver: FaultReceiver, mood: Mood
) -> None:
    """The letter died under the old registration; no count goes below zero for that."""
    async with dispatcher(webhook_to(receiver, retry=ONCE)) as hooks:
        await dead(hooks, 1)
        hooks.remove_webhook("root")
        assert await soon(hooks.replay()) == (0, 0, 1)
        mood.fault = Answer()
        hooks.add_webhook(webhook_to(receiver, "/new", id="root", signing_key="another key"))
        assert await soon(hooks.replay()) == (1, 0, 0)
        assert_consistent(hooks.stats())
        stats = hooks.stats()
        assert (stats.delivered, stats.failed, stats.replayed) == (0, 1, 1)
    last = receiver.requests[-1]
    assert last.path == "/new"
    signature = last.headers["X-Relaybox-Webhook-Signature"]
    assert verify_webhook_signature(last.body, signature, "another key")
    assert not verify_webhook_signature(last.body, signature, KEY)


async def test_an_endpoint_that_is_gone_at_a_replay_is_disabled(
    receiver: FaultReceiver, mood: Mood
) -> None:
    """The letters behind the first are not sent to it."""
    async with dispatcher(webhook_to(receiver, retry=ONCE)) as hooks:
        await dead(hooks, 3)
        mood.fault = Answer(410)
        assert await soon(hooks.replay()) == (0, 1, 2)
        assert [webhook.enabled for webhook in hooks.webhooks] == [False]
        assert len(await hooks.dead_letters()) == 3
        assert_consistent(hooks.stats())


async def test_a_letter_of_a_full_lane_outlives_its_registration_too(
    receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Hang()
    webhook = webhook_to(receiver, queue_size=1, overflow="drop_newest")
    async with dispatcher(webhook) as hooks:
        for _ in range(2):
            await emit(hooks)
        await soon(receiver.wait_for(1))
        hooks.remove_webhook("root")
        hooks.add_webhook(webhook)
        mood.fault = Answer()
        assert await soon(hooks.replay(reason="overflow")) == (1, 0, 0)
        assert_consistent(hooks.stats())
        stats = hooks.stats()
        assert (stats.delivered, stats.dropped, stats.replayed) == (0, 1, 1)


@pytest.mark.parametrize(
    "criteria",
    [
        lambda ids: {"event_id": ids[1]},
        lambda ids: {"webhook_id": "b", "event_id": ids[1]},
        lambda ids: {
            "since": START + timedelta(seconds=10),
            "until": START + timedelta(seconds=20),
        },
        lambda ids: {"event": "room:leave"},
        lambda ids: {"reason": "rejected"},
    ],
    ids=["id", "webhook", "time", "event", "reason"],
)
async def test_only_what_was_chosen_is_replayed(
    clock: VirtualClock,
    receiver: FaultReceiver,
    mood: Mood,
    criteria: Callable[[list[str]], dict[str, Any]],
) -> None:
    async with dispatcher(webhook_to(receiver, "/b", retry=ONCE), clock=clock) as hooks:
        ids = await dead(hooks, 1)
        await clock.advance(10)
        mood.fault = Answer(404)
        ids.append((await hooks.emit("room:leave", {"roomId": "x"})).event_id)
        await soon(hooks.join())
        await clock.advance(10)
        mood.fault = Answer(503)
        ids += await dead(hooks, 1)
        mood.fault = Answer()
        assert await soon(hooks.replay(**criteria(ids))) == (1, 0, 0)
        assert [letter.event_id for letter in await hooks.dead_letters()] == [ids[0], ids[2]]


async def test_replay_keeps_to_its_rate(
    clock: VirtualClock, receiver: FaultReceiver, mood: Mood
) -> None:
    """Ten a second: one each tenth of a second, the first at once, none after the last."""
    async with dispatcher(webhook_to(receiver, retry=ONCE), clock=clock) as hooks:
        await dead(hooks, 3)
        mood.fault = Answer()
        replay = asyncio.create_task(hooks.replay(rate=10))
        for number in (1, 2, 3):
            await soon(receiver.wait_for(3 + number))
            await clock.advance(0.099)
            assert len(receiver.requests) == 3 + number
            await clock.advance(0.001)
        assert await soon(replay) == (3, 0, 0)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), None, "fast"])
async def test_a_rate_that_cannot_work_is_refused(rate: Any) -> None:
    async with dispatcher() as hooks:
        with pytest.raises(ConfigError, match="rate"):
            await hooks.replay(rate=rate)


async def test_replay_passes_by_lane_and_breaker(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver, mood: Mood
) -> None:
    """The breaker is open and the lane full: letters go out, and neither changes for it."""
    webhook = webhook_to(
        receiver,
        retry=SLOWLY,
        breaker=BreakerPolicy(failures=1, cooldown=600, maximum=600),
        queue_size=1,
        overflow="drop_newest",
    )
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        await emit(hooks)
        await watch.attempted_times(1)
        await emit(hooks)  # no room for this one
        before = hooks.stats().targets["root"]
        assert (before.breaker, before.pending, before.dropped) == ("open", 1, 1)
        assert await soon(hooks.replay()) == (0, 1, 0)
        assert hooks.stats().targets["root"] == before
        mood.fault = Answer()
        assert await soon(hooks.replay()) == (1, 0, 0)
        after = hooks.stats().targets["root"]
        assert after == before._replace(replayed=1)
        assert_consistent(hooks.stats())
    assert [each.replayed for each in watch.attempts] == [False, True, True]
    assert watch.states == [("closed", "open")]


async def test_observers_are_told_of_each_attempt_at_a_letter(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver, mood: Mood
) -> None:
    """Numbered on, by the age of the event, and by their real outcome; none is due after it."""
    async with dispatcher(
        webhook_to(receiver, retry=ONCE), clock=clock, observers=[watch]
    ) as hooks:
        (event_id,) = await dead(hooks, 1)
        await clock.advance(60)
        assert await soon(hooks.replay()) == (0, 1, 0)
        mood.fault = Answer()
        assert await soon(hooks.replay()) == (1, 0, 0)
    told = [
        (each.event_id, each.replayed, each.number, each.age, each.outcome.status, each.next_in)
        for each in watch.attempts
    ]
    assert told == [
        (event_id, False, 1, 0.0, 503, None),
        (event_id, True, 2, 60.0, 503, None),
        (event_id, True, 3, 60.0, 200, None),
    ]
    assert watch.all("delivered") == watch.attempts[-1:]
    assert len(watch.letters) == 1


async def test_a_letter_that_fails_again_stays_with_what_happened(
    clock: VirtualClock, receiver: FaultReceiver, mood: Mood
) -> None:
    async with dispatcher(webhook_to(receiver, retry=ONCE), clock=clock) as hooks:
        (event_id,) = await dead(hooks, 1)
        await clock.advance(5)
        mood.fault = Answer(401)
        before = hooks.stats()
        assert await soon(hooks.replay()) == (0, 1, 0)
        (letter,) = await hooks.dead_letters()
        assert hooks.stats() == before
    assert (letter.event_id, letter.reason) == (event_id, "exhausted")
    assert (letter.status, letter.attempts) == (401, 2)
    assert letter.died_at == START + timedelta(seconds=5)


async def test_a_replay_that_hangs_ends_by_the_webhook_s_time_out(
    clock: VirtualClock, receiver: FaultReceiver, mood: Mood
) -> None:
    webhook = webhook_to(receiver, retry=ONCE, timeouts=Timeouts(total=7))
    async with dispatcher(webhook, clock=clock) as hooks:
        await dead(hooks, 1)
        mood.fault = Hang()
        replay = asyncio.create_task(hooks.replay())
        await soon(receiver.wait_for(2))
        await clock.advance(6.9)
        assert not replay.done()
        await clock.advance(0.1)
        assert await soon(replay) == (0, 1, 0)
        assert [letter.error for letter in await hooks.dead_letters()] == ["TimeoutError"]


async def test_letters_of_disabled_and_unknown_webhooks_are_skipped(
    receiver: FaultReceiver,
) -> None:
    webhooks = [webhook_to(receiver, path, retry=ONCE) for path in ("/off", "/gone", "/on")]
    async with dispatcher(*webhooks) as hooks:
        await emit(hooks)
        await soon(hooks.join())
        hooks.disable_webhook("off")
        hooks.remove_webhook("gone")
        assert await soon(hooks.replay()) == (0, 1, 2)
        assert {letter.webhook_id for letter in await hooks.dead_letters()} == {"off", "gone", "on"}
        hooks.enable_webhook("off")
        assert await soon(hooks.replay(webhook_id="off")) == (0, 1, 0)


@pytest.mark.parametrize("how", ["disable_webhook", "remove_webhook", "aclose"])
async def test_a_webhook_that_goes_while_a_replay_waits_is_left_alone(
    clock: VirtualClock, receiver: FaultReceiver, mood: Mood, how: str
) -> None:
    async with dispatcher(webhook_to(receiver, retry=ONCE), clock=clock) as hooks:
        await dead(hooks, 3)
        mood.fault = Answer()
        replay = asyncio.create_task(hooks.replay(rate=1))
        await soon(receiver.wait_until(lambda: len(receiver.accepted) == 1))
        await clock.advance(0.5)
        if how == "aclose":
            await soon(hooks.aclose())
        else:
            getattr(hooks, how)("root")
        await clock.advance(10)
        assert await soon(replay) == (1, 0, 2)
        assert len(await hooks.dead_letters()) == 2
        assert_consistent(hooks.stats())
    assert len(receiver.requests) == 4


async def test_replays_side_by_side_send_each_letter_once(
    receiver: FaultReceiver, mood: Mood
) -> None:
    async with dispatcher(webhook_to(receiver, retry=ONCE)) as hooks:
        ids = await dead(hooks, 6)
        mood.fault = Answer()
        reports = await soon(asyncio.gather(*(hooks.replay(rate=1e6) for _ in range(4))))
        assert sum(report.delivered for report in reports) == 6
        assert await hooks.dead_letters() == []
        stats = hooks.stats()
        assert (stats.delivered, stats.failed, stats.replayed) == (0, 6, 6)
        assert_consistent(hooks.stats())
    assert sorted(each.event_id or "" for each in receiver.accepted) == sorted(ids)


async def test_a_cancelled_replay_leaves_the_letter_for_the_next(
    receiver: FaultReceiver, mood: Mood, watch: Watch
) -> None:
    async with dispatcher(webhook_to(receiver, retry=ONCE), observers=[watch]) as hooks:
        await dead(hooks, 1)
        mood.fault = Hang()
        replay = asyncio.create_task(hooks.replay())
        await soon(receiver.wait_for(2))
        replay.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replay
        assert watch.attempts[-1].outcome.error == "CancelledError"
        mood.fault = Answer()
        assert await soon(hooks.replay()) == (1, 0, 0)


async def test_a_letter_evicted_while_it_is_replayed_is_delivered_all_the_same(
    receiver: FaultReceiver, mood: Mood
) -> None:
    async with dispatcher(webhook_to(receiver, retry=ONCE), dead_letter_limit=1) as hooks:
        await dead(hooks, 1)
        receiver.hold()
        replay = asyncio.create_task(hooks.replay())
        await soon(receiver.wait_for(2))
        await emit(hooks)
        await soon(receiver.wait_for(3))
        receiver.release()
        await soon(hooks.join())
        await soon(replay)
        assert len(await hooks.dead_letters()) == 1
        assert_consistent(hooks.stats())


async def test_there_is_no_replay_before_start_and_after_closing() -> None:
    hooks: Hooks = Hooks()
    with pytest.raises(HooksClosedError) as caught:
        await hooks.replay()
    assert caught.value.state == "new"
    await hooks.start()
    assert await hooks.replay() == (0, 0, 0)
    await hooks.aclose()
    with pytest.raises(HooksClosedError) as caught:
        await hooks.replay()
    assert caught.value.state == "closed"
