"""``listen``: what it shows of requests, how it answers, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import time
from signal import SIGINT
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from relaybox_hooks import Session, generate_signing_key
from relaybox_hooks.testing import Answer, FaultReceiver
from relaybox_hooks.wire.envelope import Envelope, format_timestamp
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Listen, Run, Start

KEY = "21d45d1d4dff46f13cd4478ba08395d9"


def signed(
    event_id: str = "e-1", *, key: str = KEY, age: float = 0, client_id: str = "zoe"
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a request that was signed ``age`` seconds ago."""
    session = Session(client_id=client_id, connection_id="c-1")
    envelope = Envelope.encode(event_id, "room:join", {"roomId": "ü"}, session, 10_000, time=0)
    body = envelope.at(format_timestamp(time.time() - age))
    return body, {SIGNATURE_HEADER: SigningKey(key).sign(body), WEBHOOK_ID_HEADER: "crm"}


def wire(url: str) -> tuple[str, int, bytes]:
    """Where to connect to, and a signed request as bytes."""
    host, port = url.removeprefix("http://").strip("/").split(":")
    body, headers = signed()
    fields = {**headers, "Host": host, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return host, int(port), f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body


async def test_a_request_that_holds_is_a_line(start: Start) -> None:
    program = await start("listen", "--port", "0", "--payload", RELAYBOX_SIGNING_KEY=KEY)
    first = await program.line()
    assert first.startswith("receiving at http://127.0.0.1:")
    url = first.split()[2]
    async with ClientSession() as http:
        body, headers = signed(age=1)
        async with http.post(url, data=body, headers=headers) as response:
            assert response.status == 204
        line = (await program.line()).split()
        assert line[1:] == [
            *("verified", "→", "204", "room:join", "e-1", "zoe", "c-1", "webhook", "crm")
        ]
        shown = [await program.line() for _ in range(4)]
        assert [part.strip() for part in shown] == ["{", '"data": {', '"roomId": "ü"', "},"]
        while (await program.line()) != " " * 14 + "}":
            pass
        body, headers = signed()
        async with http.post(url, data=body, headers=headers) as response:
            assert response.status == 204
        assert (await program.line()).split()[1] == "duplicate"
    code, _, errors = await program.ends(SIGINT)
    assert (code, errors) == (0, "")


async def test_what_must_not_be_trusted_is_refused_with_the_reason(start: Start) -> None:
    program = await start("listen", "--port", "0", "--payload", "--key", KEY)
    url = (await program.line()).split()[2]
    body, headers = signed()
    requests: tuple[tuple[int, str, tuple[bytes, dict[str, str]]], ...] = (
        (401, "InvalidSignatureError", signed(key="another key")),
        (401, "TimestampError", signed(age=60)),
        (400, "MissingHeaderError", (body, {})),
        (400, "MalformedBodyError", (b"{\x1b[2J", headers)),
    )
    async with ClientSession() as http:
        for status, error, (sent, fields) in requests:
            async with http.post(f"{url}a?b", data=sent, headers=fields) as response:
                assert response.status == status
            line = await program.line()
            assert line.isprintable()
            words = line.split()
            assert words[1:6] == ["REFUSED", "→", str(status), "POST", "/a"]
            assert words[6] == f"{error}:"
            shown = await program.line()
            assert shown.isprintable(), "the body cannot move the terminal's cursor"


async def test_programs_read_records(listen: Listen) -> None:
    listening = await listen("--max-requests", "2")
    async with ClientSession() as http:
        for body, headers in (signed(), signed(key="another key")):
            async with http.post(listening.url, data=body, headers=headers):
                pass
    record = await listening.program.record()
    del record["time"], record["timestamp"]
    assert record == {
        "type": "request",
        "method": "POST",
        "path": "/",
        "verified": True,
        "answer": "204",
        "event": "room:join",
        "id": "e-1",
        "webhook_id": "crm",
        "duplicate": False,
        "key": 1,
        "data": {"roomId": "ü"},
        "session": Session(client_id="zoe", connection_id="c-1").to_wire(),
    }
    record = await listening.program.record()
    assert (record["verified"], record["error"]) == (False, "InvalidSignatureError")
    assert '"roomId":"ü"' in record["body"]
    assert (await listening.program.ends()).code == 1, "one of them was not verified"


async def test_several_keys_are_accepted_and_another_window(listen: Listen) -> None:
    second = generate_signing_key()
    listening = await listen("--key", second, "--tolerance", "0", "--max-requests", "1")
    body, headers = signed(key=second, age=1e6)
    async with ClientSession() as http, http.post(listening.url, data=body, headers=headers):
        pass
    record = await listening.program.record()
    assert (record["verified"], record["key"]) == (True, 2)
    assert (await listening.program.ends()).code == 0


async def test_a_key_is_made_up_where_none_is_given(start: Start) -> None:
    program = await start("listen", "--port", "0")
    url = (await program.line()).split()[2]
    key = (await program.line()).removeprefix("signing key ").split()[0]
    body, headers = signed(key=key)
    async with ClientSession() as http, http.post(url, data=body, headers=headers) as response:
        assert response.status == 204
    assert (await program.ends(SIGINT)).code == 0


async def test_every_fault_is_met(listen: Listen) -> None:
    """One program each, all at the same time; each ends by itself after its one request."""

    async def meets(fault: str, said: str, *options: str) -> bytes:
        listening = await listen("--fault", fault, "--max-requests", "1", *options)
        host, port, request = wire(listening.url)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        assert (await listening.program.record())["answer"] == said
        try:
            if fault == "hang":
                return b"" if await _silent(reader) else b"an answer"
            return await (reader.readexactly(9000) if fault == "endless" else reader.read(400))
        except ConnectionResetError:
            return b"reset"
        finally:
            writer.close()
            assert (await listening.program.ends()).code == 0

    hang, reset, garbage, redirect, drip, cut, endless = await asyncio.gather(
        meets("hang", "hang"),
        meets("reset", "reset"),
        meets("garbage", "garbage"),
        meets("redirect", "redirect"),
        meets("drip", "200 drip"),
        meets("cut", "500 cut", "--status", "500"),
        meets("endless", "200 endless"),
    )
    assert hang == b""
    assert reset == b"reset"
    assert garbage.startswith(b"\x00\xff")
    assert redirect.startswith(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n")
    assert drip == b"H"
    assert cut.startswith(b"HTTP/1.1 500 ")
    assert cut.endswith(b"Content-Length: 9\r\n\r\ncut")
    assert b"Transfer-Encoding: chunked" in endless


async def _silent(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes while the server has had many turns to say something."""
    try:
        async with asyncio.timeout(0.2):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_only_the_first_requests_meet_what_the_options_say(listen: Listen) -> None:
    listening = await listen(
        *("--status", "503", "--retry-after", "7", "--delay", "0.01", "--first", "1")
    )
    answers = []
    async with ClientSession() as http:
        for number in range(2):
            body, headers = signed(str(number))
            async with http.post(listening.url, data=body, headers=headers) as response:
                answers.append((response.status, response.headers.get("Retry-After")))
    assert answers == [(503, "7"), (204, None)]
    assert (await listening.program.record())["answer"] == "503 after 0.01 s"
    assert (await listening.program.record())["answer"] == "204"


async def test_requests_are_passed_on_as_they_came_and_answers_back(start: Start) -> None:
    answer = Answer(418, {"X-Mine": "yes", "Retry-After": "3"}, b"a teapot")
    async with FaultReceiver(answer) as target:
        program = await start(
            *("listen", "--port", "0", "--key", KEY, "--forward-to", target.url_for("/in?side=2"))
        )
        url = (await program.line()).split()[2]
        body, headers = signed()
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
        body, headers = signed()
        async with (
            ClientSession() as http,
            http.post(listening.url, data=body, headers=headers) as response,
        ):
            assert response.status == 500
        assert len(target.requests) == 1
        assert (await listening.program.record())["answer"] == "500"
        record = await listening.program.record()
        assert (record["type"], record["id"], record["status"]) == ("forwarded", "e-1", 200)


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
