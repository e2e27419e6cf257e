"""Bodies: an event encoded once, a timestamp for each attempt, and the time format."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.session import NO_SESSION, Session, User
from relaybox_hooks.wire.envelope import (
    Envelope,
    encode_session,
    format_timestamp,
    parse_timestamp,
)

TIMESTAMP = "2024-10-22T13:15:08.913Z"
ID = "0192b3a4-5c6d-7e8f-9a0b-1c2d3e4f5a6b"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | FINITE | st.integers(1 - 2**53, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NULLABLE = st.none() | st.text()


def encode(data: Any, session: Session = NO_SESSION, *, limit: int = 1 << 20) -> Envelope:
    return Envelope.encode(ID, "room:publish", data, session, limit, time=1729602908.913)


@given(
    st.text(),
    st.text(),
    JSON,
    st.builds(
        Session,
        app_pid=NULLABLE,
        client_id=NULLABLE,
        timestamp=NULLABLE,
        exp=st.none() | FINITE,
        user=st.none() | st.dictionaries(st.text() | st.sampled_from(["id", "orgId"]), JSON),
    ),
)
def test_a_body_is_the_canonical_text_of_the_whole(
    event_id: str, name: str, data: Any, session: Session
) -> None:
    envelope = Envelope.encode(event_id, name, data, session, 1 << 20, time=0)
    whole = {
        "id": event_id,
        "event": name,
        "data": data,
        "session": session.to_wire(),
        "timestamp": TIMESTAMP,
    }
    assert envelope.at(TIMESTAMP) == rfc8785.dumps(whole)


def test_an_attempt_changes_nothing_but_the_timestamp() -> None:
    envelope = encode({"a": 1})
    first, second = envelope.at(TIMESTAMP), envelope.at("2024-10-22T13:15:09.413Z")
    assert json.loads(first) == {**json.loads(second), "timestamp": TIMESTAMP}


def test_later_changes_to_the_data_change_nothing() -> None:
    data = {"a": [1]}
    envelope = encode(data)
    before = envelope.at(TIMESTAMP)
    data["a"].append(2)
    assert envelope.at(TIMESTAMP) == before


def test_a_session_goes_out_with_eight_members() -> None:
    """Those of the contract, null where unknown, and nothing else."""
    session = Session(client_id="c", user=User(id="u", extra={"plan": "pro"}))
    sent = json.loads(encode(None, session).at(TIMESTAMP))["session"]
    assert sorted(sent) == sorted(
        ["appPid", "keyId", "clientId", "connectionId", "socketId", "timestamp", "exp", "user"]
    )
    assert (sent["clientId"], sent["keyId"]) == ("c", None)
    assert (sent["user"]["id"], sent["user"]["plan"], sent["user"]["orgId"]) == ("u", "pro", None)


def test_a_session_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(client_id="c")
    first = encode_session(session)
    monkeypatch.delattr(Session, "to_wire")
    assert encode_session(session) is first
    assert first in encode({}, session).at(TIMESTAMP)


@pytest.mark.parametrize(
    ("data", "session", "path"),
    [
        ({"items": [2**53]}, {}, "data.items[0]"),
        (b"x", {}, "data"),
        (None, {"exp": 2**53}, "session.exp"),
        (None, {"exp": b"x"}, "session.exp"),
        (None, {"client_id": "\ud800"}, "session.clientId"),
        (None, {"user": {"id": "u", "seen": [{1, 2}]}}, "session.user.seen[0]"),
        (None, {"user": {"createdAt": object()}}, "session.user.createdAt"),
    ],
)
def test_the_path_says_what_cannot_be_sent(
    data: Any, session: Mapping[str, Any], path: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        encode(data, Session(**session))
    assert caught.value.path == path


def test_the_limit_holds_for_the_whole_body() -> None:
    size = len(encode("é").at(TIMESTAMP))
    assert encode("é", limit=size)
    with pytest.raises(
        PayloadError, match=f"{size} bytes and max_body allows {size - 1}"
    ) as caught:
        encode("é", limit=size - 1)
    assert caught.value.path == "data"


def test_an_envelope_becomes_the_event_again() -> None:
    """For dead letters; numbers beyond 2^53 stay floats, so that the event can be sent again."""
    data = {"n": 1.5, "big": 1e17, "text": "é"}
    envelope = encode(data, Session(client_id="c", user=User(id="u", extra={"plan": "pro"})))
    event = envelope.to_event()
    assert (event.id, event.name, event.data) == (ID, "room:publish", data)
    assert event.session == Session(client_id="c", user=User(id="u", extra={"plan": "pro"}))
    assert event.timestamp == datetime.datetime(2024, 10, 22, 13, 15, 8, 913000, datetime.UTC)
    assert encode(event.data, event.session).prefix == envelope.prefix
    assert encode(None).to_event().session == NO_SESSION


def test_an_envelope_is_small_and_shows_no_payload() -> None:
    envelope = encode("s3cret")
    assert not hasattr(envelope, "__dict__")
    assert repr(envelope) == f"<Envelope room:publish {ID}>"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1729602908.913, TIMESTAMP),
        (1729602908.9139, TIMESTAMP),
        (1729602908.9999, "2024-10-22T13:15:08.999Z"),
        (1729602909, "2024-10-22T13:15:09.000Z"),
        (253402300799.5, "9999-12-31T23:59:59.500Z"),
    ],
)
def test_timestamps_are_cut_to_milliseconds(seconds: float, text: str) -> None:
    assert format_timestamp(seconds) == text


@given(st.floats(0, 253402300799))
def test_a_timestamp_is_never_ahead_of_the_clock(seconds: float) -> None:
    text = format_timestamp(seconds)
    assert len(text) == 24
    behind = seconds - parse_timestamp(text)
    assert -math.ulp(seconds) <= behind < 0.001 + math.ulp(seconds)


@given(st.integers(1_104_537_600_000, 2**31 * 1000))
def test_a_millisecond_survives_being_written_and_read(milliseconds: int) -> None:
    """From 2005 to 2038 the product with 1000 rounds back to the very millisecond."""
    text = format_timestamp(milliseconds / 1000)
    assert format_timestamp(parse_timestamp(text)) == text
    assert parse_timestamp(text) == milliseconds / 1000


@pytest.mark.parametrize("seconds", [-1e12, 1e12, math.inf, math.nan])
def test_no_timestamp_has_more_than_four_digits_for_the_year(seconds: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        format_timestamp(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (TIMESTAMP, 1729602908.913),
        ("2024-10-22T13:15:08Z", 1729602908.0),
        ("2024-10-22T13:15:08.9Z", 1729602908.9),
        ("2024-10-22T13:15:08.913456Z", 1729602908.913456),
        ("2024-10-22T13:15:08.913456789+00:00", 1729602908.913456),
        ("1970-01-01T00:00:00.000Z", 0.0),
    ],
)
def test_timestamps_of_other_senders_are_read(text: str, seconds: float) -> None:
    assert parse_timestamp(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1729602908",
        "2024-10-22",
        "2024-10-22 13:15:08Z",
        "2024-10-22T13:15:08",
        "2024-10-22T13:15:08.Z",
        "2024-10-22T13:15:08.913z",
        "2024-10-22T13:15:08.913+02:00",
        "2024-10-22T13:15:08.9131234567Z",
        "2024-02-30T00:00:00Z",
        "2024-10-22T24:61:00Z",
        "+012345-01-01T00:00:00.000Z",
        f" {TIMESTAMP}",
        f"{TIMESTAMP}\n",
        "２０２４-10-22T13:15:08.913Z",  # noqa: RUF001
    ],
)
def test_anything_else_is_no_timestamp(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_timestamp(text)
