"""One attempt: the status decides, a deadline or a cancellation ends it, and that is all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession
from aioresponses import aioresponses
from support import KEY, soon, turns

from relaybox_hooks import Observer, Session, Timeouts, Webhook
from relaybox_hooks.observer import Notifier
from relaybox_hooks.outcome import Outcome, Verdict
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.testing import (
    Answer,
    EndlessBody,
    Fault,
    FaultReceiver,
    Hang,
    ResetAfterRead,
    VirtualClock,
)
from relaybox_hooks.transport.attempt import TIMED_OUT, Attempter
from relaybox_hooks.transport.egress import EgressPolicy
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.wire.envelope import Envelope

URL = "http://hook.test/in?a=1"


def webhook(url: str = URL) -> Webhook:
    return Webhook(url, ["*"], KEY, id="w1")


def envelope() -> Envelope:
    return Envelope.encode("e1", "room:join", {"roomId": "r"}, Session(), 1000, time=0.0)


@pytest.fixture
async def runtime(clock: VirtualClock) -> AsyncIterator[Runtime]:
    runtime = Runtime(Notifier(()), random.random, clock=clock)
    runtime.start()
    runtime.open_session(EgressPolicy.DEFAULT)
    yield runtime
    runtime.deadlines.cancel()
    await runtime.close_session()


async def attempt(runtime: Runtime, url: str = URL, **timeouts: float) -> Outcome:
    """One attempt in the current task."""
    hook = webhook(url)
    endpoint = Endpoint(hook, Settings(timeouts=Timeouts(**timeouts)))
    return await Attempter(runtime).attempt(endpoint, hook, envelope(), 1)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (302, "failed"),
        (400, "failed"),
        (404, "failed"),
        (410, "gone"),
        (429, "retry"),
        (501, "failed"),
        (503, "retry"),
    ],
)
async def test_the_status_decides(mocked: aioresponses, status: int, verdict: Verdict) -> None:
    mocked.post(URL, status=status, body=b"answer", headers={"Retry-After": "7"})
    async with ClientSession() as session:
        runtime = Runtime(Notifier(()), random.random, session=session)
        runtime.start()
        outcome = await attempt(runtime)
        runtime.deadlines.cancel()
    assert (outcome.verdict, outcome.status) == (verdict, status)
    assert outcome.retry_after == (7 if verdict == "retry" else None)


async def test_a_connection_error_is_tried_again(mocked: aioresponses) -> None:
    mocked.post(URL, exception=ClientConnectionError("no route"))
    async with ClientSession() as session:
        runtime = Runtime(Notifier(()), random.random, session=session)
        runtime.start()
        outcome = await attempt(runtime)
        runtime.deadlines.cancel()
    assert (outcome.verdict, outcome.error) == ("retry", "ClientConnectionError")
    assert "no route" in outcome.detail


async def test_a_deadline_ends_an_attempt_and_no_other(
    runtime: Runtime, clock: VirtualClock
) -> None:
    async with FaultReceiver(Hang()) as receiver:
        short = asyncio.create_task(attempt(runtime, receiver.url, total=2))
        long = asyncio.create_task(attempt(runtime, receiver.url, total=5))
        await soon(receiver.wait_for(2))
        await clock.advance(1.9)
        assert not short.done()
        await clock.advance(0.1)
        assert await soon(short) is TIMED_OUT
        await clock.advance(2.9)
        assert not long.done()
        await clock.advance(0.1)
        assert await soon(long) is TIMED_OUT
    assert not runtime.deadlines.running


@pytest.mark.parametrize(
    ("fault", "slow"),
    [
        (Hang(), True),
        (Answer(200), False),
        (Answer(503), False),
        (ResetAfterRead(), False),
        (EndlessBody(interval=0.01), True),
    ],
    ids=["hangs", "answers", "refuses", "resets", "answers and goes on"],
)
async def test_an_attempt_says_whether_it_took_as_long_as_it_may(
    runtime: Runtime, clock: VirtualClock, fault: Fault, slow: bool
) -> None:
    said: list[bool] = []

    async def run(url: str) -> None:
        attempter = Attempter(runtime)
        endpoint = Endpoint(webhook(url), Settings(timeouts=Timeouts(total=5)))
        for _ in range(2):
            await attempter.attempt(endpoint, webhook(url), envelope(), 1)
            said.append(attempter.timed_out)

    async with FaultReceiver([fault, Answer()]) as receiver:
        task = asyncio.create_task(run(receiver.url))
        await soon(receiver.wait_for(1))
        if slow:
            await clock.advance(5)
        await soon(task)
    assert said == [slow, False]


async def test_a_connection_that_timed_out_took_as_long_as_it_may(
    runtime: Runtime, full_backlog: object
) -> None:
    attempter = Attempter(runtime)
    hook = webhook(str(full_backlog))
    endpoint = Endpoint(hook, Settings(timeouts=Timeouts(total=60, connect=0.02)))
    outcome = await soon(attempter.attempt(endpoint, hook, envelope(), 1))
    assert outcome.error == "ConnectionTimeoutError"
    assert attempter.timed_out


async def test_one_timer_does_for_all_attempts(runtime: Runtime) -> None:
    async with FaultReceiver(Answer()) as receiver:
        for _ in range(3):
            assert (await attempt(runtime, receiver.url, total=5)).status == 200
    assert not runtime.deadlines.running
    assert runtime.deadlines.earliest != float("inf")  # the first attempt's; it ends none


async def test_a_cancellation_is_passed_on_and_the_outcome_is_unknown(runtime: Runtime) -> None:
    known: list[Outcome | None] = []

    async def run(url: str) -> None:
        attempter = Attempter(runtime)
        endpoint = Endpoint(webhook(url), Settings())
        try:
            await attempter.attempt(endpoint, webhook(url), envelope(), 1)
        finally:
            known.append(attempter.outcome)

    async with FaultReceiver(Hang()) as receiver:
        task = asyncio.create_task(run(receiver.url))
        await soon(receiver.wait_for(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert known == [None]
    assert not runtime.deadlines.running


async def test_a_cancellation_after_the_status_leaves_the_outcome(runtime: Runtime) -> None:
    """The rest of the response changes nothing, and may never come."""
    attempters: list[Attempter] = []

    async def run(url: str) -> None:
        attempters.append(Attempter(runtime))
        endpoint = Endpoint(webhook(url), Settings())
        await attempters[0].attempt(endpoint, webhook(url), envelope(), 1)

    async with FaultReceiver(EndlessBody(interval=1000)) as receiver:
        task = asyncio.create_task(run(receiver.url))
        await soon(receiver.wait_for(1))
        await turns(50)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert attempters[0].outcome is not None
    assert attempters[0].outcome.status == 200


async def test_a_success_before_the_whole_request_was_sent_is_no_outcome(runtime: Runtime) -> None:
    """The endpoint says so while it reads nothing, and then nothing more until the deadline."""
    answered = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        writers.append(writer)
        answered.set()

    async def run(url: str) -> None:
        attempters.append(Attempter(runtime))
        endpoint = Endpoint(webhook(url), Settings())
        large = Envelope.encode("e1", "x:y", "x" * 2**24, Session(), 2**26, time=0.0)
        await attempters[0].attempt(endpoint, webhook(url), large, 1)

    attempters: list[Attempter] = []
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        task = asyncio.create_task(run(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await soon(answered.wait())
        await turns(50)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        writers[0].transport.abort()
    assert attempters[0].outcome is None


async def test_observers_headers_go_with_the_attempt(runtime: Runtime) -> None:
    class Tracing(Observer):
        def attempting(self, *arguments: Any) -> dict[str, str]:
            return {"Traceparent": f"attempt-{arguments[3]}"}

    runtime.notifier = Notifier([Tracing()])
    async with FaultReceiver(Answer()) as receiver:
        await attempt(runtime, receiver.url)
        (request,) = receiver.requests
    assert request.headers["traceparent"] == "attempt-1"
