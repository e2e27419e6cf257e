"""Faults of a server that does not read, as a client's socket sees them."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from support import soon, turns, until
from support.certificates import Certificate
from support.raw_http import PLAIN, connect, ending, leave, pause, taken

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing import (
    Answer,
    AnswerUnread,
    Exchange,
    Fault,
    FaultReceiver,
    Hang,
    NeverRead,
    ReceivedRequest,
    Stall,
)

UNREAD = [Stall(), NeverRead(), AnswerUnread(), AnswerUnread(limit=None, interval=60)]


@pytest.mark.parametrize("fault", UNREAD, ids=repr)
async def test_a_client_gets_rid_of_no_more_than_the_kernels_hold(fault: Fault) -> None:
    size = 4_000_000
    async with FaultReceiver([fault, Hang()]) as receiver:
        assert await taken(receiver, size) < size / 10
        assert (receiver.bytes_read(1), receiver.attempts, receiver.requests) == (0, 0, [])
        assert await taken(receiver, size) == size, "the Hang reads"
        await receiver.wait_until(lambda: receiver.bytes_read(2) > size / 2)
        assert receiver.connections == 2


@pytest.mark.parametrize("fault", [Stall(), NeverRead()], ids=repr)
async def test_nothing_is_said_on_a_connection_that_is_not_read(fault: Fault) -> None:
    """The RST in the end tells that the request lies unread in the server's kernel."""
    async with FaultReceiver(fault) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        silent = asyncio.ensure_future(ending(reader))
        await turns(100)
        assert not silent.done()
        assert (receiver.connected, receiver.responses) == (1, 0)
    assert await soon(silent) is None
    leave(writer)


async def test_a_request_that_was_read_ends_with_fin() -> None:
    """The other side of the test above: a Hang reads."""
    async with FaultReceiver(Hang()) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        await receiver.wait_for(1)
    assert await soon(ending(reader)) == b""
    leave(writer)


async def test_an_answer_comes_before_the_request() -> None:
    answer = Answer(202, {}, b"ok")
    async with FaultReceiver(AnswerUnread(answer, limit=3)) as receiver:
        reader, writer = await connect(receiver)
        assert await soon(reader.readexactly(3 * len(answer.wire))) == 3 * answer.wire
        await receiver.wait_until(lambda: receiver.responses == 3)
        writer.write(PLAIN)
        rest = asyncio.ensure_future(ending(reader))
        await turns(100)
        assert not rest.done(), "three, and the connection stays open"
        assert (receiver.bytes_read(1), receiver.requests, receiver.accepted) == (0, [], [])
        assert (receiver.responses, receiver.connected) == (3, 1)
    assert await soon(rest) is None
    leave(writer)


async def test_a_second_answer_waits_for_its_interval() -> None:
    wire = Answer().wire
    async with FaultReceiver(AnswerUnread(limit=2, interval=60)) as receiver:
        reader, writer = await connect(receiver)
        assert await soon(reader.readexactly(len(wire))) == wire
        await turns(100)
        assert receiver.responses == 1
        leave(writer)


async def test_each_of_many_requests_is_answered_and_none_is_read() -> None:
    answer = Answer()
    async with FaultReceiver(AnswerUnread(limit=None, interval=0.001)) as receiver:
        reader, writer = await connect(receiver)
        for _ in range(20):
            writer.write(PLAIN)
            assert await soon(reader.readexactly(len(answer.wire))) == answer.wire
        assert (receiver.bytes_read(1), receiver.attempts, receiver.connections) == (0, 0, 1)
        assert receiver.responses >= 20
    leave(writer)


async def test_answers_wait_for_a_client_that_does_not_read() -> None:
    async with FaultReceiver(AnswerUnread(Answer(body=bytes(50_000)), limit=None)) as receiver:
        _, writer = await connect(receiver)
        pause(writer)
        before = -1
        while before != receiver.responses:
            before = receiver.responses
            await turns(200)
        (connection,) = receiver._traffic.open
        assert len(connection.transport._buffer) <= 50_100  # type: ignore[attr-defined]
        assert receiver.connected == 1
    leave(writer)


@pytest.mark.parametrize("fault", UNREAD, ids=repr)
@pytest.mark.parametrize("request_", [b"", PLAIN])
async def test_a_client_that_leaves_is_noticed(fault: Fault, request_: bytes) -> None:
    async with FaultReceiver(fault) as receiver:
        reader, writer = await connect(receiver)
        await receiver.wait_until(lambda: receiver.connected == 1)
        if isinstance(fault, AnswerUnread):
            await soon(reader.readexactly(len(fault.answer.wire)))
        writer.write(request_)
        writer.close()
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert receiver.bytes_read(1) == 0
        assert receiver._traffic.hangups._epoll is None, "it is closed with the last connection"


@pytest.mark.parametrize("fault", [NeverRead(), Stall(), AnswerUnread()], ids=repr)
async def test_a_fault_chosen_with_the_request_reads_nothing_after_it(fault: Fault) -> None:
    """By a path, or in a sequence on a connection that is kept alive."""

    def by_path(request: ReceivedRequest) -> Fault:
        return fault if request.path == "/a" else Answer()

    answer = Answer()
    for script in (by_path, {"/a": fault}, [Answer(), fault]):
        first = 1 if isinstance(script, list) else 0
        async with FaultReceiver(script) as receiver:
            reader, writer = await connect(receiver)
            for _ in range(first):
                writer.write(PLAIN)
                assert await soon(reader.readexactly(len(answer.wire))) == answer.wire
            writer.write(PLAIN)
            await until(lambda: receiver.attempts == first + 1)  # noqa: B023 - awaited here
            read = receiver.bytes_read(1)
            writer.write(PLAIN)
            await turns(100)
            assert receiver.bytes_read(1) == read == (first + 1) * len(PLAIN)
        assert await soon(ending(reader)) is None
        leave(writer)


async def test_with_tls_the_handshake_is_completed_and_nothing_read_after_it(
    certificate: Certificate,
) -> None:
    """Not even of the cipher text: the RST tells."""
    for fault in (NeverRead(), AnswerUnread(Answer(201))):
        async with FaultReceiver(fault, ssl=certificate.server()) as receiver:
            reader, writer = await soon(connect(receiver, certificate.client()))
            writer.write(PLAIN)
            if isinstance(fault, AnswerUnread):
                wire = fault.answer.wire
                assert await soon(reader.readexactly(len(wire))) == wire
            await turns(100)
            assert (receiver.bytes_read(1), receiver.connected) == (0, 1)
        assert await soon(ending(reader)) is None
        leave(writer)


@pytest.mark.parametrize("tls", [False, True])
async def test_nor_is_anything_read_for_a_fault_of_ones_own(
    tls: bool, certificate: Certificate
) -> None:
    class Greeting(Fault):
        stage = "connected"

        def play(self, exchange: Exchange) -> None:
            exchange.write(b"hello")

    server, client = (certificate.server(), certificate.client()) if tls else (None, None)
    async with FaultReceiver(Greeting(), ssl=server) as receiver:
        reader, writer = await connect(receiver, client)
        writer.write(PLAIN)
        assert await soon(reader.readexactly(5)) == b"hello"
        await turns(100)
        assert (receiver.bytes_read(1), receiver.attempts) == (0, 0)
    assert await soon(ending(reader)) is None
    leave(writer)


async def test_with_tls_a_stall_answers_no_handshake(certificate: Certificate) -> None:
    async with FaultReceiver(Stall(), ssl=certificate.server()) as receiver:
        shaking = asyncio.ensure_future(connect(receiver, certificate.client()))
        await receiver.wait_until(lambda: receiver.connected == 1)
        await turns(200)
        assert not shaking.done()
    with pytest.raises(ConnectionResetError):
        await soon(shaking)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
def test_nothing_is_read_on_uvloop_either(certificate: Certificate) -> None:
    """Its transports begin to read whatever their protocols do when they connect."""
    import uvloop  # noqa: PLC0415

    async def scenario() -> None:
        for fault in UNREAD:
            async with FaultReceiver(fault) as receiver:
                assert await taken(receiver, 1_000_000) < 400_000
                assert (receiver.bytes_read(1), receiver.connected) == (0, 1)
        for server, client in ((None, None), (certificate.server(), certificate.client())):
            async with FaultReceiver(NeverRead(), ssl=server) as receiver:
                reader, writer = await connect(receiver, client)
                writer.write(PLAIN)
                await turns(100)
            assert await soon(ending(reader)) is None
            async with FaultReceiver(AnswerUnread(), ssl=server) as receiver:
                reader, writer = await connect(receiver, client)
                wire = Answer().wire
                assert await soon(reader.readexactly(len(wire))) == wire
                writer.transport.abort()
                await soon(receiver.wait_until(lambda: receiver.connected == 0))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize(
    ("option", "make"),
    [("limit", lambda: AnswerUnread(limit=0)), ("limit", lambda: AnswerUnread(limit=True))],
)
def test_a_number_of_answers_that_cannot_be_is_refused(option: str, make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.option == option
