"""Connections of the receiver: kept alive, pipelined, refused, reset."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from support.raw_http import CHUNKED, CLOSING, PLAIN, Post, connect
from yarl import URL

from relaybox_hooks.testing import Answer, Exchange, Fault, FaultReceiver, Hold, Late


async def test_a_connection_is_kept_alive_until_either_side_says_close(post: Post) -> None:
    closing = Answer(200, {"Connection": "close"})
    async with FaultReceiver([Answer(), closing, Answer(201), closing]) as receiver:
        for _ in range(3):
            await post(receiver.url)
        assert [(r.connection, r.position) for r in receiver.requests] == [(1, 1), (1, 2), (2, 1)]
        for request, answer in ((PLAIN, closing), (CLOSING, Answer())):
            reader, writer = await connect(receiver)
            writer.write(request)
            assert await reader.read() == answer.wire  # up to EOF
            writer.close()


@pytest.mark.parametrize("piece", [1, 7, 4096])
async def test_pipelined_requests_are_told_apart_in_pieces_of_any_size(piece: int) -> None:
    stream = PLAIN + CHUNKED + PLAIN + CLOSING
    answers = [Answer(201), Answer(202), Late(Answer(203), 0.0), Answer(500)]
    async with FaultReceiver(answers) as receiver:
        reader, writer = await connect(receiver)
        for start in range(0, len(stream), piece):
            writer.write(stream[start : start + piece])
            await asyncio.sleep(0)
        wire = b"".join(Answer(status).wire for status in (201, 202, 203, 500))
        assert await reader.read() == wire
        writer.close()
    assert [r.body for r in receiver.requests] == [b"first", b"second", b"first", b""]
    assert [r.path for r in receiver.requests] == ["/a", "/d", "/a", "/"]
    assert receiver.attempts == 4


async def test_a_fault_may_choose_the_one_of_the_next_request_only() -> None:
    class Choosing(Fault):
        def play(self, exchange: Exchange) -> None:
            exchange.next_request(Answer(202))
            Answer(201).play(exchange)

    async with FaultReceiver([Choosing(), Answer(203), Answer(204)]) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN * 4)
        wire = b"".join(Answer(status).wire for status in (201, 202, 203, 204))
        assert await reader.readexactly(len(wire)) == wire
        writer.close()


async def test_bytes_that_are_not_http_are_refused() -> None:
    async with FaultReceiver() as receiver:
        reader, writer = await connect(receiver)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert (receiver.attempts, receiver.requests) == (1, [])


async def test_an_answer_counts_when_the_client_has_taken_it_all() -> None:
    """A client that leaves in the middle of a large answer was not answered."""
    big = Answer(body=bytes(20_000_000))  # more than the sockets' buffers hold
    async with FaultReceiver(big) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        (first,) = await receiver.wait_for(1)
        assert first.answered_status is None
        await reader.readexactly(len(big.wire))
        await receiver.wait_until(lambda: first.answered_status == 200)
        writer.write(PLAIN)
        _, second = await receiver.wait_for(2)
        writer.transport.abort()
        await receiver.wait_until(lambda: receiver.connected == 0)
    assert (second.answered_status, len(receiver.accepted)) == (None, 1)


async def test_an_answer_that_meets_a_reset_does_not_count() -> None:
    async with FaultReceiver(Hold()) as receiver:
        client = socket.create_connection(("127.0.0.1", URL(receiver.url).port))
        client.sendall(PLAIN)
        (request,) = await receiver.wait_for(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        receiver.release()  # before the loop could notice the reset
        await receiver.wait_until(lambda: receiver.connected == 0)
    assert (request.answered_status, receiver.accepted) == (None, [])
