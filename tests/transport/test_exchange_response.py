"""What a response hands on: Retry-After of its final head, its headers, the start of its body."""

from __future__ import annotations

import time

import pytest
from support.exchanges import Line

from relaybox_hooks.transport.exchange import Response

LIMIT = 65_536
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n"

pytestmark = pytest.mark.usefixtures("nothing_unretrieved")


BODY = b"a\r\nRetry-After: 9\r\n\r\n"
WITH_BODY = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param(BUSY, "7", id="alone"),
        pytest.param(EARLY_HINTS + BUSY, "7", id="after an interim response"),
        pytest.param(EARLY_HINTS * 3 + OK, None, id="in interim responses only"),
        pytest.param(
            BUSY.replace(b"Retry-After: 7", b"RETRY-AFTER:\t Mon, 1 \t"), "Mon, 1", id="blanks"
        ),
        pytest.param(BUSY.replace(b"Retry", b"X-Retry"), None, id="another name"),
        pytest.param(BUSY.replace(b"Retry", b"Retry-After: 1\r\nRetry"), "1", id="twice"),
        pytest.param(WITH_BODY, None, id="in the body"),
        pytest.param(CHUNKED.replace(b"0\r\n\r", b"0\r\nRetry-After: 9\r\n\r"), None, id="trailer"),
    ],
)
async def test_retry_after_is_that_of_the_final_head(response: bytes, expected: str | None) -> None:
    for parts in ([response], [response[at : at + 1] for at in range(len(response))]):
        line = Line()
        line.exchange.send(b"request", LIMIT)
        line.feed(*parts)
        assert line.exchange.retry_after == expected


async def test_retry_after_takes_no_longer_than_its_head_is_long(line: Line) -> None:
    """A pattern that tries each run of blanks again would take minutes for these."""
    blanks = b" " * 2**17
    line.exchange.send(b"request", 2**20)
    line.feed(BUSY.replace(b"7", b"7" + blanks + b"8" + blanks))
    before = time.process_time()
    assert line.exchange.retry_after == "7" + blanks.decode() + "8"
    assert time.process_time() - before < 5


async def test_a_response_is_handed_on_without_its_framing(line: Line) -> None:
    line.exchange.send(b"request", LIMIT)
    line.feed(
        EARLY_HINTS, b"HTTP/1.1 400 Bad\r\nX-Who: \xe9\t \r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    line.feed(b"bb8;ext\r\n" + b"a" * 3000 + b"\r\n7d0\r\n" + b"b" * 2000)
    line.feed(b"\r\n0\r\nX-Trailer: no\r\n\r\n" + OK)
    headers = (("X-Who", "é"), ("Transfer-Encoding", "chunked"))
    assert line.exchange.response() == Response(400, headers, b"a" * 3000 + b"b" * 1096)


async def test_a_response_cut_short_is_handed_on_as_far_as_it_came(line: Line) -> None:
    line.exchange.send(b"request", LIMIT)
    assert line.exchange.response() == Response(0, (), b"")
    line.feed(OK[:-1])
    assert line.exchange.response() == Response(200, (("Content-Length", "2"),), b"o")


@pytest.mark.parametrize("beyond", [b"", b"x", OK, b"\r\n" + CHUNKED])
async def test_nothing_beyond_a_response_is_handed_on(line: Line, beyond: bytes) -> None:
    line.exchange.send(b"request", LIMIT)
    line.feed(OK + beyond)
    assert line.exchange.response() == Response(200, (("Content-Length", "2"),), b"ok")
