"""Dead letters: why deliveries die, what is kept of them, and how they rise again."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from support import ONCE, START, Mood, Watch, assert_consistent, dispatcher, emit, soon, webhook_to

from relaybox_hooks import (
    ConfigError,
    RetryPolicy,
)
from relaybox_hooks.dead_letters import MemoryDeadLetters
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import Answer, FaultReceiver, Hang
from relaybox_hooks.testing.clock import VirtualClock

pytestmark = pytest.mark.usefixtures("unavailable")


SLOWLY = RetryPolicy(initial=60, jitter=0)


# Why they die


async def test_exhausted_after_the_last_attempt(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver
) -> None:
    webhook = webhook_to(receiver, retry=RetryPolicy(attempts=3, initial=1, jitter=0))
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        event_id = await emit(hooks, connectionId="c")
        for made in (1, 2, 3):
            await watch.attempted_times(made)
            await clock.advance(made)
        (letter,) = await hooks.dead_letters()
    assert (letter.reason, letter.status, letter.error) == ("exhausted", 503, None)
    assert (letter.attempts, letter.webhook_id) == (3, "root")
    assert (letter.emitted_at, letter.died_at) == (START, START + timedelta(seconds=3))
    assert (letter.event_id, letter.event_name) == (event_id, "room:join")
    assert letter.event.data == {"roomId": "chat:one"}
    assert letter.event.session.connection_id == "c"


async def test_rejected_by_a_final_answer(receiver: FaultReceiver, mood: Mood) -> None:
    mood.fault = Answer(422)
    async with dispatcher(webhook_to(receiver)) as hooks:
        await emit(hooks)
        await soon(hooks.join())
        (letter,) = await hooks.dead_letters()
    assert (letter.reason, letter.status, letter.attempts) == ("rejected", 422, 1)


@pytest.mark.parametrize(("overflow", "victim"), [("drop_newest", 2), ("drop_oldest", 1)])
async def test_overflow_where_the_lane_is_full(
    receiver: FaultReceiver, mood: Mood, overflow: str, victim: int
) -> None:
    mood.fault = Hang()
    webhook = webhook_to(receiver, queue_size=2, overflow=overflow)
    async with dispatcher(webhook) as hooks:
        ids = [await emit(hooks, connectionId="same")]
        await soon(receiver.wait_for(1))
        ids += [await emit(hooks, connectionId="same") for _ in range(2)]
        (letter,) = await hooks.dead_letters()
        assert_consistent(hooks.stats())
        assert hooks.stats().dropped == 1
    assert (letter.reason, letter.outcome, letter.attempts) == ("overflow", None, 0)
    assert letter.event_id == ids[victim]


async def test_expired_between_two_attempts(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver
) -> None:
    webhook = webhook_to(receiver, retry=SLOWLY, max_age=10)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        await emit(hooks)
        await watch.attempted_times(1)
        await clock.advance(9)
        assert await hooks.dead_letters() == []
        await clock.advance(1)
        (letter,) = await hooks.dead_letters()
    assert (letter.reason, letter.status, letter.attempts) == ("expired", 503, 1)
    assert letter.died_at == START + timedelta(seconds=10)


@pytest.mark.parametrize(
    ("how", "reason"), [("disable_webhook", "disabled"), ("remove_webhook", "removed")]
)
async def test_ended_with_the_webhook(
    clock: VirtualClock,
    watch: Watch,
    receiver: FaultReceiver,
    mood: Mood,
    how: str,
    reason: str,
) -> None:
    """What waits dies at once; what is in flight has its one attempt, and dies of a failure."""
    webhook = webhook_to(receiver, retry=SLOWLY)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        waiting = await emit(hooks)
        await watch.attempted_times(1)
        receiver.hold()
        in_flight = await emit(hooks)
        await soon(receiver.wait_for(2))
        mood.fault = Answer()
        delivered = await emit(hooks)
        await soon(receiver.wait_for(3))
        getattr(hooks, how)("root")
        (letter,) = await hooks.dead_letters()
        assert (letter.event_id, letter.reason, letter.status) == (waiting, reason, 503)
        assert hooks.stats().pending == 2
        assert_consistent(hooks.stats())
        receiver.release()
        await soon(hooks.join())
        found = {each.event_id: (each.reason, each.attempts) for each in await hooks.dead_letters()}
        assert found == {waiting: (reason, 1), in_flight: (reason, 1)}
        assert [attempt.event_id for attempt in watch.all("delivered")] == [delivered]
        assert_consistent(hooks.stats())


async def test_shutdown_with_what_the_last_attempt_came_to(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver, mood: Mood
) -> None:
    """One between two attempts, one in flight, one never sent: the letters tell them apart."""
    webhook = webhook_to(receiver, retry=SLOWLY, concurrency=1)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        failed = await emit(hooks)
        await watch.attempted_times(1)
        mood.fault = Hang()
        cut_short = await emit(hooks)
        await soon(receiver.wait_for(2))
        never_sent = await emit(hooks)
        await hooks.aclose(timeout=0)
        found = {
            letter.event_id: (letter.status, letter.error, letter.attempts)
            for letter in await hooks.dead_letters(reason="shutdown")
        }
        assert_consistent(hooks.stats())
    assert found == {
        failed: (503, None, 1),
        cut_short: (None, "CancelledError", 1),
        never_sent: (None, None, 0),
    }


# What is kept


@pytest.mark.parametrize(("limit", "kept"), [(3, 3), (0, 0), (10, 5)])
async def test_memory_is_bounded_and_what_it_costs_is_counted(
    receiver: FaultReceiver, mood: Mood, limit: int, kept: int
) -> None:
    """The oldest goes first. The observers are told of all of them, and so are the counts."""
    mood.fault, watch = Answer(404), Watch()
    webhook = webhook_to(receiver, concurrency=1)
    async with dispatcher(webhook, dead_letter_limit=limit, observers=[watch]) as hooks:
        ids = [await emit(hooks) for _ in range(5)]
        await soon(hooks.join())
        assert [letter.event_id for letter in await hooks.dead_letters()] == ids[5 - kept :]
        store = parts_of(hooks).accounting.dead_letters
        assert isinstance(store, MemoryDeadLetters)
        assert store.evicted == 5 - kept
        assert hooks.stats().failed == len(watch.letters) == 5


async def test_letters_are_found_by_all_that_is_known_of_them(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver, mood: Mood
) -> None:
    webhooks = [webhook_to(receiver, path, retry=ONCE) for path in ("/a", "/b")]
    async with dispatcher(*webhooks, clock=clock, observers=[watch]) as hooks:
        first = await emit(hooks)
        await soon(hooks.join())
        await clock.advance(60)
        mood.fault = Answer(404)
        second = (await hooks.emit("room:leave", {"roomId": "x"})).event_id
        await soon(hooks.join())

        async def ids(**criteria: Any) -> list[str]:
            return [letter.event_id for letter in await hooks.dead_letters(**criteria)]

        later = START + timedelta(seconds=60)
        assert await ids() == [first, first, second, second]
        assert await ids(event_id=second) == [second] * 2
        assert await ids(event="room:join") == [first] * 2
        assert await ids(reason="rejected") == [second] * 2
        assert await ids(webhook_id="a") == [first, second]
        assert await ids(since=later) == [second] * 2, "since includes the moment itself"
        assert await ids(until=later) == [first] * 2, "until does not"
        assert await ids(since=START, until=later, webhook_id="b", reason="exhausted") == [first]
        assert await ids(event_id=first, reason="rejected") == []


def test_a_letter_prints_what_happened_and_hides_the_payload() -> None:
    async def die() -> Any:
        async with (
            FaultReceiver(Answer(503)) as receiver,
            dispatcher(webhook_to(receiver, retry=ONCE)) as hooks,
        ):
            await emit(hooks, room="t0psecret")
            await soon(hooks.join())
            return (await hooks.dead_letters())[0]

    letter = asyncio.run(die())
    assert str(letter).endswith("to root: exhausted (status 503, attempt 1)")
    assert "t0psecret" not in str(letter) + repr(letter)


@pytest.mark.parametrize("option", ["since", "until"])
async def test_a_moment_without_a_time_zone_is_refused(option: str) -> None:
    async with dispatcher() as hooks:
        with pytest.raises(ConfigError, match=rf"{option}=.*give it a time zone"):
            await hooks.dead_letters(**{option: datetime(2023, 11, 14)})  # type: ignore[arg-type]  # noqa: DTZ001
