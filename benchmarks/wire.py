"""What do encoding, signing and verifying cost beside the obvious way to write them?

The body is ``room:publish`` in its documented form, of a session with a user. The obvious way is
``rfc8785.dumps`` of the whole, ``json.dumps`` of that text, ``hmac.new`` of this one; and to
verify, the same of what ``json.loads`` made of the body.

A session belongs to a connection and is encoded for its first event only; the obvious way has
nothing like it. What a session's first event costs is listed beside it. So is
``WebhookVerifier.verify``, which checks the time and the replays too and makes an event of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from itertools import count
from time import time
from typing import Any, Final

import rfc8785

from benchmarks.harness import main
from benchmarks.processes import run_loop
from benchmarks.result import Result
from benchmarks.turns import Turns, plain, spread, take_turns
from relaybox_hooks import Session, WebhookVerifier, verify_webhook_signature
from relaybox_hooks.wire.envelope import Envelope, format_timestamp
from relaybox_hooks.wire.json_parsing import parse
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
_ID: Final = "0192b45e-77f1-7d3a-9c56-1f0a5cf6e1d2"
_NAME: Final = "room:publish"
_MAX_BODY: Final = 1_048_576
_DATA: Final = {
    "message": {"text": "Shall we meet at eight, in front of the cinema?"},
    "roomId": "chat:one",
    "event": "message",
}
_SESSION: Final[dict[str, Any]] = {
    "appPid": "RF6lWPaGHHHR",
    "keyId": "j0SkOl15fgtT",
    "clientId": "P0nEJBOKTZaj",
    "connectionId": "RF6lWPaGHHHR:b_CZfSVSEyG7",
    "socketId": "8055ca81-9a4a-31b4-8b4a-1ef67844082b",
    "timestamp": "2024-10-22T13:14:49.823Z",
    "exp": 1729603189,
    "user": {
        "id": "19",
        "clientId": "P0nEJBOKTZaj",
        "createdAt": "2024-10-22T10:10:22.755Z",
        "updatedAt": "2024-10-22T10:10:22.755Z",
        "username": "MarxistPinniped997",
        "orgId": "841447d5-f696-405f-b7a9-3eecc2f82c36",
        "appId": "73070aee-7f8b-40c2-9eba-8216e4c86654",
        "isOnline": True,
        "lastOnline": "2024-10-22T12:49:58.897Z",
        "blockedAt": None,
        "firstName": None,
        "lastName": None,
    },
}

OBVIOUS_SEND: Final = "rfc8785 + json + hmac.new"
SEND: Final = "encode and sign"
FIRST_SEND: Final = "a session's first"
AGAIN: Final = "a further attempt"
OBVIOUS_VERIFY: Final = "json + rfc8785 + json + hmac.new"
VERIFY: Final = "parse and verify"
VERIFY_STR: Final = "verify_webhook_signature"
VERIFIER: Final = "WebhookVerifier.verify"


def obvious_signature(body: Any) -> tuple[bytes, str]:
    """A body's canonical text and its signature, straight from the protocol's description."""
    canonical = rfc8785.dumps(body)
    text = json.dumps(canonical.decode(), ensure_ascii=False)
    return canonical, hmac.new(_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def obvious_send() -> tuple[bytes, str]:
    """All of a request that takes time to compute."""
    now = format_timestamp(time())
    return obvious_signature(
        {"id": _ID, "event": _NAME, "data": _DATA, "session": _SESSION, "timestamp": now}
    )


def sender(session: Session | None) -> Callable[[], tuple[bytes, str]]:
    """The same through our own parts; without a ``session``, of a new one each time."""
    key = SigningKey(_KEY)

    def send() -> tuple[bytes, str]:
        now, one = time(), session or Session.of(_SESSION)
        envelope = Envelope.encode(_ID, _NAME, _DATA, one, _MAX_BODY, time=now)
        body = envelope.at(format_timestamp(now))
        return body, key.sign(body)

    return send


def attempts() -> Callable[[], tuple[bytes, str]]:
    """What each attempt after the first, and each further webhook, costs."""
    key = SigningKey(_KEY)
    envelope = Envelope.encode(_ID, _NAME, _DATA, Session.of(_SESSION), _MAX_BODY, time=time())

    def attempt() -> tuple[bytes, str]:
        body = envelope.at(format_timestamp(time()))
        return body, key.sign(body)

    return attempt


def arrivals(start: int) -> Callable[[], tuple[dict[str, str], bytes]]:
    """Requests as a verifier sees them. Each has an id of its own, for none passes twice."""
    key, session, numbers = SigningKey(_KEY), Session.of(_SESSION), count(start)

    def arrive() -> tuple[dict[str, str], bytes]:
        event_id = f"0192b45e-77f1-7d3a-9c56-{next(numbers):012x}"
        now = time()
        envelope = Envelope.encode(event_id, _NAME, _DATA, session, _MAX_BODY, time=now)
        # As RelayBox's service writes it: the protocol's order of members, not the canonical one.
        body = json.dumps(
            {
                member: json.loads(envelope.at(format_timestamp(now)))[member]
                for member in ("id", "event", "data", "session", "timestamp")
            },
            separators=(",", ":"),
        ).encode()
        signature = key.sign(parse(body)[1])
        return {SIGNATURE_HEADER: signature, WEBHOOK_ID_HEADER: "webhook-1"}, body

    return arrive


def obvious_verify(body: bytes, signature: str) -> bool:
    """Straight from the protocol's description."""
    return hmac.compare_digest(obvious_signature(json.loads(body))[1], signature)


async def sending(rounds: int, size: int) -> Turns:
    """Encode and sign; all make bodies that verify."""
    contenders = {
        SEND: sender(Session.of(_SESSION)),
        FIRST_SEND: sender(None),
        AGAIN: attempts(),
        OBVIOUS_SEND: obvious_send,
    }
    for send in contenders.values():
        body, signature = send()
        assert obvious_verify(body, signature)
    turns = {name: plain(send) for name, send in contenders.items()}
    return await take_turns(turns, rounds=rounds, size=size)


async def verifying(rounds: int, size: int) -> Turns:
    """Verify raw bytes."""
    headers, body = arrivals(0)()
    signature, key = headers[SIGNATURE_HEADER], SigningKey(_KEY)
    contenders: dict[str, Callable[[], bool]] = {
        VERIFY: lambda: key.verify(parse(body)[1], signature),
        VERIFY_STR: lambda: verify_webhook_signature(body, signature, _KEY),
        OBVIOUS_VERIFY: lambda: obvious_verify(body, signature),
    }
    assert all(verify() for verify in contenders.values())
    turns = {name: plain(verify) for name, verify in contenders.items()}
    many = arrivals(1)
    requests = [many() for _ in range((rounds + 1) * size)]
    arriving = iter(requests)
    verifier = WebhookVerifier(_KEY, tolerance=3600, memory=1 + len(requests))
    turns[VERIFIER] = plain(lambda: verifier.verify(*next(arriving)))
    return await take_turns(turns, rounds=rounds, size=size)


def measure_sending(rounds: int, size: int) -> Turns:
    """In this process."""
    return run_loop(sending(rounds, size))


def measure_verifying(rounds: int, size: int) -> Turns:
    """In this process."""
    return run_loop(verifying(rounds, size))


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    rounds, size = (2, 20) if quick else (100, 250)
    sent = spread(measure_sending, rounds, size)
    verified = spread(measure_verifying, rounds, size)
    return Result(
        tables=[
            sent.table(
                f"To send, {len(obvious_send()[0])} bytes",
                [SEND, FIRST_SEND, AGAIN],
                [OBVIOUS_SEND],
            ),
            verified.table("To receive", [VERIFY, VERIFY_STR, VERIFIER], [OBVIOUS_VERIFY]),
        ],
        targets=[
            sent.target(SEND, OBVIOUS_SEND, 1 / 12),
            verified.target(VERIFY, OBVIOUS_VERIFY, 1 / 6),
        ],
        figures={"send": sent.seconds, "verify": verified.seconds},
        contenders=["rfc8785", "pyperf"],
        samples=sent.samples("send") | verified.samples("verify"),
    )


if __name__ == "__main__":
    main("wire", __doc__, run)
