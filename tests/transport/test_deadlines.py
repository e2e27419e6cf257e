"""Time-outs: an attempt ends when its time is up, whatever the endpoint does."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

from support import KEY, STEADY, Watch, advance_to_next, dispatcher, emit, soon, webhook_to

from relaybox_hooks import RetryPolicy, Timeouts, Webhook
from relaybox_hooks.testing import Answer, Drip, FaultReceiver, Hang
from relaybox_hooks.testing.clock import VirtualClock


async def test_a_hanging_endpoint_is_left_when_the_time_is_up(
    clock: VirtualClock, watch: Watch
) -> None:
    async with FaultReceiver([Hang()]) as receiver:
        webhook = webhook_to(receiver, retry=STEADY, timeouts=Timeouts(total=3))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            await soon(receiver.wait_for(1))
            await clock.advance(2.999)
            assert watch.attempts == []
            await clock.advance(0.001)
            attempt = await watch.attempted_times(1)
            assert (attempt.outcome.error, attempt.elapsed) == ("TimeoutError", 3.0)
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
            await clock.advance(0.5)
            await soon(hooks.join())
            assert hooks.stats().delivered == 1


async def test_a_dripping_head_is_no_answer(clock: VirtualClock, watch: Watch) -> None:
    """However lively the connection, the status did not come in time."""
    async with FaultReceiver(Drip(Answer(), interval=3600)) as receiver:
        webhook = webhook_to(receiver, retry=RetryPolicy(attempts=1))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            await soon(receiver.wait_for(1))
            await clock.advance(5)
            await soon(hooks.join())
    assert [(letter.error, letter.attempts) for letter in watch.letters] == [("TimeoutError", 1)]


async def test_time_outs_of_many_attempts_are_kept_apart(clock: VirtualClock, watch: Watch) -> None:
    """One timer serves all attempts of a webhook; each still ends at its own moment."""
    async with FaultReceiver(Hang()) as receiver:
        webhook = webhook_to(receiver, retry=RetryPolicy(attempts=1), breaker=None)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            for number in range(1, 4):
                await emit(hooks)
                await soon(receiver.wait_for(number))
                await clock.advance(1)
            for left in (2, 1, 0):
                await advance_to_next(clock)
                assert hooks.stats().pending == left
    assert [attempt.elapsed for attempt in watch.attempts] == [5.0, 5.0, 5.0]


async def test_a_connection_that_is_never_accepted_ends_by_the_connect_time_out(
    watch: Watch,
) -> None:
    """On the real clock, which aiohttp keeps this one by: a full backlog answers no SYN."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):  # Linux takes one more than the backlog says
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook?token=t0psecret"
        webhook = Webhook(
            url,
            ["*"],
            KEY,
            id="root",
            timeouts=Timeouts(total=9, connect=0.02),
            retry=RetryPolicy(attempts=1),
        )
        async with dispatcher(webhook, observers=[watch]) as hooks:
            await emit(hooks)
            await soon(hooks.join())
    (letter,) = watch.letters
    assert letter.error is not None
    assert letter.error.startswith("ConnectionTimeoutError")
    assert "t0psecret" not in str(letter)


async def test_an_attempt_that_ends_as_its_time_is_up_is_settled_once(
    clock: VirtualClock, watch: Watch
) -> None:
    """The answer and the deadline in the same pass through the loop, many times over."""
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, retry=STEADY, timeouts=Timeouts(total=1), breaker=None)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            for turns in range(12):
                await emit(hooks)
                await soon(receiver.wait_until(lambda: bool(receiver.held)))
                receiver.release(1)
                for _ in range(turns):
                    await asyncio.sleep(0)
                await clock.advance(1)
                receiver.release()
                await clock.advance(0.5)  # it may have been too late, and be tried again
                await soon(hooks.join())
                receiver.hold()
            assert hooks.stats().delivered == 12
            assert hooks.stats().targets["root"].in_flight == 0
