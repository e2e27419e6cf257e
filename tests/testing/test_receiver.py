"""The receiver reads requests however they come, and its accounts of them hold."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import aiohttp
import pytest
from yarl import URL

from relaybox_hooks import testing
from relaybox_hooks.testing import Acceptance, Answer, FaultReceiver, Hold, Late

Post: TypeAlias = Callable[..., Coroutine[Any, Any, tuple[int, bytes]]]

PLAIN = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfirst"
CHUNKED = (
    b"PUT /d HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3;ext=1\r\nsec\r\n3\r\nond\r\n0\r\nTrailer: t\r\n\r\n"
)
CLOSING = b"POST / HTTP/1.1\r\nConnection: close\r\n\r\n"


async def connect(receiver: FaultReceiver) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", URL(receiver.url).port)


def test_the_public_names_are_sorted_and_there() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)


async def test_a_request_is_recorded_whole(post: Post) -> None:
    async with FaultReceiver() as receiver:
        assert await post(receiver.url_for("/hook?x=1")) == (200, b"")
        (request,) = await receiver.wait_for(1)
    assert (request.method, request.path, request.query) == ("POST", "/hook", "x=1")
    assert request.headers["x-relaybox-webhook-ID"] == request.webhook_id == "wh"
    assert request.json() == {"id": request.event_id} == {"id": "e1"}
    assert (request.order, request.connection, request.position) == (1, 1, 1)
    assert (request.fault, request.answered_status) == (Answer(), 200)


async def test_it_listens_where_it_is_told_to() -> None:
    async with FaultReceiver(host="::1") as receiver, aiohttp.ClientSession() as session:
        assert URL(receiver.url).host == "::1"
        async with session.get(receiver.url) as response:
            assert response.status == 200


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


async def test_accounts_of_retried_events_add_up(post: Post) -> None:
    """Each event is sent until the client sees a 2xx, many at a time, through every fault."""
    delivered: list[str] = []

    async def deliver(event: str) -> None:
        while True:
            try:
                status, _ = await post(receiver.url, event)
            except aiohttp.ClientError:
                continue
            if status == 200:
                delivered.append(event)
                return

    async with FaultReceiver(seed=7) as receiver:
        events = [f"e{number}" for number in range(100)]
        await asyncio.gather(*map(deliver, events))
        first = {acceptance.event_id for acceptance in receiver.first_successes()}
        assert sorted(delivered) == sorted(events)
        assert receiver.successes() == Counter(Acceptance("/", "wh", event) for event in delivered)
        assert first == set(events)
        answered = [r for r in receiver.requests if r.answered_status == 200]
        assert len(receiver.accepted) == len(answered) == 100
        assert receiver.attempts > len(receiver.requests) > 100


async def test_first_successes_are_in_order_and_without_repeats(post: Post) -> None:
    async with FaultReceiver([Answer(), Answer(500), Answer(), Answer(), Answer(299)]) as receiver:
        for event in ("a", "b", "a", "c", "b"):
            await post(receiver.url, event)
        first = [acceptance.event_id for acceptance in receiver.first_successes()]
        assert first == ["a", "c", "b"]
        assert receiver.successes()[Acceptance("/", "wh", "a")] == 2


async def test_held_requests_are_released_first_come_first_served(post: Post) -> None:
    async with FaultReceiver([Answer(201), Hold(Answer(202)), Answer(203)]) as receiver:
        receiver.hold()
        tasks = []
        for count in (1, 2, 3):
            tasks.append(asyncio.create_task(post(receiver.url)))
            await receiver.wait_for(count)
        await receiver.wait_until(lambda: len(receiver.held) == 3)
        receiver.release(1)
        assert await tasks[0] == (201, b"")
        tasks.pop().cancel()
        await receiver.wait_until(lambda: receiver.held == receiver.requests[1:2])
        receiver.release()
        assert receiver.held == receiver.requests[1:2]  # the script's own Hold begins
        receiver.release()
        assert await tasks[1] == (202, b"")
        assert (await post(receiver.url))[0] == 200


async def test_a_condition_that_raises_ends_its_wait() -> None:
    async with FaultReceiver() as receiver:
        waiting = asyncio.create_task(receiver.wait_until(lambda: not 1 / len(receiver.requests)))
        with pytest.raises(ZeroDivisionError):
            await waiting
