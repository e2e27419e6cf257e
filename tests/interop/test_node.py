"""Signatures against an independent implementation: Node's crypto with json-canonicalize."""

from __future__ import annotations

import json
import math
import random
import struct
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
from support.node import NodeReceiver

from relaybox_hooks import Hooks, Webhook, __version__
from relaybox_hooks.receive import verify_webhook_signature
from relaybox_hooks.session import Session
from relaybox_hooks.wire.envelope import Envelope, format_timestamp
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

COUNT: Final = 500
SIGN: Final = Path(__file__).with_name("sign.mjs")
CHARACTERS: Final = (
    'aZ09 "\\/\0\b\t\n\f\r\x1f\x7f\x80'
    "éö€\u2028\u2029日\ue000\ufb33\uff0c\uffff😀\U0001d4b3\U0010ffff"
)
NUMBERS: Final = (
    *(0, -1, 2**53 - 1, 1 - 2**53),
    *(0.0, -0.0, 1.0, 1e-5, 9.9e-6, 1e-6, 1e-7, 5e-324, 1e15, 1e16, 2.0**53, 1e20, 1e21, 1e22),
    *(math.nan, math.inf, -math.inf),
)


def test_we_verify_what_node_signed(node: str) -> None:
    """RelayBox's own text, and the same values in other words: escapes, digits, order, space."""
    command = [node, str(SIGN), "20241022", str(COUNT)]
    output = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    requests = [json.loads(line) for line in output.splitlines()]
    assert len(requests) == COUNT
    for request in requests:
        body, signature, key = request["body"].encode(), request["signature"], request["signingKey"]
        assert verify_webhook_signature(body, signature, key), request["body"]
        assert verify_webhook_signature(request["body"], signature, key)
        assert not verify_webhook_signature(body, signature, f"{key}x")


async def test_node_verifies_what_we_sent(node_receiver: NodeReceiver) -> None:
    """Over HTTP, from the raw body, which must be the canonical text to the last byte."""
    rng = random.Random(20241022)
    key = SigningKey(node_receiver.signing_key)
    async with aiohttp.ClientSession() as session:
        for number in range(COUNT):
            envelope = _envelope(rng, number)
            body = envelope.at(format_timestamp(time.time()))
            headers = _headers(key.sign(body))
            async with session.post(node_receiver.url, data=body, headers=headers) as response:
                assert response.status == 200, body
    report = await node_receiver.report()
    assert report["accepted"] == COUNT
    assert all(seen["canonical"] for seen in report["requests"])
    assert {seen["webhookId"] for seen in report["requests"]} == {"crm"}
    assert [seen["id"] for seen in report["requests"]] == [str(n) for n in range(COUNT)]


async def test_node_verifies_what_running_hooks_delivered(node_receiver: NodeReceiver) -> None:
    """The whole way: emit, queue, sign, HTTP, with the attempt's own fresh timestamp."""
    rng = random.Random(20261123)
    webhook = Webhook(
        node_receiver.url, ["*"], node_receiver.signing_key, id="crm", order_by="none"
    )
    hooks = Hooks[Literal["order:paid"]]([webhook], custom_events=["order:paid"])
    async with hooks:
        receipts = [
            await hooks.emit("order:paid", _value(rng, 5), Session(client_id=_text(rng)))
            for _ in range(COUNT)
        ]
        await hooks.join()
        assert hooks.stats().delivered == COUNT
    report = await node_receiver.report()
    assert report["accepted"] == COUNT
    assert report["rejected"] == 0
    assert {seen["id"] for seen in report["requests"]} == {r.event_id for r in receipts}
    assert all(seen["canonical"] for seen in report["requests"])
    assert {seen["userAgent"] for seen in report["requests"]} == {f"relaybox-hooks/{__version__}"}
    assert all(seen["age"] < 30_000 for seen in report["requests"])


async def test_node_refuses_what_was_changed(node_receiver: NodeReceiver) -> None:
    """The receiver of the other tests is no yes-man."""
    body = _envelope(random.Random(1), 7).at(format_timestamp(time.time()))
    signature = SigningKey(node_receiver.signing_key).sign(body)
    tampered = (
        (body.replace(b'"id":"7"', b'"id":"8"'), signature),
        (body, SigningKey("another key").sign(body)),
        (b"no JSON", signature),
    )
    async with aiohttp.ClientSession() as session:
        for data, claimed in tampered:
            async with session.post(
                node_receiver.url, data=data, headers=_headers(claimed)
            ) as response:
                assert response.status == 401
    report = await node_receiver.report()
    assert (report["accepted"], report["rejected"]) == (0, len(tampered))


def _headers(signature: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        SIGNATURE_HEADER: signature,
        WEBHOOK_ID_HEADER: "crm",
    }


def _envelope(rng: random.Random, number: int) -> Envelope:
    data = _nested(rng, 240) if number % 50 == 49 else _value(rng, 5)
    session = Session(client_id=_text(rng), exp=_float(rng), user={"id": "u", _text(rng): 1.0})  # type: ignore[arg-type]
    return Envelope.encode(
        str(number), "room:publish", data, session, limit=1 << 20, time=time.time()
    )


def _value(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(8 if depth else 4)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind == 1:
        return rng.choice((_float(rng), rng.choice(NUMBERS), rng.randint(1 - 2**53, 2**53 - 1)))
    if kind < 4:
        return _text(rng)
    if kind < 6:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(5))]
    return {_text(rng): _value(rng, depth - 1) for _ in range(rng.randrange(7))}


def _nested(rng: random.Random, levels: int) -> Any:
    inner = _value(rng, 1)
    for level in range(levels):
        inner = [inner] if level % 2 else {"😀": inner, "\uff0c": level}
    return inner


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(CHARACTERS, k=rng.randrange(8)))


def _float(rng: random.Random) -> float:
    """Any double at all, of every magnitude alike."""
    value: float = struct.unpack("<d", rng.randbytes(8))[0]
    return value
