"""Each fault is what its name says, as a real client sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from support.raw_http import Post

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    Drip,
    EndlessBody,
    EndlessHeaders,
    Fault,
    FaultReceiver,
    Garbage,
    Hang,
    Hold,
    Late,
    Redirect,
    ResetAfterRead,
    ResetBeforeRead,
)

SHORT = aiohttp.ClientTimeout(total=0.05)


async def test_an_answer_carries_status_headers_and_body(
    session: aiohttp.ClientSession, post: Post
) -> None:
    async with FaultReceiver(
        [Answer(503, {"Retry-After": "2"}, b"later"), Answer(204)]
    ) as receiver:
        async with session.post(receiver.url) as response:
            assert (response.status, response.reason) == (503, "Service Unavailable")
            assert response.headers["retry-after"] == "2"
            assert await response.read() == b"later"
        assert await post(receiver.url) == (204, b"")


@pytest.mark.parametrize(
    ("fault", "error", "read"),
    [
        (ResetBeforeRead(), aiohttp.ClientOSError, 0),
        (ResetAfterRead(), aiohttp.ClientOSError, 1),
        (Late(ResetAfterRead(), 0.0), aiohttp.ClientOSError, 1),
        (Garbage(), aiohttp.ClientResponseError, 1),
        (Garbage(b""), aiohttp.ServerDisconnectedError, 1),
        (CloseMidResponse(Answer(body=b"abc"), after_bytes=2), aiohttp.ClientPayloadError, 1),
        (EndlessHeaders(), aiohttp.ClientResponseError, 1),
    ],
    ids=repr,
)
async def test_a_broken_answer_is_an_error_to_the_client_and_no_success(
    fault: Fault, error: type[Exception], read: int, post: Post
) -> None:
    async with FaultReceiver(fault) as receiver:
        with pytest.raises(error):
            await post(receiver.url)
        await receiver.wait_until(lambda: receiver.connected == 0)
        assert (receiver.attempts, len(receiver.requests)) == (1, read)
        assert [r.answered_status for r in receiver.requests] == [None] * read
        assert receiver.accepted == []


@pytest.mark.parametrize(
    "fault",
    [Hang(), Hold(), Late(Answer(), 60), Drip(Answer(), 60), EndlessBody(), EndlessBody(200, 60)],
    ids=repr,
)
async def test_an_answer_that_does_not_come_ends_with_the_client_leaving(
    fault: Fault, post: Post
) -> None:
    async with FaultReceiver(fault) as receiver:
        with pytest.raises(TimeoutError):
            await post(receiver.url, timeout=SHORT)
        await receiver.wait_until(lambda: receiver.connected == 0)
        assert [r.answered_status for r in receiver.requests] == [None]
        assert (receiver.accepted, receiver.held) == ([], [])


@pytest.mark.parametrize(
    "fault", [Late(Answer(201, {}, b"ok"), 0.01), Drip(Answer(201, {}, b"ok"), 0)]
)
async def test_a_slow_answer_counts_once_it_is_whole(fault: Fault, post: Post) -> None:
    async with FaultReceiver(fault) as receiver:
        waiting = asyncio.create_task(post(receiver.url))
        (request,) = await receiver.wait_for(1)
        assert (request.answered_status, receiver.accepted) == (None, [])
        assert await waiting == (201, b"ok")
        assert (request.answered_status, len(receiver.accepted)) == (201, 1)


async def test_a_redirect_names_its_location(post: Post) -> None:
    async with FaultReceiver({"/old": Redirect("/new", 307)}) as receiver:
        assert (await post(receiver.url_for("/old")))[0] == 307
        assert (await post(receiver.url_for("/old"), allow_redirects=True))[0] == 200
        assert [r.path for r in receiver.requests] == ["/old", "/old", "/new"]


@pytest.mark.parametrize(
    ("option", "make"),
    [
        ("status", lambda: Answer(101)),
        ("after_bytes", lambda: CloseMidResponse(Answer(body=b"abc"), 3)),
    ],
)
def test_a_fault_that_cannot_work_is_refused_at_construction(option: str, make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.option == option
