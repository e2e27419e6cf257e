"""What ``listen`` answers as it was told to misbehave."""

from __future__ import annotations

import asyncio

from aiohttp import ClientSession
from support.programs import Listen
from support.signing import signed


def wire(url: str) -> tuple[str, int, bytes]:
    """Where to connect to, and a signed request as bytes."""
    host, port = url.removeprefix("http://").strip("/").split(":")
    headers, body = signed()
    fields = {**headers, "Host": host, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return host, int(port), f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body


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
            headers, body = signed(str(number))
            async with http.post(listening.url, data=body, headers=headers) as response:
                answers.append((response.status, response.headers.get("Retry-After")))
    assert answers == [(503, "7"), (204, None)]
    assert (await listening.program.record())["answer"] == "503 after 0.01 s"
    assert (await listening.program.record())["answer"] == "204"
