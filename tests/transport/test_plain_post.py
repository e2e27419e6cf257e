"""A host's own session makes requests in its own way; what is read of responses is bounded."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from typing import Any

import pytest
from aiohttp import (
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ConnectionTimeoutError,
    TraceConfig,
)
from support import KEY, header_fields, soon, turns, until
from yarl import URL

from relaybox_hooks import Hooks, Webhook
from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    EndlessBody,
    FaultReceiver,
)
from relaybox_hooks.transport.plain_post import drain, post

BODY = b'{"a": 1}'


async def posted(
    session: ClientSession, receiver: FaultReceiver, body: bytes = BODY
) -> ClientResponse:
    return await soon(post(session, URL(receiver.url), {"X-A": "1"}, body, None))


async def test_middlewares_and_traces_of_the_host_run(receiver: FaultReceiver) -> None:
    seen: list[str] = []

    async def middleware(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        seen.append(f"middleware {request.method}")
        request.headers["X-Host"] = "yes"
        return await handler(request)

    async def on_start(*arguments: Any) -> None:
        seen.append("trace")

    trace = TraceConfig()
    trace.on_request_start.append(on_start)
    async with (
        ClientSession(middlewares=[middleware], trace_configs=[trace]) as session,
        Hooks([Webhook(receiver.url, ["*"], KEY)], http_session=session) as hooks,
    ):
        await hooks.emit("room:join", {"roomId": "r"})
        await soon(hooks.join())
        assert hooks.stats().delivered == 1
    assert seen == ["trace", "middleware POST"]
    assert receiver.requests[0].headers["X-Host"] == "yes"


@pytest.mark.parametrize("size", [8, 2**20, 2**20 + 1, 3 * 2**20])
async def test_a_body_of_any_length_arrives_whole(receiver: FaultReceiver, size: int) -> None:
    """aiohttp warns of those beyond a mebibyte, and warnings may be errors in the host."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with ClientSession() as session:
        response = await posted(session, receiver, body)
        await soon(drain(response, 1024))
    (request,) = receiver.requests
    assert request.body == body
    assert request.headers["Content-Length"] == str(size)
    assert request.headers["X-A"] == "1"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    redirect = Answer(status, headers={"Location": "/elsewhere"})
    async with FaultReceiver(redirect) as receiver, ClientSession() as session:
        response = await posted(session, receiver)
        assert response.status == status
        await soon(drain(response, 1024))
        assert len(receiver.requests) == 1


async def test_a_session_that_raises_for_status_does_not_here() -> None:
    async with (
        FaultReceiver(Answer(500)) as receiver,
        ClientSession(raise_for_status=True) as session,
    ):
        response = await posted(session, receiver)
        assert response.status == 500
        await soon(drain(response, 1024))


async def test_a_connection_that_is_never_accepted_ends_by_the_time_out() -> None:
    """A full backlog answers no SYN, and the session itself would wait for half a minute."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):  # Linux takes one more than the backlog says
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = URL(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        async with ClientSession() as session:
            with pytest.raises(ConnectionTimeoutError):
                await soon(post(session, url, {}, BODY, 0.02))


@pytest.mark.parametrize("size", [0, 1, 1000, 1024])
async def test_after_a_response_within_its_bound_the_connection_serves_again(size: int) -> None:
    async with FaultReceiver(Answer(200, body=b"x" * size)) as receiver:
        async with ClientSession() as session:
            for _ in range(3):
                await soon(drain(await posted(session, receiver), 1024))
        assert (len(receiver.requests), receiver.connections) == (3, 1)


async def test_a_response_beyond_its_bound_is_aborted() -> None:
    """Without waiting until its peer, which may never read, has taken note of a close."""
    async with FaultReceiver(Answer(200, body=b"x" * 2**20)) as receiver:
        async with ClientSession() as session:
            for _ in range(2):
                response = await posted(session, receiver)
                assert response.connection is not None
                transport = response.connection.transport
                assert transport is not None
                await soon(drain(response, 1024))
                assert transport.is_closing()
            await turns()
        assert (len(receiver.requests), receiver.connections) == (2, 2)


async def test_what_waits_to_be_sent_holds_up_no_abort() -> None:
    """The peer has answered early and reads no more: a close would wait for it for ever."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 10_000)

    peers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        async with ClientSession() as session:
            response = await soon(post(session, url, {}, bytes(2**24), None))
            assert response.connection is not None
            transport = response.connection.transport
            assert transport is not None
            await until(lambda: transport.get_write_buffer_size() > 0)
            await soon(drain(response, 1024))
            await turns()
            assert transport.get_extra_info("socket").fileno() == -1
        peers[0].transport.abort()
        await turns()


async def test_an_endless_response_is_cut_off() -> None:
    async with FaultReceiver(EndlessBody()) as receiver, ClientSession() as session:
        response = await posted(session, receiver)
        await soon(drain(response, 4096))
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert response.closed


async def test_a_response_that_breaks_off_is_no_error() -> None:
    """The status has decided already."""
    broken_off = CloseMidResponse(Answer(200, body=b"x" * 1000), after_bytes=10)
    async with FaultReceiver(broken_off) as receiver, ClientSession() as session:
        response = await posted(session, receiver)
        await soon(drain(response, 1024))
        await soon(receiver.wait_until(lambda: receiver.connected == 0))


async def test_a_drain_that_is_cancelled_aborts() -> None:
    slowly = EndlessBody(interval=3600)
    async with FaultReceiver(slowly) as receiver, ClientSession() as session:
        response = await posted(session, receiver)
        draining = asyncio.create_task(drain(response, 2**30))
        await turns()
        assert not draining.done()
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(draining)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))


async def test_the_request_is_the_one_that_is_sent_without_a_host_s_session(
    receiver: FaultReceiver,
) -> None:
    webhook = Webhook(receiver.url + "hook?a=1&b=%2F", ["*"], KEY, headers={"X-Tenant": "a"})
    async with ClientSession() as session:
        for options in ({}, {"http_session": session}):
            async with Hooks([webhook], **options) as hooks:  # type: ignore[arg-type]
                await hooks.emit("room:join", {"roomId": "r"})
                await soon(hooks.join())
    ours, theirs = receiver.requests
    assert ours.head.split(b"\r\n")[0] == theirs.head.split(b"\r\n")[0]
    unsigned = {"X-Relaybox-Webhook-Signature": ""}
    assert header_fields(ours) | unsigned == header_fields(theirs) | unsigned
