"""Hostile endpoints: whatever they do costs a bounded number of sockets and bytes, and no event."""

from __future__ import annotations

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ssl import SSLContext
from time import monotonic
from typing import Any, Final, TypeAlias

import pytest
from aiohttp import TCPConnector
from support import KEY, ONCE, Watch, soon, turns
from support.certificates import Certificate

from relaybox_hooks import EgressPolicy, Hooks, Timeouts, Webhook
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import (
    Answer,
    AnswerUnread,
    CloseOnReuse,
    EndlessBlankLines,
    EndlessBody,
    EndlessChunkExtension,
    EndlessHeaders,
    EndlessInterim,
    EndlessTrailers,
    Fault,
    FaultReceiver,
    Garbage,
    Hang,
    NeverRead,
    ResetAfterRead,
    Stall,
    SurplusResponses,
    VirtualClock,
)
from relaybox_hooks.testing.script import Script
from relaybox_hooks.transport.egress import make_connector

#: Bytes of a receive buffer that is soon full.
SMALL: Final = 4096
#: Bytes of data that no socket takes at once.
LARGE: Final = 1_000_000

#: Opens hooks and a receiver that speak plain HTTP or TLS.
Opens: TypeAlias = Callable[..., AbstractAsyncContextManager[tuple[Hooks, FaultReceiver]]]


@pytest.fixture(params=["http", "https"])
def opened(request: pytest.FixtureRequest, certificate: Certificate) -> Opens:
    server: SSLContext | None = None
    if request.param == "https":
        server = certificate.server()

    @asynccontextmanager
    async def open_both(
        script: Script, *, webhook: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[tuple[Hooks, FaultReceiver]]:
        async with FaultReceiver(script, ssl=server, receive_buffer=SMALL) as receiver:
            connector = make_connector(EgressPolicy.DEFAULT, ssl=certificate.client())
            target = Webhook(receiver.url, ["*"], KEY, id="w", **{"retry": ONCE, **(webhook or {})})
            async with connector:
                hooks: Hooks = Hooks([target], connector=connector, logging=False, **options)
                async with hooks:
                    yield hooks, receiver

    return open_both


@pytest.fixture
async def errors() -> list[dict[str, Any]]:
    """What the loop would log from now on."""
    found: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context))
    return found


async def emit(hooks: Hooks, size: int = 0) -> None:
    await hooks.emit("user:status:update", {"status": "x" * size})


async def disconnected(receiver: FaultReceiver) -> None:
    await soon(receiver.wait_until(lambda: receiver.connected == 0))


async def seconds_of(awaitable: Awaitable[object]) -> float:
    began = monotonic()
    await soon(awaitable)
    return monotonic() - began


# Closing


@pytest.mark.parametrize(
    "fault",
    [
        AnswerUnread(limit=None, interval=0.01),
        NeverRead(),
        Stall(),
        Hang(),
        EndlessHeaders(interval=0.01),
        EndlessInterim(interval=0.01),
        EndlessBody(interval=0.01),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_closing_takes_its_timeout_and_one_second_at_most(
    opened: Opens, fault: Fault
) -> None:
    """Also with a request that its peer has not read, which a close would wait for."""
    async with opened(fault, timeouts=Timeouts(total=60)) as (hooks, receiver):
        for _ in range(8):
            await emit(hooks, LARGE)
        await soon(receiver.wait_until(lambda: receiver.connected > 0))
        assert await seconds_of(hooks.aclose(1.0)) < 1.0 + 1.0 + 1.0
        await disconnected(receiver)
    budget = parts_of(hooks).runtime.budget
    assert budget is not None
    assert budget.used == 0


# Endpoints that do not read


async def test_a_time_out_gives_back_the_socket_and_what_was_not_sent(opened: Opens) -> None:
    """Each of them, while the next ones are made: never more than one a worker."""
    options: dict[str, Any] = {"timeouts": Timeouts(total=0.1), "breaker": None}
    async with opened(NeverRead(), webhook={"concurrency": 4}, **options) as (hooks, receiver):
        most = 0
        tracemalloc.start()
        try:
            for _ in range(60):
                await emit(hooks, LARGE)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            joining = asyncio.ensure_future(hooks.join())
            while not joining.done():
                most = max(most, receiver.connected)
                await asyncio.sleep(0.005)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await disconnected(receiver)
        assert hooks.stats().failed == 60
        assert receiver.connections == 60
        assert 0 < most <= 2 * 4  # the receiver sees the end of one after the next has begun
        assert peak - before < 8 * 4 * LARGE  # of 60; TLS holds each in several forms


async def test_answers_to_what_was_not_sent_deliver_nothing_and_fill_no_buffer(
    opened: Opens,
) -> None:
    answers = AnswerUnread(limit=None, interval=0.001)
    options: dict[str, Any] = {"breaker": None, "max_body": 20 * LARGE}
    async with opened(answers, webhook={"concurrency": 1}, **options) as (hooks, receiver):
        budget = parts_of(hooks).runtime.budget
        assert budget is not None
        for _ in range(5):
            await emit(
                hooks, 16 * LARGE
            )  # more than the kernel takes for a peer that reads nothing
        await soon(hooks.join())
        assert hooks.stats().delivered == 0
        assert budget.used <= 1
        errors = {letter.error for letter in await hooks.dead_letters()}
        assert errors == {"EarlyResponseError"}
        await soon(hooks.aclose())
        await disconnected(receiver)


async def test_what_waits_below_tls_was_not_sent(certificate: Certificate) -> None:
    """The write buffer of TLS is empty, that of the transport below it is not."""

    def open_socket(address: Any) -> socket.socket:
        opened = EgressPolicy.DEFAULT.open_socket(address)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        return opened

    answers = AnswerUnread(limit=None, interval=0.01)
    connector = TCPConnector(socket_factory=open_socket, ssl=certificate.client())
    async with (
        FaultReceiver(answers, ssl=certificate.server(), receive_buffer=SMALL) as receiver,
        connector,
    ):
        target = Webhook(receiver.url, ["*"], KEY, retry=ONCE, breaker=None)
        async with Hooks([target], connector=connector, logging=False) as hooks:
            for _ in range(5):
                await emit(hooks, 2**16 - 1000)  # one piece, of which the kernels take a part
            await soon(hooks.join())
            assert hooks.stats().delivered == 0


async def test_a_time_out_in_the_middle_of_a_request_leaves_no_error_behind(
    opened: Opens, errors: list[dict[str, Any]]
) -> None:
    """Asyncio logs an error that no one has awaited when it is collected."""
    options: dict[str, Any] = {"timeouts": Timeouts(total=0.1), "max_body": 20 * LARGE}
    async with opened(NeverRead(), **options) as (hooks, receiver):
        await emit(hooks, 16 * LARGE)  # more than the kernel takes
        await soon(hooks.join())
        await disconnected(receiver)
    await turns()
    gc.collect()
    assert errors == []


# Floods


@pytest.mark.parametrize(
    ("flood", "error"),
    [
        (EndlessInterim(), "ResponseError"),
        (EndlessBlankLines(), "ResponseError"),
        (EndlessHeaders(), "ResponseError"),
        (EndlessChunkExtension(), None),
        (EndlessTrailers(), None),
        (EndlessBody(), None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_flood_ends_by_its_bytes_and_not_by_the_deadline(
    opened: Opens, flood: Fault, error: str | None
) -> None:
    """The deadline never comes: the clock stands still. A status that was read decides."""
    watch = Watch()
    async with opened(flood, clock=VirtualClock(), observers=[watch]) as (hooks, receiver):
        await emit(hooks)
        await soon(hooks.join())
        await disconnected(receiver)
    (attempt,) = watch.attempts
    assert attempt.outcome.error == error
    assert attempt.outcome.status == (None if error else 200)


# Connections that are used again


@pytest.mark.parametrize("delay", [0.0, 0.02])
async def test_a_response_that_nobody_asked_for_delivers_nothing(
    opened: Opens, delay: float
) -> None:
    async with opened([SurplusResponses(delay=delay), Hang()]) as (hooks, receiver):
        await emit(hooks)
        await soon(hooks.join())
        await soon(receiver.wait_until(lambda: receiver.responses == 2))
        await disconnected(receiver)
        await emit(hooks)
        await soon(receiver.wait_for(2))
        await turns(50)
        assert (hooks.stats().delivered, hooks.stats().pending) == (1, 1)
        await hooks.aclose(0)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_its_peer_closes_as_it_is_used_again_costs_no_attempt(
    opened: Opens, reset: bool
) -> None:
    """The exchange is made once more on a new one, and is another request for a receiver."""
    clock, watch = VirtualClock(), Watch()
    script = [CloseOnReuse(reset=reset), Answer(), Answer()]
    async with opened(script, clock=clock, observers=[watch]) as (hooks, receiver):
        await emit(hooks)
        await soon(hooks.join())
        await clock.advance(5.0)
        await emit(hooks)
        await soon(hooks.join())
        assert (hooks.stats().delivered, hooks.stats().retried) == (2, 0)
    first, second, third = receiver.requests
    assert receiver.connections == 2
    assert second.event_id == third.event_id != first.event_id
    assert second.json()["timestamp"] < third.json()["timestamp"]
    assert (
        second.headers["X-Relaybox-Webhook-Signature"]
        != (third.headers["X-Relaybox-Webhook-Signature"])
    )
    assert [attempt.number for attempt in watch.attempts] == [1, 1]


async def test_a_request_that_resets_a_busy_connection_is_an_attempt_that_failed(
    opened: Opens,
) -> None:
    """It may have been read: made again at once it might do again what it has done."""
    watch = Watch()
    async with opened([Answer(), ResetAfterRead()], observers=[watch]) as (hooks, receiver):
        for _ in range(2):
            await emit(hooks)
            await soon(hooks.join())
        assert (hooks.stats().delivered, hooks.stats().failed) == (1, 1)
        assert len(receiver.requests) == 2


async def test_the_second_exchange_is_the_last_one(opened: Opens) -> None:
    """A peer that closes every connection does not keep an attempt going."""
    watch = Watch()
    script = [CloseOnReuse(), Garbage(b""), Garbage(b"")]
    async with opened(script, observers=[watch]) as (hooks, receiver):
        for _ in range(2):
            await emit(hooks)
            await soon(hooks.join())
        assert (hooks.stats().delivered, hooks.stats().failed) == (1, 1)
        assert len(receiver.requests) == 3
    assert watch.attempts[-1].outcome.error == "ServerDisconnectedError"
