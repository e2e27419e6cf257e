"""Requests that ``listen`` passes on, and the answers that it passes back."""

from __future__ import annotations

from signal import SIGINT

from aiohttp import ClientSession
from support import KEY
from support.programs import Listen, Start
from support.signing import signed

from relaybox_hooks.testing import Answer, FaultReceiver


async def test_requests_are_passed_on_as_they_came_and_answers_back(start: Start) -> None:
    answer = Answer(418, {"X-Mine": "yes", "Retry-After": "3"}, b"a teapot")
    async with FaultReceiver(answer) as target:
        program = await start(
            *("listen", "--port", "0", "--key", KEY, "--forward-to", target.url_for("/in?side=2"))
        )
        url = (await program.line()).split()[2]
        headers, body = signed()
        async with (
            ClientSession() as http,
            http.post(url, data=body, headers={**headers, "X-Custom": "a  b"}) as response,
        ):
            assert (response.status, await response.read()) == (418, b"a teapot")
            assert (response.headers["X-Mine"], response.headers["Retry-After"]) == ("yes", "3")
            sent = response.request_info.headers
        (passed_on,) = target.requests
        assert (passed_on.method, passed_on.path, passed_on.query) == ("POST", "/in", "side=2")
        assert passed_on.body == body
        assert {**passed_on.headers} == {**sent, "Host": passed_on.headers["Host"]}
        assert "verified  → forwarding" in await program.line()
        assert "forwarded → 418" in await program.line()
        await target.aclose()
        async with ClientSession() as http, http.post(url, data=body) as response:
            assert response.status == 502
        assert "REFUSED   → forwarding" in await program.line()
        assert "forwarded → ClientConnectorError: " in await program.line()
        assert (await program.ends(SIGINT)).code == 0


async def test_what_the_options_answer_is_answered_instead_of_the_targets(listen: Listen) -> None:
    async with FaultReceiver() as target:
        listening = await listen("--forward-to", target.url, "--status", "500")
        headers, body = signed()
        async with (
            ClientSession() as http,
            http.post(listening.url, data=body, headers=headers) as response,
        ):
            assert response.status == 500
        assert len(target.requests) == 1
        assert (await listening.program.record())["answer"] == "500"
        record = await listening.program.record()
        assert (record["type"], record["id"], record["status"]) == ("forwarded", "e-1", 200)
