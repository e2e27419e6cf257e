"""Faults of kept-alive connections: surplus responses, and ends of connections at a bad moment."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from support import soon, turns
from support.certificates import Certificate
from support.raw_http import CLOSING, PLAIN, Post, connect, ending, leave

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing import (
    Answer,
    CloseAfterAnswer,
    CloseAfterRead,
    CloseOnReuse,
    Fault,
    FaultReceiver,
    ResetAfterRead,
    ResetBeforeRead,
    SurplusResponses,
)

ANSWER, OTHER = Answer(503, {}, b"later"), Answer(200, {}, b"fine")


@pytest.mark.parametrize("delay", [0.0, 0.01])
async def test_surplus_responses_follow_the_one_of_the_request(delay: float) -> None:
    script = [SurplusResponses(ANSWER, OTHER, 2, delay), Answer(204)]
    async with FaultReceiver(script) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        wire = ANSWER.wire + 2 * OTHER.wire
        assert await soon(reader.readexactly(len(wire))) == wire
        await receiver.wait_until(lambda: receiver.responses == 3)
        assert [request.answered_status for request in receiver.requests] == [503]
        assert receiver.accepted == [], "nobody asked for the 200s"
        writer.write(PLAIN)
        end = Answer(204).wire
        assert await soon(reader.readexactly(len(end))) == end
        assert [request.answered_status for request in receiver.requests] == [503, 204]
        assert receiver.responses == 4
    leave(writer)


@pytest.mark.parametrize("delay", [0.0, 0.001])
async def test_surplus_responses_wait_for_a_client_that_reads_slowly(delay: float) -> None:
    big = Answer(201, {}, bytes(20_000_000))  # more than the sockets' buffers hold
    async with FaultReceiver([SurplusResponses(big, OTHER, 2, delay)]) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        await receiver.wait_for(1)
        await turns(100)
        assert receiver.responses == 0
        await soon(reader.readexactly(len(big.wire)))
        assert await soon(reader.readexactly(2 * len(OTHER.wire))) == 2 * OTHER.wire
        await soon(receiver.wait_until(lambda: receiver.responses == 3))
        assert [request.answered_status for request in receiver.requests] == [201]
    leave(writer)


async def test_surplus_responses_at_once_come_in_one_piece() -> None:
    async with FaultReceiver(SurplusResponses(ANSWER, OTHER)) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        assert await soon(reader.read(4096)) == ANSWER.wire + OTHER.wire
    leave(writer)


async def test_late_surplus_responses_meet_an_idle_connection() -> None:
    """The response counts before they come; they are forgotten with their connection."""
    async with FaultReceiver(SurplusResponses(ANSWER, delay=60)) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        assert await soon(reader.readexactly(len(ANSWER.wire))) == ANSWER.wire
        await receiver.wait_until(lambda: receiver.responses == 1)
        assert receiver.requests[0].answered_status == 503
        leave(writer)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert receiver.responses == 1


async def test_surplus_responses_precede_the_end_that_the_client_asked_for() -> None:
    async with FaultReceiver(SurplusResponses(ANSWER, OTHER, delay=0.001)) as receiver:
        reader, writer = await connect(receiver)
        writer.write(CLOSING)
        assert await soon(ending(reader)) == ANSWER.wire + OTHER.wire
    leave(writer)


@pytest.mark.parametrize(("reset", "end"), [(False, b""), (True, None)])
@pytest.mark.parametrize("script", ["always", "once"])
async def test_a_connection_ends_at_its_second_request(
    reset: bool, end: bytes | None, script: str
) -> None:
    fault = CloseOnReuse(ANSWER, reset=reset)
    async with FaultReceiver(fault if script == "always" else [fault, OTHER]) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        assert await soon(reader.readexactly(len(ANSWER.wire))) == ANSWER.wire
        await turns(100)
        assert receiver.connected == 1, "it is kept alive"
        writer.write(PLAIN)
        assert await soon(ending(reader)) == end
        leave(writer)
        expected = ANSWER if script == "always" else OTHER
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        assert await soon(reader.readexactly(len(expected.wire))) == expected.wire
        statuses = [(r.connection, r.answered_status) for r in receiver.requests]
        assert statuses == [(1, 503), (1, None), (2, expected.status)]
        assert receiver.requests[1].fault == (ResetAfterRead() if reset else CloseAfterRead())
        assert (receiver.attempts, receiver.responses) == (3, 2)
    leave(writer)


async def test_the_end_at_a_second_request_takes_no_fault_of_the_script() -> None:
    async with FaultReceiver([CloseOnReuse(), ResetBeforeRead(), OTHER]) as receiver:
        ends = []
        for requests in (2 * PLAIN, PLAIN, CLOSING):
            reader, writer = await connect(receiver)
            writer.write(requests)
            ends.append(await soon(ending(reader)))
            leave(writer)
        assert ends == [Answer().wire, None, OTHER.wire]


async def test_a_client_that_retries_on_a_new_connection_gets_by() -> None:
    async with FaultReceiver(CloseOnReuse()) as receiver, aiohttp.ClientSession() as session:
        for _ in range(4):  # aiohttp sends an idempotent request again
            async with session.get(receiver.url) as response:
                assert response.status == 200
        assert [r.position for r in receiver.requests] == [1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize(
    ("fault", "wire", "status"),
    [
        (CloseAfterAnswer(ANSWER), ANSWER.wire, 503),
        (CloseAfterRead(), b"", None),
    ],
)
async def test_a_connection_ends_with_fin(fault: Fault, wire: bytes, status: int | None) -> None:
    async with FaultReceiver([fault]) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        assert await soon(ending(reader)) == wire
        assert b"close" not in wire
        assert receiver.requests[0].answered_status == status
    leave(writer)


@pytest.mark.parametrize(
    ("fault", "wire"),
    [
        (SurplusResponses(ANSWER, OTHER, 2), ANSWER.wire + 2 * OTHER.wire),
        (CloseOnReuse(ANSWER), ANSWER.wire),
        (CloseAfterAnswer(ANSWER), ANSWER.wire),
    ],
    ids=repr,
)
async def test_they_are_the_same_over_tls(
    fault: Fault, wire: bytes, certificate: Certificate
) -> None:
    async with FaultReceiver(fault, ssl=certificate.server()) as receiver:
        reader, writer = await connect(receiver, certificate.client())
        writer.write(PLAIN)
        assert await soon(reader.readexactly(len(wire))) == wire
        if isinstance(fault, CloseOnReuse):
            writer.write(PLAIN)
        if not isinstance(fault, SurplusResponses):
            assert await soon(ending(reader)) == b""
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
    leave(writer)


async def test_a_connection_that_is_not_reused_stays(post: Post) -> None:
    async with FaultReceiver(CloseOnReuse()) as receiver:
        readers = await asyncio.gather(*(connect(receiver) for _ in range(3)))
        for reader, writer in readers:
            writer.write(PLAIN)
            assert await soon(reader.readexactly(len(Answer().wire))) == Answer().wire
        await turns(100)
        assert receiver.connected == 3
        leave(*(writer for _, writer in readers))


def test_a_number_of_surplus_responses_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="number=0"):
        SurplusResponses(number=0)
