"""What ``listen`` shows of a request: a line for people, a record for programs."""

from __future__ import annotations

from functools import partial
from signal import SIGINT

from aiohttp import ClientSession
from support import KEY
from support.programs import Listen, Start
from support.signing import signed

from relaybox_hooks import Session

joined = partial(
    signed, data={"roomId": "ü"}, session=Session(client_id="zoe", connection_id="c-1")
)


async def test_a_request_that_holds_is_a_line(start: Start) -> None:
    program = await start("listen", "--port", "0", "--payload", RELAYBOX_SIGNING_KEY=KEY)
    first = await program.line()
    assert first.startswith("receiving at http://127.0.0.1:")
    url = first.split()[2]
    async with ClientSession() as http:
        headers, body = joined(age=1)
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
        headers, body = joined()
        async with http.post(url, data=body, headers=headers) as response:
            assert response.status == 204
        assert (await program.line()).split()[1] == "duplicate"
    code, _, errors = await program.ends(SIGINT)
    assert (code, errors) == (0, "")


async def test_what_must_not_be_trusted_is_refused_with_the_reason(start: Start) -> None:
    program = await start("listen", "--port", "0", "--payload", "--key", KEY)
    url = (await program.line()).split()[2]
    headers, body = joined()
    requests: tuple[tuple[int, str, tuple[dict[str, str], bytes]], ...] = (
        (401, "InvalidSignatureError", joined(key="another key")),
        (401, "TimestampError", joined(age=60)),
        (400, "MissingHeaderError", ({}, body)),
        (400, "MalformedBodyError", (headers, b"{\x1b[2J")),
    )
    async with ClientSession() as http:
        for status, error, (fields, sent) in requests:
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
        for headers, body in (joined(), joined(key="another key")):
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
