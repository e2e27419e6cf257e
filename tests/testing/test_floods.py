"""Floods, byte by byte: what they consist of, what ends them, and that none fills our memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from support import soon, turns
from support.certificates import Certificate
from support.raw_http import PLAIN, Post, connect, leave, pause, resume

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing import (
    Answer,
    EndlessBlankLines,
    EndlessBody,
    EndlessChunkExtension,
    EndlessHeaders,
    EndlessInterim,
    EndlessTrailers,
    Fault,
    FaultReceiver,
)

CHUNKED = Answer(201, {"Transfer-Encoding": "chunked"}).wire
TRAILER = rb"X-Filler-\d+: \d{64}\r\n"

#: Each flood, what comes before it and what it repeats.
FLOODS: list[tuple[Fault, bytes, bytes]] = [
    (EndlessBody(201), CHUNKED, rb"2000\r\n\0{8192}\r\n"),
    (EndlessHeaders(201), b"HTTP/1.1 201 Created\r\n", TRAILER),
    (EndlessInterim(201), b"", rb"HTTP/1.1 100 \r\n\r\n"),
    (EndlessInterim(interim=103), b"", rb"HTTP/1.1 103 \r\n\r\n"),
    (EndlessBlankLines(201), b"", rb"\r\n"),
    (EndlessChunkExtension(201), CHUNKED + b"1;filler=", b"0"),
    (EndlessTrailers(201), CHUNKED + b"0\r\n", TRAILER),
]
each_flood = pytest.mark.parametrize(
    ("fault", "start", "part"), FLOODS, ids=[repr(flood[0]) for flood in FLOODS]
)


@each_flood
async def test_a_flood_goes_on_and_on(fault: Fault, start: bytes, part: bytes) -> None:
    async with FaultReceiver(fault) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        flood = await soon(reader.readexactly(100_000))
        assert flood.startswith(start)
        parts = re.match(rb"(?:%b)+" % part, flood[len(start) :])
        assert parts is not None
        assert len(flood) - len(start) - parts.end() < 10_000, "no more than a part cut off"
        assert (receiver.responses, receiver.accepted) == (0, [])
        leave(writer)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert receiver.requests[0].answered_status is None


@each_flood
@pytest.mark.parametrize("tls", [False, True])
async def test_a_flood_waits_for_a_client_that_does_not_read(
    fault: Fault, start: bytes, part: bytes, tls: bool, certificate: Certificate
) -> None:
    """The receiver holds one block of it, and goes on once the client reads."""
    server, client = (certificate.server(), certificate.client()) if tls else (None, None)
    async with FaultReceiver(fault, ssl=server) as receiver:
        reader, writer = await connect(receiver, client)
        pause(writer)
        writer.write(PLAIN)
        await receiver.wait_for(1)
        (connection,) = receiver._traffic.open
        while not connection._paused:
            await turns(100)
        transport: Any = connection.transport
        held = (transport._transport if tls else transport).get_write_buffer_size
        assert 0 < held() < 25_000
        await turns(200)
        assert 0 < held() < 25_000
        resume(writer)
        await soon(reader.readexactly(500_000))
    leave(writer)


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        (EndlessInterim(interval=60), b"HTTP/1.1 100 \r\n\r\n"),
        (EndlessBlankLines(200, 60), b"\r\n"),
    ],
    ids=repr,
)
async def test_a_flood_with_an_interval_comes_part_by_part(fault: Fault, part: bytes) -> None:
    async with FaultReceiver(fault) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN)
        assert await soon(reader.read(4096)) == part
        leave(writer)


@pytest.mark.parametrize("interval", [0.0, 0.0001])
@pytest.mark.parametrize(
    ("flood", "expected"),
    [
        (EndlessInterim, b"HTTP/1.1 100 \r\n\r\n" * 300 + Answer(201).wire),
        (EndlessBlankLines, b"\r\n" * 300 + Answer(201).wire),
        (EndlessChunkExtension, CHUNKED + b"1;filler=" + b"0" * 300 + b"\r\nx\r\n0\r\n\r\n"),
        (
            EndlessTrailers,
            CHUNKED
            + b"0\r\n"
            + b"".join(b"X-Filler-%d: %064d\r\n" % (n, n) for n in range(300))
            + b"\r\n",
        ),
    ],
)
async def test_a_flood_with_a_limit_ends_as_a_response(
    flood: Callable[..., Fault], expected: bytes, interval: float
) -> None:
    async with FaultReceiver([flood(201, interval, 300), Answer()]) as receiver:
        reader, writer = await connect(receiver)
        writer.write(PLAIN + PLAIN)
        assert await soon(reader.readexactly(len(expected))) == expected
        assert await soon(reader.readexactly(len(Answer().wire))) == Answer().wire
        assert [request.answered_status for request in receiver.requests] == [201, 200]
    leave(writer)


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        (EndlessInterim(202, limit=5), b""),
        (EndlessBlankLines(202, limit=5), b""),
        (EndlessChunkExtension(202, limit=5), b"x"),
        (EndlessTrailers(202, limit=5), b""),
    ],
    ids=repr,
)
async def test_a_short_flood_is_a_response_to_a_real_client(
    fault: Fault, body: bytes, session: aiohttp.ClientSession, post: Post
) -> None:
    async with FaultReceiver(fault) as receiver:
        assert await post(receiver.url) == (202, body)


@pytest.mark.parametrize(
    ("option", "make"),
    [
        *[
            pair
            for flood in (EndlessInterim, EndlessBlankLines, EndlessChunkExtension, EndlessTrailers)
            for pair in (
                ("status", lambda flood=flood: flood(99)),
                ("limit", lambda flood=flood: flood(limit=0)),
            )
        ],
        ("interim", lambda: EndlessInterim(interim=101)),
        ("interim", lambda: EndlessInterim(interim=200)),
    ],
)
def test_a_flood_that_cannot_be_is_refused(option: str, make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.option == option
