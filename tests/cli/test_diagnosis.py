"""Why a signature does not fit: each mistake that senders make is found by its name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from support import KEY

from relaybox_hooks.cli.diagnosis import diagnose
from relaybox_hooks.wire.signing import SigningKey

CANONICAL = b'{"a":1,"b":"x"}'
BODY = b'{"b": "x", "a": 1}'
STRING = json.dumps(CANONICAL.decode()).encode()

BARE = "the canonical text itself is signed, not a JSON string of it"
RAW = "the body is signed as it is, not a JSON string of its canonical text"
HEX = "the key is decoded from hex, which it must not be"


def sign(message: bytes, key: bytes = KEY.encode()) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def found(signature: str, *keys: str) -> str:
    (sentence,) = diagnose(list(keys or [KEY]), signature, BODY, CANONICAL)
    return sentence


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (sign(CANONICAL), BARE),
        (sign(BODY), RAW),
        (
            sign(json.dumps(BODY.decode()).encode()),
            "a JSON string of the body is signed, not of its canonical text",
        ),
        (sign(STRING, bytes.fromhex(KEY)), HEX),
        (
            sign(STRING, base64.b64decode(KEY)),
            "the key is decoded from base64, which it must not be",
        ),
        (sign(STRING, KEY.encode() + b"\n"), "a line's end is left on the key"),
        (sign(BODY, bytes.fromhex(KEY)), f"{HEX}, and {RAW}"),
    ],
)
def test_a_wrong_step_is_named(signature: str, said: str) -> None:
    assert found(signature) == f"it fits if {said}"


def test_white_space_around_a_key_is_noticed() -> None:
    said = "it fits if the white space around the key is taken off"
    assert found(sign(STRING), f" {KEY}\n") == said


@pytest.mark.parametrize("spelling", [str.upper, "sha256={}".format, "{} ".format])
def test_another_spelling_is_noticed(spelling: object) -> None:
    signature = spelling(SigningKey(KEY).sign(CANONICAL))  # type: ignore[operator]
    assert found(signature) == (
        f"it fits, but is written {signature!r}: write 64 lower-case hex digits"
    )


def test_base64_is_noticed() -> None:
    signature = base64.b64encode(bytes.fromhex(SigningKey(KEY).sign(CANONICAL))).decode()
    assert found(signature).startswith("it fits, but is written ")


def test_of_several_keys_the_one_that_nearly_fits_is_numbered() -> None:
    assert found(sign(CANONICAL), "another", KEY).startswith("it fits under key 2 if ")


def test_what_is_no_signature_is_said_to_be_none() -> None:
    assert found("5d41") == (
        "it is no signature: the protocol has 64 lower-case hex digits, this is 4 characters"
    )


def test_where_nothing_fits_the_key_or_the_body_is_another() -> None:
    assert found(sign(STRING, b"another key")).startswith("nothing near it fits either: ")
