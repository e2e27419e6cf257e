"""An exchange settles once, and only a connection in perfect order serves the next one.

Longer requests are in test_exchange_pieces.py, generated responses in test_exchange_fuzz.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
from aiohttp import ClientOSError, ServerDisconnectedError
from support.exchanges import PEER, FakeDialled, FakeTransport, Line

from relaybox_hooks.transport import exchange as module
from relaybox_hooks.transport.exchange import (
    READ_SIZE,
    Exchange,
    ResponseError,
)

LIMIT = 65_536
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
UNFRAMED = b"HTTP/1.1 200 OK\r\n\r\nuntil the end"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n"


pytestmark = pytest.mark.usefixtures("nothing_unretrieved")


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def whole(data: bytes) -> list[bytes]:
    return [data]


# States


async def test_a_response_takes_the_exchange_through_its_states(line: Line) -> None:
    exchange = line.exchange
    seen = [exchange.state]
    answer = exchange.send(b"request", LIMIT)
    seen.append(exchange.state)
    line.feed(OK[:1])
    seen.append(exchange.state)
    assert (exchange.status, answer.done()) == (0, False)
    line.feed(OK[1:-1])
    assert (exchange.status, answer.done()) == (200, False)
    line.feed(OK[-1:])
    seen.append(exchange.state)
    assert seen == ["idle", "waiting", "responding", "idle"]
    assert await answer == exchange.status == 200
    assert line.transport.written == [b"request"]
    assert (exchange.received, exchange.peer) == (OK, PEER)
    assert not line.ended


async def test_the_next_exchange_begins_anew(line: Line) -> None:
    for response, status in [(EARLY_HINTS * 9 + OK, 200), (EARLY_HINTS * 9 + BUSY, 503), (OK, 200)]:
        answer = line.exchange.send(b"request", len(response) + 20)
        assert (line.exchange.state, line.exchange.status) == ("waiting", 0)
        assert not line.exchange.received
        line.feed(*each_byte(response))
        assert await answer == status
        assert (line.exchange.state, line.exchange.received) == ("idle", response)


async def test_a_connection_that_was_closed_serves_nothing() -> None:
    transport = FakeTransport()
    transport.closing = True
    for each in (FakeDialled(transport), FakeDialled(None)):
        with pytest.raises(ServerDisconnectedError, match="before it could be used"):
            Exchange(each, lambda _: None)
        assert each.closed == 1


async def test_no_more_is_asked_of_a_socket_than_a_webhook_answers() -> None:
    transport = FakeTransport()
    transport.max_size = 2**18  # type: ignore[attr-defined]
    exchange = Exchange(FakeDialled(transport), lambda _: None)
    assert transport.protocol is exchange
    assert transport.max_size == READ_SIZE  # type: ignore[attr-defined]


async def test_an_abort_is_for_good_and_reported_once(line: Line) -> None:
    answer = line.exchange.send(b"request", LIMIT)
    line.exchange.abort()
    line.exchange.abort()
    line.feed(OK)
    assert not answer.done()
    line.exchange.connection_lost(None)
    with pytest.raises(ServerDisconnectedError):
        await answer
    line.exchange.eof_received()
    assert line.ended
    assert line.closed == [line.exchange]


async def test_what_comes_while_it_idles_ends_it(line: Line) -> None:
    line.feed(b"H")
    assert line.ended
    ends: list[Callable[[Line], None]] = [
        lambda each: each.feed(b"\r\n"),
        lambda each: each.exchange.eof_received(),
        lambda each: each.exchange.connection_lost(ConnectionResetError()),
    ]
    for end in ends:
        other = Line()
        answer = other.exchange.send(b"request", LIMIT)
        other.feed(OK)
        end(other)
        assert other.ended
        assert await answer == other.exchange.status == 200


# What goes back to the pool


@pytest.mark.parametrize(
    "response",
    [
        OK,
        CHUNKED,
        BUSY,
        EARLY_HINTS + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
    ],
)
async def test_a_connection_in_order_is_kept(response: bytes) -> None:
    for cut in (whole, each_byte):
        line = Line()
        answer = line.exchange.send(b"request", LIMIT)
        line.feed(*cut(response))
        assert (answer.done(), line.exchange.state) == (True, "idle")


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(OK.replace(b"OK\r", b"OK\r\nConnection: close\r"), id="closed by its peer"),
        pytest.param(OK.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(OK + b"\r\n", id="an empty line beyond"),
        pytest.param(OK + b"H", id="a byte beyond"),
        pytest.param(OK + OK, id="a response beyond"),
        pytest.param(OK + OK[:30], id="part of a response beyond"),
        pytest.param(CHUNKED + CHUNKED, id="a response in chunks beyond"),
        pytest.param(CHUNKED + b"\r\n", id="an empty line beyond chunks"),
        pytest.param(b"\r\n" + OK, id="an empty line before"),
        pytest.param(b"\r\n" + CHUNKED, id="an empty line before chunks"),
        pytest.param(CHUNKED.replace(b"0\r\n\r", b"0\r\nA: b\r\n\r"), id="trailers"),
        pytest.param(CHUNKED.replace(b"0\r\n\r", b"0;a\r\n\r"), id="an extension at the end"),
        pytest.param(OK.replace(b" OK", b" O\x00K"), id="NUL in the reason"),
        pytest.param(OK.replace(b"HTTP/1.1", b"ICE/1.0"), id="another protocol"),
        pytest.param(CHUNKED.replace(b" chunked", b" x, chunked"), id="two codings"),
        pytest.param(
            b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", id="coding, no body"
        ),
    ],
)
async def test_any_other_connection_ends_and_its_status_counts(response: bytes) -> None:
    for cut in (whole, each_byte):
        line = Line()
        answer = line.exchange.send(b"request", LIMIT)
        line.feed(*cut(response))
        assert line.ended
        assert await answer in (200, 204)


async def test_no_connection_is_kept_while_a_request_waits(line: Line) -> None:
    answer = line.exchange.send(b"request", LIMIT)
    line.transport.buffered = 1
    line.feed(BUSY)
    assert await answer == 503
    assert line.ended


@pytest.mark.parametrize("unsent", [0, 1])
async def test_with_tls_the_kernel_is_asked_what_waits(
    monkeypatch: pytest.MonkeyPatch, unsent: int
) -> None:
    asked: list[asyncio.Transport] = []

    def count_unsent(transport: asyncio.Transport) -> int:
        asked.append(transport)
        return unsent

    monkeypatch.setattr(module, "count_unsent", count_unsent)
    line = Line(sslcontext=ssl.create_default_context())
    answer = line.exchange.send(b"request", LIMIT)
    line.feed(BUSY)  # a status of success would not count
    assert (await answer, line.ended) == (503, unsent > 0)
    assert asked == [line.transport]
    plain = Line()
    plain.exchange.send(b"request", LIMIT)
    plain.feed(OK)
    assert len(asked) == 1


# The bound, interim responses, statuses


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(EARLY_HINTS * 9 + OK, id="interim responses"),
        pytest.param(OK.replace(b"\r\n\r", b"\r\nA: " + b"b" * 99 + b"\r\n\r"), id="head"),
        pytest.param(CHUNKED.replace(b"2\r", b"2;" + b"a" * 99 + b"\r"), id="framing"),
        pytest.param(
            CHUNKED.replace(b"0\r\n\r", b"0\r\nA: " + b"b" * 99 + b"\r\n\r"), id="trailers"
        ),
        pytest.param(UNFRAMED + b"x" * 99, id="body"),
    ],
)
async def test_every_raw_byte_counts_against_the_bound(response: bytes) -> None:
    line = Line()
    answer = line.exchange.send(b"request", len(response) - 20)
    line.feed(*each_byte(response[: len(response) - 20]))
    assert not answer.done()
    line.feed(response[-20:-19])
    assert line.ended
    if line.exchange.status:
        assert await answer == 200
    else:
        with pytest.raises(ResponseError, match="longer than max_response"):
            await answer


async def test_interim_responses_are_passed_over_up_to_their_limit(line: Line) -> None:
    answer = line.exchange.send(b"request", LIMIT)
    line.feed(EARLY_HINTS * 16)
    assert (line.exchange.state, line.exchange.status) == ("responding", 0)
    line.feed(OK)
    assert await answer == 200
    refused = line.exchange.send(b"request", LIMIT)
    line.feed(EARLY_HINTS * 17)
    with pytest.raises(ResponseError, match="more than 16 interim responses"):
        await refused
    assert line.ended


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 110 Wait\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 104 Wait\r\nTransfer-Encoding: chunked\t\r\n\r\n",
        b"\r\n\r\nHTTP/1.1 100 Wait\r\n\r\n",
    ],
)
async def test_an_interim_response_with_a_body_is_refused(line: Line, interim: bytes) -> None:
    answer = line.exchange.send(b"request", LIMIT)
    line.feed(interim)
    with pytest.raises(ResponseError, match="an interim response"):
        await answer
    assert line.ended


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (b"HTTP/1.1 099 Odd\r\n\r\n", "no valid HTTP response: status 099"),
        (b"HTTP/1.1 000 Odd\r\n\r\n", "no valid HTTP response: status 000"),
        (b"\x16\x03\x01secret", "no valid HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", "Content-Length"),
    ],
)
async def test_what_is_no_response_is_named(line: Line, response: bytes, message: str) -> None:
    answer = line.exchange.send(b"request", LIMIT)
    line.feed(response)
    with pytest.raises(ResponseError, match=message) as caught:
        await answer
    assert "secret" not in str(caught.value)
    assert line.ended


async def test_a_switch_of_protocols_is_a_status_and_an_end(line: Line) -> None:
    answer = line.exchange.send(b"request", LIMIT)
    line.feed(b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nanything")
    assert await answer == 101
    assert line.ended


# Ends


@pytest.mark.parametrize(
    ("so_far", "status"),
    [
        (b"", 0),
        (OK[:20], 0),
        (EARLY_HINTS, 0),
        (OK[:-1], 200),
        (UNFRAMED, 200),
        (CHUNKED[:-1], 200),
    ],
)
async def test_the_end_of_the_connection_leaves_a_status_that_is_known(
    so_far: bytes, status: int
) -> None:
    """It is the end of a body without framing as well; others are known to be cut short."""
    errors: list[tuple[Callable[[Exchange], None], type[Exception]]] = [
        (lambda exchange: exchange.eof_received(), ServerDisconnectedError),
        (lambda exchange: exchange.connection_lost(None), ServerDisconnectedError),
        (lambda exchange: exchange.connection_lost(ConnectionResetError(104, "x")), ClientOSError),
    ]
    for end, error in errors:
        line = Line()
        answer = line.exchange.send(b"request", LIMIT)
        if so_far:
            line.feed(so_far)
        assert (answer.done(), line.transport.aborted) == (False, 0)
        end(line.exchange)
        assert line.ended
        if status:
            assert await answer == status
        else:
            with pytest.raises(error):
                await answer


async def test_a_cancelled_exchange_is_not_settled_again(line: Line) -> None:
    line.exchange.send(b"request", LIMIT).cancel()
    line.feed(OK)
    assert line.exchange.state == "idle"
    line.exchange.send(b"request", LIMIT).cancel()
    line.exchange.eof_received()
    assert line.ended
