"""The FastAPI receiver as a program: what it lets in, what it counts, how it ends."""

from __future__ import annotations

import signal
from typing import Any, Final

from aiohttp import ClientSession
from support.examples import Run
from support.programs import Program
from support.signing import signed

from relaybox_hooks import Hooks, RetryPolicy, Webhook

#: Goes before the one that is in the environment.
KEY: Final = "a key on the command line"


async def start(run: Run, *arguments: str) -> tuple[Program, str]:
    """A running receiver and its URL."""
    program = await run("fastapi_receiver.py", "--port", "0", "--key", KEY, *arguments)
    return program, (await program.line()).removeprefix("receiving at ")


async def post(http: ClientSession, url: str, headers: dict[str, str], body: bytes) -> Any:
    """The status of the answer, or the error in it."""
    async with http.post(url, headers=headers, data=body) as response:
        return response.status if response.status == 204 else (await response.json())["error"]


async def counts(http: ClientSession, url: str) -> Any:
    async with http.get(url.replace("/webhook", "/counts")) as response:
        return await response.json()


async def test_events_of_hooks_are_counted_once(run: Run) -> None:
    """Though the first three requests fail, and their events come again."""
    program, url = await start(run, "--fail-first", "3")
    webhook = Webhook(url, ["room:*"], KEY, retry=RetryPolicy(initial=0.01))
    async with Hooks([webhook]) as hooks, ClientSession() as http:
        for number in range(5):
            await hooks.emit("room:join", {"roomId": f"\x9b{number}"})
        await hooks.join()
        assert await counts(http, url) == {"room:join": 5}
    lines = sorted([await program.line() for _ in range(5)])
    assert lines[0] == r'counted ["room:join", {"roomId": "\u009b0"}]'


async def test_untrusted_requests_are_refused_and_said_why(run: Run) -> None:
    program, url = await start(run)
    headers, body = signed(key=KEY)
    async with ClientSession() as http:
        assert await post(http, url, headers, body) == 204
        assert await post(http, url, headers, body) == "ReplayedRequestError"
        assert await post(http, url, *signed("e-2", key="forged")) == "InvalidSignatureError"
        assert await post(http, url, *signed("e-3", key=KEY, age=60)) == "TimestampError"
        assert await post(http, url, {}, body) == "MissingHeaderError"
        assert await post(http, url, headers, b"{") == "MalformedBodyError"
        assert await counts(http, url) == {"room:join": 1}
    _, _, errors = await program.ends(signal.SIGINT)
    assert errors.count("a webhook request was answered 40") == 5
    assert "event e-1: this very request was accepted before (a replay)" in errors
    assert KEY not in errors


async def test_it_ends_in_peace(run: Run) -> None:
    program, _ = await start(run)
    assert await program.ends(signal.SIGINT) == (0, "", "")
