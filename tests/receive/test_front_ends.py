"""What every front end promises, over real HTTP: the same requests, the same answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from support import KEY
from support.front_ends import MAX_BODY, PATH, Receiver
from support.signing import Headers, signed

from relaybox_hooks import Hooks, ReceivedEvent, RetryPolicy, Webhook
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER

#: Must not be in any answer.
SECRET: Final = "chat:the-payload"
#: A signature and an id, as everybody can send them.
CLAIM: Final = {SIGNATURE_HEADER: "0" * 64, WEBHOOK_ID_HEADER: "crm"}


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not stated."""
    for part in parts:
        yield part


def of_length(length: int) -> tuple[Headers, bytes]:
    """A good request whose body has so many bytes."""
    shortest = len(signed(data="")[1])
    return signed(data="x" * (length - shortest))


async def test_a_verified_request_reaches_the_handler_with_its_event(receiver: Receiver) -> None:
    headers, body = signed("e-1", {"roomId": SECRET})
    assert await receiver.send(headers, body) == (204, None)
    (event,) = receiver.application.events
    assert isinstance(event, ReceivedEvent)
    assert (event.id, event.name, event.data) == ("e-1", "room:join", {"roomId": SECRET})
    assert (event.session.client_id, event.webhook_id, event.duplicate) == ("zoe", "crm", False)


async def test_the_body_is_still_there_to_be_read(receiver: Receiver) -> None:
    headers, body = signed()
    await receiver.send(headers, body)
    await receiver.send(*signed("e-2", "x" * 30_000))
    assert receiver.application.bodies[0] == body
    assert len(receiver.application.bodies[1]) > 30_000


async def test_a_body_of_unstated_length_is_verified(receiver: Receiver) -> None:
    headers, body = signed(data={"roomId": "a" * 5000})
    assert await receiver.send(headers, chunks(body[:7], body[7:4000], body[4000:])) == (204, None)
    assert receiver.application.bodies == [body]


def untrusted() -> dict[str, tuple[Headers, bytes, int, str]]:
    """Requests with what is wrong with them, and what they are answered."""
    headers, body = signed(data=SECRET)
    signature = {SIGNATURE_HEADER: headers[SIGNATURE_HEADER]}
    webhook = {WEBHOOK_ID_HEADER: "crm"}
    changed = body.replace(b"zoe", b"ada")
    return {
        "no signature": (webhook, body, 400, "MissingHeaderError"),
        "no webhook id": (signature, body, 400, "MissingHeaderError"),
        "no body": (headers, b"", 400, "MalformedBodyError"),
        "no JSON": (headers, body[:-1], 400, "MalformedBodyError"),
        "changed": (headers, changed, 401, "InvalidSignatureError"),
        "forged": (CLAIM, body, 401, "InvalidSignatureError"),
        "another key": (*signed(data=SECRET, key="another"), 401, "InvalidSignatureError"),
        "stale": (*signed(data=SECRET, age=60), 401, "TimestampError"),
        "from the future": (*signed(data=SECRET, age=-60), 401, "TimestampError"),
    }


async def test_a_request_that_is_not_to_be_trusted_is_refused(receiver: Receiver) -> None:
    """With a reason that gives away neither the key nor anything of the request."""
    for fault, (headers, body, status, error) in untrusted().items():
        answered, answer = await receiver.send(headers, body)
        assert (answered, answer["error"]) == (status, error), fault
        assert set(answer) == {"error", "reason"}
        for private in (KEY, SECRET, "e-1", *headers.values()):
            assert private not in answer["reason"]
    assert not receiver.application.events


async def test_a_replayed_request_is_refused(receiver: Receiver) -> None:
    headers, body = signed()
    assert (await receiver.send(headers, body))[0] == 204
    status, answer = await receiver.send(headers, body)
    assert (status, answer["error"]) == (401, "ReplayedRequestError")
    assert len(receiver.application.events) == 1


async def test_any_other_method_is_refused(receiver: Receiver) -> None:
    headers, _ = signed()
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        async with receiver.http.request(method, receiver.url, headers=headers) as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
            assert response.content_type == "application/json"
    assert not receiver.application.events


async def test_a_body_may_be_as_long_as_the_bound(receiver: Receiver) -> None:
    headers, body = of_length(MAX_BODY)
    assert len(body) == MAX_BODY
    assert (await receiver.send(headers, body))[0] == 204
    headers, body = of_length(MAX_BODY)
    assert (await receiver.send(headers, chunks(body)))[0] == 204


async def test_one_byte_more_is_too_long(receiver: Receiver) -> None:
    headers, body = of_length(MAX_BODY + 1)
    for form in (body, chunks(body)):
        status, answer = await receiver.send(headers, form)
        assert (status, answer["error"]) == (413, "BodyTooLarge")
        assert str(MAX_BODY) in answer["reason"]
    assert not receiver.application.events


def head(headers: Headers, framing: str) -> bytes:
    """A request up to its body."""
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", framing]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def answer_before(
    receiver: Receiver, framing: str, sent: bytes, rest: bytes
) -> tuple[int, Any]:
    """The answer to a request of whose body ``rest`` is not sent before the answer is there."""
    async with receiver.connection() as (reader, writer), asyncio.timeout(20):
        writer.write(head(CLAIM, framing) + sent)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        length = next(line for line in lines if line.lower().startswith("content-length:"))
        body = await reader.readexactly(int(length.split(":")[1]))
        # aiohttp waits ten seconds for it, even when the client has left.
        writer.write(rest)
    return int(status.split()[1]), json.loads(body)


async def test_a_long_body_is_refused_by_its_stated_length_alone(receiver: Receiver) -> None:
    """Before one byte of it was sent."""
    length = MAX_BODY + 1
    status, answer = await answer_before(
        receiver, f"Content-Length: {length}", b"", rest=b" " * length
    )
    assert (status, answer["error"]) == (413, "BodyTooLarge")


async def test_an_endless_body_is_refused_at_the_bound(receiver: Receiver) -> None:
    """While there are still chunks to come."""
    chunk = b"%x\r\n%s\r\n" % (MAX_BODY // 4, b" " * (MAX_BODY // 4))
    status, answer = await answer_before(
        receiver, "Transfer-Encoding: chunked", chunk * 5, rest=chunk + b"0\r\n\r\n"
    )
    assert (status, answer["error"]) == (413, "BodyTooLarge")


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_nothing_to_report(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    headers, body = signed()
    async with receiver.connection() as (_, writer):
        writer.write(head(headers, f"Content-Length: {len(body)}") + body[:-1])
    assert (await receiver.send(*signed("e-2")))[0] == 204
    assert [event.id for event in receiver.application.events] == ["e-2"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_handler_that_failed_gets_the_retry(receiver: Receiver) -> None:
    """The retry is marked as a duplicate, and is no less to be handled for that."""
    receiver.application.failures = 1
    assert (await receiver.send(*signed(age=2)))[0] == 500
    assert (await receiver.send(*signed(age=1)))[0] == 204
    assert (await receiver.send(*signed(age=0)))[0] == 204
    assert [event.duplicate for event in receiver.application.events] == [False, True, True]
    assert receiver.application.done == ["e-1"]


async def test_hooks_deliver_every_event_once(receiver: Receiver) -> None:
    """A real sender, whose retries make up for a handler that fails."""
    receiver.application.failures = 3
    retry = RetryPolicy(initial=0.01)
    async with Hooks([Webhook(receiver.url, ["room:*"], KEY, retry=retry)]) as hooks:
        receipts = [await hooks.emit("room:join", {"roomId": str(n)}) for n in range(20)]
        await hooks.join()
        assert hooks.stats().delivered == 20
    assert sorted(receiver.application.done) == sorted(receipt.event_id for receipt in receipts)
    assert len(receiver.application.events) == 23


async def test_hooks_with_another_key_are_told_at_once(receiver: Receiver) -> None:
    async with Hooks([Webhook(receiver.url, ["room:*"], "another key")], logging=False) as hooks:
        await hooks.emit("room:join", {"roomId": "lobby"})
        await hooks.join()
        (letter,) = await hooks.dead_letters()
    assert letter.outcome is not None
    assert (letter.reason, letter.outcome.status) == ("rejected", 401)


async def test_what_an_answer_leaves_out_is_in_the_log(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "relaybox_hooks")
    await receiver.send(*signed(data=SECRET, age=60))
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("relaybox_hooks.")]
    assert line.startswith("a webhook request was answered 401: timestamp 20")
    assert "30 s are allowed" in line
    assert SECRET not in line
