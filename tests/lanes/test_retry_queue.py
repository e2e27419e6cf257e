"""Attempts that wait for their time: made when it has come, on a clock that only the tests move."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from support import STEADY, Watch, advance_to_next, dispatcher, emit, sent_at, soon, webhook_to

from relaybox_hooks import (
    RetryPolicy,
)
from relaybox_hooks.testing import (
    Answer,
    Fault,
    FaultReceiver,
    ReceivedRequest,
)
from relaybox_hooks.testing.clock import VirtualClock
from relaybox_hooks.wire.signing import SIGNATURE_HEADER


async def test_attempts_are_made_exactly_when_the_policy_says(
    clock: VirtualClock, watch: Watch
) -> None:
    """RelayBox's own: 5 attempts from 0.5 s, doubling; not a millisecond early."""
    async with FaultReceiver(Answer(503)) as receiver:
        webhook = webhook_to(receiver, retry=STEADY)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            for made, wait in enumerate((0.5, 1.0, 2.0, 4.0), start=1):
                attempt = await watch.attempted_times(made)
                assert (attempt.number, attempt.next_in) == (made, wait)
                await clock.advance(wait - 0.001)
                assert len(receiver.requests) == made
                await clock.advance(0.001)
                await soon(receiver.wait_for(made + 1))
            last = await watch.attempted_times(5)
            assert last.next_in is None
            await clock.advance(3600)
            assert len(receiver.requests) == 5
    times = ["20.000", "20.500", "21.500", "23.500", "27.500"]
    assert [sent_at(request)[-7:-1] for request in receiver.requests] == times


async def test_jitter_takes_from_the_wait_what_the_dice_say(
    clock: VirtualClock, watch: Watch
) -> None:
    draws = iter([0.5, 0.0, 0.875])
    policy = RetryPolicy(initial=8, factor=1, attempts=4)
    async with FaultReceiver(Answer(500)) as receiver:
        webhook = webhook_to(receiver, retry=policy)
        async with dispatcher(
            webhook, clock=clock, observers=[watch], random=lambda: next(draws)
        ) as hooks:
            await emit(hooks)
            for number in range(1, 5):
                await watch.attempted_times(number)
                await clock.advance(8)
            await soon(hooks.join())
    assert [attempt.next_in for attempt in watch.attempts] == [4.0, 8.0, 1.0, None]


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_waited_for(clock: VirtualClock, watch: Watch, form: str) -> None:
    later = "7"
    if form == "date":
        when = datetime.fromtimestamp(clock.time() + 7, UTC)
        later = format_datetime(when, usegmt=True)
    script = [Answer(503, {"Retry-After": later}), Answer(429, {"Retry-After": "3600"}), Answer()]
    async with FaultReceiver(script) as receiver:
        webhook = webhook_to(receiver, retry=RetryPolicy(jitter=0, maximum=30))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            attempt = await watch.attempted_times(1)
            assert (attempt.outcome.retry_after, attempt.next_in) == (7.0, 7.0)
            await clock.advance(6.999)
            assert len(receiver.requests) == 1
            await clock.advance(0.001)
            attempt = await watch.attempted_times(2)
            assert (attempt.outcome.retry_after, attempt.next_in) == (3600.0, 30.0)
            await clock.advance(30)
            await soon(hooks.join())
            assert hooks.stats().delivered == 1


async def test_without_a_wait_the_next_attempt_is_still_another_request(
    clock: VirtualClock, watch: Watch
) -> None:
    """Timestamps have milliseconds: in the same one, a receiver would see a replay."""
    async with FaultReceiver([Answer(500), Answer(500)]) as receiver:
        webhook = webhook_to(receiver, retry=RetryPolicy(initial=0))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            for made in (1, 2):
                await watch.attempted_times(made)
                assert await advance_to_next(clock) == pytest.approx(0.001)
            await soon(hooks.join())
    assert len({request.headers[SIGNATURE_HEADER] for request in receiver.requests}) == 3


async def test_retries_of_one_connection_hold_back_no_other(
    clock: VirtualClock, watch: Watch
) -> None:
    def script(request: ReceivedRequest) -> Fault:
        sick = request.json()["session"]["connectionId"] == "sick"
        return Answer(500) if sick and request.order < 6 else Answer()

    async with FaultReceiver(script) as receiver:
        webhook = webhook_to(receiver, retry=STEADY)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            first = await emit(hooks, connectionId="sick")
            await watch.attempted_times(1)
            second = await emit(hooks, connectionId="sick")
            others = [await emit(hooks, connectionId=f"well-{n}") for n in range(10)]
            await watch.until(lambda: len(watch.all("delivered")) == 10)
            assert hooks.stats().pending == 2
            await clock.advance(0.5)
            await soon(hooks.join())
    delivered = [attempt.event_id for attempt in watch.all("delivered")]
    assert sorted(delivered[:10]) == sorted(others)
    assert delivered[10:] == [first, second]
