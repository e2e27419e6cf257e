"""A longer request is sent as the socket takes it; an answer before its end is no success."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientOSError, ServerDisconnectedError
from support import turns
from support.exchanges import Line
from yarl import URL

from relaybox_hooks.clock import Clock
from relaybox_hooks.testing import VirtualClock
from relaybox_hooks.transport.budget import Budget
from relaybox_hooks.transport.connections import Connections
from relaybox_hooks.transport.exchange import PIECE, EarlyResponseError, Exchange, ResponseError

LIMIT = 65_536
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
REQUEST = bytes(range(256)) * (PIECE // 256 * 3) + b"end"


pytestmark = pytest.mark.usefixtures("nothing_unretrieved")


@pytest.fixture
async def sending(line: Line) -> AsyncIterator[asyncio.Task[int]]:
    """A longer request, of which one piece waits for the socket and the others for their turn."""
    line.transport.slow = True
    task = asyncio.create_task(line.exchange.send_in_pieces(REQUEST, LIMIT))
    await turns()
    assert line.transport.written == [REQUEST[:PIECE]]
    yield task
    assert task.done()


async def drain(line: Line) -> None:
    """Let the socket take the rest, a piece at a time."""
    for sent in (1, 2, 3, 4):
        assert (len(line.transport.written), line.transport.buffered > 0) == (sent, True)
        line.transport.drain()
        await turns()


async def test_each_piece_waits_until_the_socket_takes_more(
    line: Line, sending: asyncio.Task[int]
) -> None:
    line.exchange.pause_writing()  # once more, which changes nothing
    await drain(line)
    assert not sending.done()
    line.feed(OK)
    assert await sending == 200
    assert list(map(len, line.transport.written)) == [PIECE, PIECE, PIECE, 3]
    assert b"".join(line.transport.written) == REQUEST
    assert not line.ended
    line.transport.slow = False
    assert await again(line) == 200


async def again(line: Line) -> int:
    """Make one more exchange on the same connection."""
    answer = line.exchange.send(b"request", LIMIT)
    line.feed(OK)
    return await answer


async def test_a_fast_socket_takes_all_pieces_at_once(line: Line) -> None:
    task = asyncio.create_task(line.exchange.send_in_pieces(REQUEST, LIMIT))
    await turns(1)
    assert b"".join(line.transport.written) == REQUEST
    line.feed(OK)
    assert await task == 200
    assert not line.ended


async def test_a_refusal_before_the_end_is_taken_and_ends_the_connection(
    line: Line, sending: asyncio.Task[int]
) -> None:
    line.feed(BUSY)
    assert line.ended
    assert await sending == 503
    assert len(line.transport.written) == 1


async def test_a_refusal_between_two_pieces_stops_the_next_one(line: Line) -> None:
    """The socket takes more at the same moment: what is written now would reach nobody."""
    line.transport.slow = True
    sending = asyncio.create_task(line.exchange.send_in_pieces(REQUEST, LIMIT))
    await turns()
    line.transport.drain()
    line.feed(BUSY)
    assert await sending == 503
    assert len(line.transport.written) == 1
    assert line.ended


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(OK, id="whole"),
        pytest.param(OK + b"x", id="with surplus"),
        pytest.param(OK.replace(b"th: 2", b"th: x"), id="badly framed"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * LIMIT, id="too long"),
    ],
)
async def test_a_success_before_the_end_is_an_error(
    line: Line, sending: asyncio.Task[int], response: bytes
) -> None:
    """The endpoint cannot have read what it says it has taken."""
    line.feed(response)
    with pytest.raises((EarlyResponseError, ResponseError)) as caught:
        await sending
    assert isinstance(caught.value, EarlyResponseError) or b"th: x" in response
    assert line.exchange.status == 0
    assert line.ended


@pytest.mark.parametrize("size", [PIECE, 3 * PIECE])
@pytest.mark.parametrize("way", ["eof", "lost"])
async def test_a_success_cut_off_before_the_end_is_an_error(
    line: Line, size: int, way: str
) -> None:
    """A transport that was lost has nothing in its buffer any more."""
    line.transport.slow = True
    sending = asyncio.create_task(line.exchange.send_in_pieces(REQUEST[:size], LIMIT))
    await turns()
    line.feed(OK[:-1])
    assert line.exchange.status == 200
    if way == "eof":
        line.exchange.eof_received()
    else:
        line.transport.buffered = 0
        line.exchange.connection_lost(ConnectionResetError())
    with pytest.raises(EarlyResponseError):
        await sending
    assert line.exchange.status == 0


async def test_a_success_that_ends_after_the_request_is_one(
    line: Line, sending: asyncio.Task[int]
) -> None:
    """Some endpoints begin to answer while they read."""
    line.feed(OK[:-1])
    await drain(line)
    line.feed(OK[-1:])
    line.exchange.connection_lost(None)  # before the task is resumed
    assert await sending == line.exchange.status == 200


async def test_a_success_without_framing_that_ends_after_the_request_is_one(
    line: Line, sending: asyncio.Task[int]
) -> None:
    line.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    await drain(line)
    line.exchange.eof_received()
    assert await sending == 200
    assert line.ended


@pytest.mark.parametrize(
    ("line_of", "slow", "status"),
    [(b"200 OK", True, 0), (b"503 Busy", True, 503), (b"200 OK", False, 200)],
)
async def test_an_abort_forgets_a_success_before_the_end(
    line: Line, line_of: bytes, slow: bool, status: int
) -> None:
    """A task that is cancelled meanwhile looks at the status: it says nothing of the request."""
    line.transport.slow = slow
    answer = line.exchange.send(b"request", LIMIT)
    line.feed(b"HTTP/1.1 " + line_of + b"\r\n\r\n")
    answer.cancel()
    line.exchange.abort()
    assert line.exchange.status == status


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), None])
async def test_a_loss_lets_the_writer_go(
    line: Line, sending: asyncio.Task[int], error: Exception | None
) -> None:
    line.exchange.connection_lost(error)
    with pytest.raises(ClientOSError if error else ServerDisconnectedError):
        await sending
    assert len(line.transport.written) == 1


@pytest.mark.parametrize("lost_first", [False, True])
async def test_a_cancelled_writer_leaves_nothing_behind(lost_first: bool) -> None:
    """Neither a connection in use, nor an error that no task has taken."""
    line = Line()
    line.transport.slow = True
    sending = asyncio.create_task(line.exchange.send_in_pieces(REQUEST, LIMIT))
    await turns()
    if lost_first:
        line.exchange.connection_lost(ConnectionResetError())
    sending.cancel()
    line.exchange.connection_lost(ConnectionResetError())
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert line.ended


async def test_a_cancelled_writer_is_not_answered_later(
    line: Line, sending: asyncio.Task[int]
) -> None:
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    line.exchange.resume_writing()
    line.feed(OK)
    assert line.ended
    assert len(line.transport.written) == 1


async def test_a_pause_that_changes_nothing_is_none(line: Line) -> None:
    line.exchange.resume_writing()
    line.exchange.pause_writing()
    line.exchange.pause_writing()
    line.exchange.resume_writing()
    task = asyncio.create_task(line.exchange.send_in_pieces(REQUEST, LIMIT))
    await turns()
    assert b"".join(line.transport.written) == REQUEST
    line.exchange.eof_received()
    with pytest.raises(ServerDisconnectedError):
        await task


class _Owner:
    """Has a clock, as the runtime does."""

    clock: Clock = VirtualClock()


async def test_an_idle_connection_keeps_none_of_what_was_sent_or_read(line: Line) -> None:
    budget = Budget(_Owner(), 10, 15.0)
    budget.timed = True  # no timer is needed
    task = asyncio.create_task(line.exchange.send_in_pieces(REQUEST, LIMIT))
    await turns()
    line.feed(*(OK[at : at + 1] for at in range(len(OK))))
    assert await task == 200
    del task
    Connections(budget, URL("http://a"), None).put_back(line.exchange)
    assert line.exchange in budget.idle
    assert held_by(line.exchange) == []


def held_by(exchange: Exchange) -> list[bytes | bytearray | memoryview]:
    """The bytes that an exchange refers to itself."""
    values = [getattr(exchange, name) for name in exchange.__slots__]
    return [
        value for value in values if isinstance(value, bytes | bytearray | memoryview) and value
    ]
