"""Deliveries of the same key arrive in the order of their emits, whatever goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import KEY, turns

from relaybox_hooks import (
    BreakerPolicy,
    Event,
    Hooks,
    RetryPolicy,
    Timeouts,
    Webhook,
)
from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    Drip,
    EndlessHeaders,
    Fault,
    FaultReceiver,
    FaultScript,
    Garbage,
    Hang,
    Hold,
    Late,
    ReceivedRequest,
    ResetAfterRead,
    ResetBeforeRead,
)
from relaybox_hooks.testing.clock import VirtualClock

#: What another attempt may cure, and what it may not.
PASSING: Final[tuple[Fault, ...]] = (
    Answer(503),
    Answer(429, {"Retry-After": "0"}),
    ResetBeforeRead(),
    ResetAfterRead(),
    CloseMidResponse(Answer(502, body=b"cut short"), after_bytes=3),
    Garbage(),
    Drip(Answer(), 0),
    Late(Answer(), 0.001),
    EndlessHeaders(),
    Hang(),
)
FINAL: Final[tuple[Fault, ...]] = (Answer(400), Answer(302, {"Location": "/"}))


def by_name_of_room(event: Event[Any]) -> str | None:
    """A user's own function: rooms "even" and "odd" keep order, others do not."""
    number = int(event.data["roomId"])
    return ("even", "odd")[number % 2] if number < 4 else None


def webhook(receiver: FaultReceiver, **policies: Any) -> Webhook:
    return Webhook(receiver.url, ["room:join"], KEY, id="w", **policies)


async def emit(hooks: Hooks, connection: str | None, room: str = "r") -> str:
    session = {"connectionId": connection}
    return (await hooks.emit("room:join", {"roomId": room}, session)).event_id


async def deliver(
    seed: int, weights: Mapping[Fault, float], **options: Any
) -> tuple[FaultReceiver, dict[str, tuple[int, int]], Hooks]:
    """Emit 40 events of 5 connections in 6 rooms, and wait until all are settled.

    Returns:
        The receiver; the connection and room of each event, by its id, in the order of their
        emits; and the closed hooks.
    """
    rng = random.Random(seed)
    emitted: dict[str, tuple[int, int]] = {}
    receiver = FaultReceiver(FaultScript.random(seed, weights))
    hooks = Hooks(
        timeouts=Timeouts(total=0.05),
        random=rng.random,
        logging=False,
        breaker=BreakerPolicy(failures=3, cooldown=0.001, maximum=0.002),
        **options,
    )
    async with asyncio.timeout(60), receiver, hooks:
        hooks.add_webhook(webhook(receiver))
        for _ in range(40):
            connection, room = rng.randrange(5), rng.randrange(6)
            emitted[await emit(hooks, str(connection), str(room))] = connection, room
            if rng.random() < 0.5:
                await turns(rng.randrange(10))
        await hooks.join()
    return receiver, emitted, hooks


KEY_OF: Final[dict[Any, Callable[[int, int], str | None]]] = {
    "connection": lambda connection, room: str(connection),
    "room": lambda connection, room: str(room),
    by_name_of_room: lambda connection, room: str(room % 2) if room < 4 else None,
}


@settings(
    max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32),
    faults=st.dictionaries(
        st.sampled_from(PASSING + FINAL), st.sampled_from([0.1, 0.3, 1.0]), max_size=5
    ),
    order_by=st.sampled_from(list(KEY_OF)),
    concurrency=st.integers(1, 8),
    queue_size=st.integers(2, 50),
    overflow=st.sampled_from(["wait", "drop_oldest", "drop_newest"]),
    attempts=st.integers(1, 6),
)
async def test_the_first_successes_of_a_key_come_in_emit_order(
    seed: int,
    faults: dict[Fault, float],
    order_by: Any,
    concurrency: int,
    queue_size: int,
    overflow: str,
    attempts: int,
) -> None:
    """Also, attempts for one event end before those for the next of its key begin."""
    faults[Hang()] = faults.get(Hang(), 0) / 20  # each costs its key a time-out
    receiver, emitted, hooks = await deliver(
        seed,
        {Answer(): 2, **faults},
        order_by=order_by,
        concurrency=concurrency,
        queue_size=queue_size,
        overflow=overflow,
        retry=RetryPolicy(attempts=attempts, initial=0.001, maximum=0.004),
    )
    key_of = {event_id: KEY_OF[order_by](*where) for event_id, where in emitted.items()}
    place = {event_id: number for number, event_id in enumerate(emitted)}
    successes, requests = defaultdict(list), defaultdict(list)
    for accepted in receiver.first_successes():
        successes[key_of[str(accepted.event_id)]].append(place[str(accepted.event_id)])
    for request in receiver.requests:
        requests[key_of[str(request.event_id)]].append(place[str(request.event_id)])
    for key in requests.keys() - {None}:
        assert successes[key] == sorted(successes[key])
        assert requests[key] == sorted(requests[key])
    delivered = {str(accepted.event_id) for accepted in receiver.accepted}
    dead = {letter.event_id for letter in await hooks.dead_letters()}
    assert delivered | dead == set(key_of)
    assert hooks.stats().delivered == len(set(key_of) - dead)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), concurrency=st.integers(1, 8))
async def test_order_by_none_loses_nothing(seed: int, concurrency: int) -> None:
    receiver, emitted, hooks = await deliver(
        seed,
        {Answer(): 3, **dict.fromkeys(PASSING, 0.3), Hang(): 0.02},
        order_by="none",
        concurrency=concurrency,
        queue_size=10,
        retry=RetryPolicy(attempts=50, initial=0.001, maximum=0.004),
    )
    accepted = {str(acceptance.event_id) for acceptance in receiver.accepted}
    assert accepted == set(emitted)
    assert hooks.stats().delivered == 40


def hold_only(connection: str) -> Callable[[ReceivedRequest], Fault]:
    def choose(request: ReceivedRequest) -> Fault:
        held = request.json()["session"]["connectionId"] == connection
        return Hold() if held else Answer()

    return choose


def arrivals(receiver: FaultReceiver) -> list[str | None]:
    return [request.event_id for request in receiver.requests]


async def test_keys_proceed_side_by_side() -> None:
    """While one key's request is held open, ten of each other key come through."""
    async with FaultReceiver(hold_only("a")) as receiver, Hooks([webhook(receiver)]) as hooks:
        a = [await emit(hooks, "a") for _ in range(3)]
        others = [await emit(hooks, key) for _ in range(10) for key in "bc"]
        await receiver.wait_until(lambda: len(receiver.accepted) == len(others))
        await turns()
        assert [request.event_id for request in receiver.held] == a[:1]
        assert len(receiver.requests) == len(others) + 1
        for _ in a:
            await receiver.wait_until(lambda: len(receiver.held) == 1)
            receiver.release()
        await hooks.join()
        assert [event_id for event_id in arrivals(receiver) if event_id in a] == a


async def test_as_many_requests_as_allowed_and_no_more_are_in_flight() -> None:
    policies = {"concurrency": 3, "order_by": "none"}
    async with (
        FaultReceiver(Hold()) as receiver,
        Hooks([webhook(receiver, **policies)]) as hooks,
    ):
        for _ in range(8):
            await emit(hooks, "a")
        for left in range(8, 0, -1):
            await receiver.wait_until(lambda left=left: len(receiver.held) == min(left, 3))  # type: ignore[misc]
            await turns()
            assert len(receiver.held) == hooks.stats().targets["w"].in_flight == min(left, 3)
            receiver.release(1)
        await hooks.join()


async def test_a_retrying_head_holds_back_its_own_key_only() -> None:
    clock = VirtualClock()
    script = {"/": lambda request: Answer(503) if request.order == 1 else Answer()}
    retry = RetryPolicy(initial=30, jitter=0)
    async with (
        FaultReceiver(script) as receiver,
        Hooks([webhook(receiver, retry=retry)], clock=clock, close_timeout=0) as hooks,
    ):
        head = await emit(hooks, "a")
        await receiver.wait_for(1)
        behind, other = await emit(hooks, "a"), await emit(hooks, "b")
        await receiver.wait_until(lambda: len(receiver.accepted) == 1)
        await clock.advance(29.9)
        assert arrivals(receiver) == [head, other]
        await clock.advance(0.1)
        await hooks.join()
        assert arrivals(receiver) == [head, other, head, behind]


@pytest.mark.parametrize("fault", [Answer(400), Answer(503), ResetAfterRead(), Garbage()])
async def test_a_dead_lettered_head_lets_the_next_one_go(fault: Fault) -> None:
    policies = {"retry": RetryPolicy(attempts=2, initial=0)}
    script = {"/": lambda request: Answer() if request.event_id in spared else fault}
    spared: set[str] = set()
    async with (
        FaultReceiver(script) as receiver,
        Hooks([webhook(receiver, **policies)], logging=False) as hooks,
    ):
        head, following = await emit(hooks, "a"), await emit(hooks, "a")
        spared.add(following)
        await hooks.join()
        assert list(dict.fromkeys(arrivals(receiver))) == [head, following]
        assert [letter.event_id for letter in await hooks.dead_letters()] == [head]
        assert [accepted.event_id for accepted in receiver.accepted] == [following]


async def test_disabling_and_enabling_keeps_the_order() -> None:
    """What was in flight has its attempt left; the next of its key waits for that."""
    async with FaultReceiver(hold_only("a")) as receiver, Hooks([webhook(receiver)]) as hooks:
        flying = await emit(hooks, "a")
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        hooks.disable_webhook("w")
        hooks.enable_webhook("w")
        following, other = await emit(hooks, "a"), await emit(hooks, "b")
        await receiver.wait_until(lambda: len(receiver.accepted) == 1)
        await turns()
        assert arrivals(receiver) == [flying, other]
        receiver.release()
        await receiver.wait_until(lambda: len(receiver.held) == 1)
        receiver.release()
        await hooks.join()
        assert arrivals(receiver) == [flying, other, following]
