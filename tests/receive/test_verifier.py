"""Requests are turned into events, or refused by the error that says why."""

from __future__ import annotations

import datetime
import json
import math
from itertools import product
from typing import Any, Final

import pytest
from multidict import CIMultiDict
from support import KEY
from support.signing import SettableClock

from relaybox_hooks.errors import (
    ConfigError,
    InvalidSignatureError,
    MalformedBodyError,
    MissingHeaderError,
    ReplayedRequestError,
    TimestampError,
    VerificationError,
)
from relaybox_hooks.receive import ReceivedEvent, WebhookVerifier, verify_webhook_signature
from relaybox_hooks.session import NO_SESSION
from relaybox_hooks.wire.envelope import format_timestamp
from relaybox_hooks.wire.json_parsing import canonicalize_parsed
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

OLD_KEY: Final = "an older key"
NOW: Final = 1729602908.913
ID: Final = "0192b3a4-5c6d-7e8f-9a0b-1c2d3e4f5a6b"
SIGNED: Final[dict[str, Any]] = {
    "id": ID,
    "event": "room:join",
    "data": {"roomId": "chat:one"},
    "session": {"appPid": "app", "clientId": "c", "user": {"id": "u", "plan": "pro"}},
    "timestamp": format_timestamp(NOW),
}


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def verifier(clock: SettableClock) -> WebhookVerifier:
    return WebhookVerifier(KEY, clock=clock)


def request(
    value: Any = SIGNED, *, key: str = KEY, webhook_id: str = "crm", **changes: Any
) -> tuple[dict[str, str], bytes]:
    """Headers and body, signed as RelayBox signs; ``changes`` replace members of the body."""
    value = {**value, **changes} if changes else value
    signature = SigningKey(key).sign(canonicalize_parsed(value))
    headers = {SIGNATURE_HEADER: signature, WEBHOOK_ID_HEADER: webhook_id}
    return headers, json.dumps(value).encode()


def test_a_request_becomes_its_event(verifier: WebhookVerifier) -> None:
    event = verifier.verify(*request())
    assert isinstance(event, ReceivedEvent)
    assert (event.id, event.name, event.data) == (ID, "room:join", {"roomId": "chat:one"})
    assert (event.session.app_pid, event.session.key_id) == ("app", None)
    assert event.session.user is not None
    assert (event.session.user.id, event.session.user.extra) == ("u", {"plan": "pro"})
    assert event.timestamp == datetime.datetime(2024, 10, 22, 13, 15, 8, 913000, datetime.UTC)
    assert (event.webhook_id, event.duplicate, event.key_index) == ("crm", False, 0)
    assert not hasattr(event, "__dict__")


def test_a_body_may_be_text_or_bytes(verifier: WebhookVerifier) -> None:
    headers, body = request()
    assert verifier.verify(headers, body.decode()).id == ID
    headers, body = request(id="other")
    assert verifier.verify(headers, memoryview(body)).id == "other"


@pytest.mark.parametrize("recase", [str.lower, str.upper, str.title, str])
def test_header_names_match_in_any_case(verifier: WebhookVerifier, recase: Any) -> None:
    headers, body = request()
    assert verifier.verify({recase(name): headers[name] for name in headers}, body)


def test_the_headers_of_a_server_will_do(verifier: WebhookVerifier) -> None:
    headers, body = request()
    assert verifier.verify(CIMultiDict({"host": "localhost", **headers}), body).webhook_id == "crm"


@pytest.mark.parametrize("name", [SIGNATURE_HEADER, WEBHOOK_ID_HEADER])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_or_empty_header_is_named(
    verifier: WebhookVerifier, name: str, empty: bool
) -> None:
    headers, body = request()
    if empty:
        headers[name] = ""
    else:
        del headers[name]
    with pytest.raises(MissingHeaderError) as caught:
        verifier.verify(headers, body)
    assert caught.value.header == name


@pytest.mark.parametrize(
    "spoil",
    [str.upper, lambda text: text[:-1], lambda text: f"{text}0", lambda text: f" {text}",
     lambda text: f"sha256={text}", lambda _: "0" * 64, lambda _: "é" * 64],
)  # fmt: skip
def test_a_wrong_signature_is_refused(verifier: WebhookVerifier, spoil: Any) -> None:
    headers, body = request()
    headers[SIGNATURE_HEADER] = spoil(headers[SIGNATURE_HEADER])
    with pytest.raises(InvalidSignatureError):
        verifier.verify(headers, body)


def test_a_changed_body_is_refused(verifier: WebhookVerifier) -> None:
    headers, body = request()
    with pytest.raises(InvalidSignatureError):
        verifier.verify(headers, body.replace(b"chat:one", b"chat:two"))


def test_the_same_body_in_other_words_is_accepted(verifier: WebhookVerifier) -> None:
    headers, body = request()
    text = json.dumps(dict(reversed(json.loads(body).items())), indent=2)
    assert verifier.verify(headers, text.replace("chat", "\\u0063hat")).data == SIGNED["data"]


def test_any_of_the_keys_will_do() -> None:
    """During a rotation, and the event says which it was."""
    verifier = WebhookVerifier(KEY, OLD_KEY, tolerance=None)
    assert verifier.verify(*request(id="a")).key_index == 0
    event = verifier.verify(*request(id="b", key=OLD_KEY))
    assert (event.key_index, event.key_indexes) == (1, {"relaybox": 1})
    with pytest.raises(InvalidSignatureError):
        verifier.verify(*request(id="c", key="neither"))


@pytest.mark.parametrize("skew", [-30, -29.9, 0, 29.9, 30])
def test_a_request_within_the_window_is_accepted(
    verifier: WebhookVerifier, clock: SettableClock, skew: float
) -> None:
    clock.now = NOW + skew
    assert verifier.verify(*request())


@pytest.mark.parametrize(
    ("skew", "where"), [(30.5, "behind"), (3600, "behind"), (-30.5, "ahead of"), (-1e9, "ahead of")]
)
def test_a_request_outside_of_the_window_is_refused(
    verifier: WebhookVerifier, clock: SettableClock, skew: float, where: str
) -> None:
    """Either way: a clock that is ahead would make a request last longer."""
    clock.now = NOW + skew
    with pytest.raises(TimestampError, match=where) as caught:
        verifier.verify(*request())
    assert caught.value.timestamp == SIGNED["timestamp"]
    assert caught.value.skew == pytest.approx(skew)
    assert caught.value.tolerance == 30


def test_the_window_may_be_other_or_none(clock: SettableClock) -> None:
    clock.now = NOW + 50
    assert WebhookVerifier(KEY, tolerance=60, clock=clock).verify(*request())
    hour = datetime.timedelta(hours=1)
    assert WebhookVerifier(KEY, tolerance=hour, clock=clock).verify(*request())
    with pytest.raises(TimestampError):
        WebhookVerifier(KEY, tolerance=datetime.timedelta(seconds=49), clock=clock).verify(
            *request()
        )
    clock.now = 0
    assert WebhookVerifier(KEY, tolerance=None, clock=clock).verify(*request())


def test_the_very_same_request_is_refused_the_second_time(verifier: WebhookVerifier) -> None:
    headers, body = request()
    verifier.verify(headers, body)
    with pytest.raises(ReplayedRequestError) as caught:
        verifier.verify(headers, body)
    assert caught.value.event_id == ID
    with pytest.raises(ReplayedRequestError):
        verifier.verify(headers | {WEBHOOK_ID_HEADER: "other"}, json.dumps(SIGNED, indent=1))


def test_a_retry_is_accepted_and_marked(verifier: WebhookVerifier, clock: SettableClock) -> None:
    assert not verifier.verify(*request()).duplicate
    clock.now += 1
    retry = verifier.verify(*request(timestamp=format_timestamp(clock.now)))
    assert (retry.id, retry.duplicate) == (ID, True)
    with pytest.raises(ReplayedRequestError):
        verifier.verify(*request())


def test_an_event_through_another_webhook_is_no_duplicate(verifier: WebhookVerifier) -> None:
    verifier.verify(*request())
    other = request(webhook_id="audit", timestamp=format_timestamp(NOW + 0.001))
    assert not verifier.verify(*other).duplicate


def test_one_event_through_two_webhooks_with_a_key_each_is_no_replay(clock: SettableClock) -> None:
    """Not even where both attempts are made in the same millisecond and are the same text."""
    verifier = WebhookVerifier(KEY, OLD_KEY, clock=clock)
    assert not verifier.verify(*request()).duplicate
    assert not verifier.verify(*request(key=OLD_KEY, webhook_id="audit")).duplicate


def test_a_refused_request_leaves_no_trace(verifier: WebhookVerifier, clock: SettableClock) -> None:
    """Else anybody could have genuine requests taken for replays, or the memory flushed."""
    headers, body = request()
    with pytest.raises(InvalidSignatureError):
        verifier.verify({**headers, SIGNATURE_HEADER: "0" * 64}, body)
    clock.now = NOW + 31
    with pytest.raises(TimestampError):
        verifier.verify(headers, body)
    clock.now = NOW
    assert not verifier.verify(headers, body).duplicate


def test_the_memory_is_bounded_and_says_what_it_forgot(clock: SettableClock) -> None:
    verifier = WebhookVerifier(KEY, memory=2, clock=clock)
    for event_id in ("a", "b"):
        verifier.verify(*request(id=event_id))
    assert verifier.forgotten == 0
    verifier.verify(*request(id="c"))
    assert verifier.forgotten == 1
    clock.now = NOW + 31
    verifier.verify(*request(id="d", timestamp=format_timestamp(clock.now)))
    assert verifier.forgotten == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "zero-length"),
        (b"{", "end of data"),
        (b"\xff", "UTF-8"),
        (b'{"a": NaN}', "unexpected character"),
        (b"[" * 100_000, "depth"),
    ],
)
def test_a_body_that_is_no_json_is_malformed(
    verifier: WebhookVerifier, body: bytes, reason: str
) -> None:
    headers, _ = request()
    with pytest.raises(MalformedBodyError, match=reason):
        verifier.verify(headers, body)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not a JSON object"),
        ([SIGNED], "not a JSON object"),
        *(
            (
                {other: SIGNED[other] for other in SIGNED if other != member},
                f"'{member}' is missing",
            )
            for member in SIGNED
        ),
        ({**SIGNED, "id": 1}, "'id' is not a string"),
        ({**SIGNED, "event": None}, "'event' is not a string"),
        ({**SIGNED, "timestamp": NOW}, "'timestamp' is not a string"),
        ({**SIGNED, "timestamp": "yesterday"}, "'timestamp' is no time"),
        ({**SIGNED, "session": "s"}, "'session' is neither an object nor null"),
        ({**SIGNED, "session": {"clientId": 7}}, "'session.clientId' has the wrong type"),
        ({**SIGNED, "session": {"user": "u"}}, "'session.user' has the wrong type"),
    ],
)
def test_a_signed_body_of_another_shape_is_malformed(
    verifier: WebhookVerifier, value: Any, reason: str
) -> None:
    with pytest.raises(MalformedBodyError, match=reason):
        verifier.verify(*request(value))


def test_the_shape_is_not_looked_at_before_the_signature(verifier: WebhookVerifier) -> None:
    with pytest.raises(InvalidSignatureError):
        verifier.verify(request()[0], b"[]")


@pytest.mark.parametrize(
    "session", [None, {}, {"unknown": 1}, {"user": None, "roles": ["admin"]}, {"user": {}}]
)
def test_a_session_may_be_null_or_hold_more(verifier: WebhookVerifier, session: Any) -> None:
    event = verifier.verify(*request(session=session, more="members"))
    assert event.session.client_id is None
    if not (session or {}).get("user") and "user" not in (session or {}):
        assert event.session == NO_SESSION


def test_a_name_that_nobody_declared_is_accepted(verifier: WebhookVerifier) -> None:
    """The sender decides which events there are."""
    assert verifier.verify(*request(event="order:paid")).name == "order:paid"


def test_a_receiver_gets_the_numbers_that_were_signed(verifier: WebhookVerifier) -> None:
    """Digits beyond a double are not covered by the signature, so they are not passed on."""
    headers, body = request(data=9007199254740992.0)
    event = verifier.verify(headers, body.replace(b"9007199254740992.0", b"9007199254740993"))
    assert event.data == 9007199254740992


@pytest.mark.parametrize(
    ("keys", "options", "option"),
    [
        ((), {}, "signing_keys"),
        (("",), {}, "signing_key"),
        ((KEY, None), {}, "signing_key"),
        ((KEY,), {"tolerance": 0}, "tolerance"),
        ((KEY,), {"tolerance": -1}, "tolerance"),
        ((KEY,), {"tolerance": math.nan}, "tolerance"),
        ((KEY,), {"tolerance": math.inf}, "tolerance"),
        ((KEY,), {"tolerance": datetime.timedelta(0)}, "tolerance"),
        ((KEY,), {"memory": 0}, "memory"),
    ],
)
def test_options_that_cannot_work_are_refused(keys: Any, options: Any, option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WebhookVerifier(*keys, **options)
    assert caught.value.option == option
    assert KEY not in str(caught.value)


def test_no_error_shows_the_key(verifier: WebhookVerifier) -> None:
    headers, body = request(key=OLD_KEY)
    with pytest.raises(VerificationError) as caught:
        verifier.verify(headers, body)
    assert KEY not in f"{caught.value!r} {verifier!r} {vars(caught.value)}"


@pytest.mark.parametrize("form", [bytes, bytes.decode, bytearray, memoryview, json.loads])
def test_a_signature_alone_can_be_verified(form: Any) -> None:
    headers, body = request()
    assert verify_webhook_signature(form(body), headers[SIGNATURE_HEADER], KEY)
    assert not verify_webhook_signature(form(body), headers[SIGNATURE_HEADER], OLD_KEY)


def test_nothing_malformed_raises() -> None:
    bodies = (None, 7, b"", "{", b"\xff", object(), {1: 2}, {"a": b"x"}, [{3}], request()[1])
    signatures: tuple[Any, ...] = (None, 7, b"0" * 64, "", "é", "0" * 64, "\ud800", [])
    keys: tuple[Any, ...] = (KEY, "", None, b"key", "\ud800")
    for body, signature, key in product(bodies, signatures, keys):
        assert verify_webhook_signature(body, signature, key) is False


def test_a_good_signature_of_the_wrong_type_does_not_verify() -> None:
    headers, body = request()
    assert not verify_webhook_signature(body, headers[SIGNATURE_HEADER].encode(), KEY)  # type: ignore[arg-type]
    assert not verify_webhook_signature(body, headers[SIGNATURE_HEADER], KEY.encode())  # type: ignore[arg-type]
