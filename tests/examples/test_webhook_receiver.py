"""The example receiver: what it answers, and the line it shows of each request."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from support import KEY
from support.examples import Run
from support.programs import Program
from support.signing import signed

from relaybox_hooks import Session, User


class Sender:
    """Posts hand-signed requests to a running receiver and reads the lines it shows."""

    def __init__(self, http: ClientSession, url: str, program: Program) -> None:
        self._http = http
        self._url = url
        self._program = program

    async def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        """The status, the answer's ``error``, and the line shown."""
        async with self._http.post(self._url, data=body, headers=headers) as response:
            error = "" if response.status == 204 else (await response.json())["error"]
        return response.status, error, await self._program.line()

    async def send(
        self, username: str = "ada", key: str = KEY, age: float = 0
    ) -> tuple[int, str, str]:
        """Post an event of this user, signed ``age`` seconds ago."""
        headers, body = joined(username, key, age)
        return await self.post(body, headers)


def joined(username: str = "ada", key: str = KEY, age: float = 0) -> tuple[dict[str, str], bytes]:
    """The request that tells of a user who joined the lobby."""
    session = Session(user=User(username=username))
    return signed(data={"roomId": "lobby"}, session=session, key=key, age=age)


@pytest.fixture
async def sender(run: Run) -> AsyncIterator[Sender]:
    program = await run("receiver.py", "--port", "0")
    url = (await program.line()).removeprefix("receiving at ")
    async with ClientSession() as http:
        yield Sender(http, url, program)


async def test_verified_request_is_one_readable_line(sender: Sender) -> None:
    status, _, line = await sender.send()
    assert status == 204
    assert line.split() == ["verified", "room:join", "ada", '{"roomId":', '"lobby"}']


async def test_retry_is_accepted_and_marked(sender: Sender) -> None:
    await sender.send(age=2)
    status, _, line = await sender.send(age=1)
    assert status == 204
    assert line.startswith("verified  room:join (duplicate)")


async def test_untrusted_requests_are_refused_with_the_reason(sender: Sender) -> None:
    forged = await sender.send(key="another key")
    stale = await sender.send(age=60)
    headers, body = joined()
    anonymous = await sender.post(body, {})
    malformed = await sender.post(b"{", headers)
    await sender.post(body, headers)
    replayed = await sender.post(body, headers)
    for (status, error, line), expected, name in (
        (forged, 401, "InvalidSignatureError"),
        (stale, 401, "TimestampError"),
        (anonymous, 400, "MissingHeaderError"),
        (malformed, 400, "MalformedBodyError"),
        (replayed, 401, "ReplayedRequestError"),
    ):
        assert (status, error) == (expected, name)
        assert line.startswith(f"REFUSED  {expected} {name}: ")


async def test_line_cannot_move_the_terminals_cursor(sender: Sender) -> None:
    _, _, line = await sender.send("\x1b[2Jada\x9b2J\n")
    assert line.isprintable()
    assert "�[2Jada�2J�" in line


async def test_first_requests_fail_where_that_is_asked_for(run: Run) -> None:
    program = await run("receiver.py", "--port", "0", "--fail-first", "1")
    url = (await program.line()).removeprefix("receiving at ")
    async with ClientSession() as http:
        sender = Sender(http, url, program)
        status, _, line = await sender.send(age=1)
        assert (status, line[:14]) == (503, "deferred  503 ")
        status, _, line = await sender.send()
        assert (status, line[:20]) == (204, "verified  room:join ")
