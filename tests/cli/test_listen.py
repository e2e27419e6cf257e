"""``listen``: what it shows of requests, how it answers, and how it ends."""

from __future__ import annotations

import socket
from signal import SIGINT

import pytest
from aiohttp import ClientSession
from support import KEY
from support.programs import Call, Listen, Run, Start
from support.signing import signed

from relaybox_hooks import generate_signing_key


async def test_several_keys_are_accepted_and_another_window(listen: Listen) -> None:
    second = generate_signing_key()
    listening = await listen("--key", second, "--tolerance", "0", "--max-requests", "1")
    headers, body = signed(key=second, age=1e6)
    async with ClientSession() as http, http.post(listening.url, data=body, headers=headers):
        pass
    record = await listening.program.record()
    assert (record["verified"], record["key"]) == (True, 2)
    assert (await listening.program.ends()).code == 0


async def test_a_key_is_made_up_where_none_is_given(start: Start) -> None:
    program = await start("listen", "--port", "0")
    url = (await program.line()).split()[2]
    key = (await program.line()).removeprefix("signing key ").split()[0]
    headers, body = signed(key=key)
    async with ClientSession() as http, http.post(url, data=body, headers=headers) as response:
        assert response.status == 204
    assert (await program.ends(SIGINT)).code == 0


async def test_a_port_in_use_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, _, errors = await run("listen", "--port", str(port), "--key", KEY)
    assert code == 2
    assert f"port {port} is in use: end the program that has it" in errors


async def test_it_listens_at_another_address(start: Start) -> None:
    if not socket.has_ipv6:
        pytest.fail("this machine has no IPv6 to test with")
    program = await start("listen", "--host", "::1", "--port", "0", "--key", KEY)
    url = (await program.line()).split()[2]
    assert url.startswith("http://[::1]:")
    async with ClientSession() as http, http.get(url) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fault", "hang", "--status", "500"], "--fault hang sends no status"),
        (["--status", "99"], "use a final status, 200 to 599"),
        (["--fault", "rest"], "'reset'"),
        (["--forward-to", "localhost:80"], "give an http:// or https:// URL with a host"),
        (["--host", "256.0.0.1"], "port 0 at 256.0.0.1"),
    ],
)
def test_options_that_cannot_work_are_refused(call: Call, options: list[str], said: str) -> None:
    code, _, errors = call("listen", "--port", "0", *options)
    assert code == 2
    assert said in errors
