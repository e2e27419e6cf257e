"""``verify``: yes or no, and why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support import KEY
from support.programs import Call, Run

from relaybox_hooks import Session
from relaybox_hooks.wire.envelope import Envelope, format_timestamp
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, SigningKey


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    """What ``body.json`` holds: a request signed an hour ago."""
    envelope = Envelope.encode("e-1", "room:join", {"roomId": "x"}, Session(), 10_000, time=0)
    made = envelope.at(format_timestamp(time.time() - 3600))
    (tmp_path / "body.json").write_bytes(made)
    return made


async def test_a_signature_that_holds_is_a_yes(run: Run, body: bytes) -> None:
    signature = SigningKey(KEY).sign(body)
    code, output, errors = await run(
        "verify", "-", "--key", KEY, "--signature", signature, given=body.decode()
    )
    assert (code, errors) == (0, "")
    assert output.startswith("verified  room:join  e-1  signed 20")
    assert output.endswith(" s ago\n")


def test_a_header_line_does_as_well_and_further_keys(call: Call, body: bytes) -> None:
    line = f"{SIGNATURE_HEADER.lower()}: {SigningKey(KEY).sign(body)}"
    code, output, _ = call("verify", "body.json", "--key", "old", "--key", KEY, "-H", line)
    assert code == 0
    assert output.endswith(" s ago  under key 2 of 2\n")


def test_a_signature_that_does_not_is_a_no_with_what_to_compare(call: Call, body: bytes) -> None:
    signature = SigningKey("another key").sign(body)
    code, output, _ = call("verify", "body.json", "--key", KEY, "--signature", signature)
    assert code == 1
    lines = output.splitlines()
    assert lines[0].startswith("REFUSED  InvalidSignatureError: ")
    assert lines[1].startswith("because   nothing near it fits either: ")
    assert lines[2:] == [
        f"given     {signature}",
        f"expected  {SigningKey(KEY).sign(body)}",
        f"canonical {body.decode()}",
    ]


def test_the_window_is_checked_where_that_is_asked_for(call: Call, body: bytes) -> None:
    signature = SigningKey(KEY).sign(body)
    code, output, _ = call(
        "verify", "body.json", "--key", KEY, "--signature", signature, "--tolerance", "30"
    )
    assert code == 1
    assert output.startswith("REFUSED  TimestampError: ")
    assert "30 s are allowed" in output


def test_a_body_that_is_none_is_a_no(call: Call, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(b"<html>")
    code, output, _ = call("verify", "body.json", "--key", KEY, "--signature", "0" * 64)
    assert code == 1
    assert output.startswith("REFUSED  MalformedBodyError: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nothing.json", "--key", KEY, "--signature", "0"], "nothing.json: No such file"),
        (["body.json", "--key", KEY], "give --signature, or --header"),
        (["body.json", "--signature", "0"], "give the webhook's signing key"),
    ],
)
def test_what_is_missing_is_asked_for(
    call: Call, body: bytes, options: list[str], said: str
) -> None:
    code, _, errors = call("verify", *options)
    assert code == 2
    assert said in errors
