"""The command line against the independent implementation, as sender and as receiver."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import aiohttp
from support.node import NodeReceiver

from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER

COUNT: Final = 50
SIGN: Final = Path(__file__).with_name("sign.mjs")
PROGRAM: Final = str(Path(sys.executable).with_name("relaybox-hooks"))


def signed_by_node(node: str) -> list[dict[str, Any]]:
    command = [node, str(SIGN), "20261124", str(COUNT)]
    output = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    return [json.loads(line) for line in output.splitlines()]


async def test_listen_verifies_what_node_signed(node: str) -> None:
    """Its timestamps are of all times, so the window is left out."""
    requests = signed_by_node(node)
    keys = [part for key in sorted({r["signingKey"] for r in requests}) for part in ("--key", key)]
    options = ("--port", "0", "--json", "--tolerance", "0", "--max-requests", str(COUNT))
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "listen", *options, *keys, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = json.loads(await process.stdout.readline())["url"]
    async with aiohttp.ClientSession() as session:
        for request in requests:
            headers = {SIGNATURE_HEADER: request["signature"], WEBHOOK_ID_HEADER: "crm"}
            body = request["body"].encode()
            async with session.post(url, data=body, headers=headers) as response:
                assert response.status == 204, body
    output, _ = await process.communicate()
    records = list(map(json.loads, output.splitlines()))
    assert [record["id"] for record in records] == [
        json.loads(request["body"])["id"] for request in requests
    ]
    assert process.returncode == 0


async def test_node_verifies_what_trigger_sends(node_receiver: NodeReceiver) -> None:
    """An event without a connection, one without data, one with more than ASCII in it."""
    names = {"auth:signin", "auth:session:initialize", "presence:join"}

    async def trigger(name: str) -> int:
        options = ("--url", node_receiver.url, "--key", node_receiver.signing_key)
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "trigger", name, *options, stdout=asyncio.subprocess.DEVNULL
        )
        return await process.wait()

    assert set(await asyncio.gather(*map(trigger, names))) == {0}
    report = await node_receiver.report()
    assert (report["accepted"], report["rejected"]) == (len(names), 0)
    assert {seen["event"] for seen in report["requests"]} == names
    assert all(seen["canonical"] for seen in report["requests"])
