"""Requests signed by Standard Webhooks: alone, or beside RelayBox's own signature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import standardwebhooks
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
from relaybox_hooks.receive import WebhookVerifier
from relaybox_hooks.wire.envelope import format_timestamp
from relaybox_hooks.wire.json_parsing import canonicalize_parsed
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey
from relaybox_hooks.wire.standard_webhooks import (
    StandardSecret,
    generate_standard_secret,
    signed_content,
)

SECRET, OLD_SECRET, FOREIGN = (generate_standard_secret() for _ in range(3))
NOW: Final = 1729602908.0
ID: Final = "0192b3a4-5c6d-7e8f-9a0b-1c2d3e4f5a6b"
VALUE: Final[dict[str, Any]] = {
    "id": ID,
    "event": "room:join",
    "data": {"roomId": "chat:one — “ö”"},
    "session": None,
    "timestamp": format_timestamp(NOW),
}
STANDARD: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
RELAYBOX: Final = (SIGNATURE_HEADER, WEBHOOK_ID_HEADER)
Request = tuple[dict[str, str], bytes]


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def standard(clock: SettableClock) -> WebhookVerifier:
    """Knows no other scheme."""
    return WebhookVerifier(standard_webhooks=SECRET, clock=clock)


@pytest.fixture
def either(clock: SettableClock) -> WebhookVerifier:
    return WebhookVerifier(KEY, standard_webhooks=[SECRET, OLD_SECRET], clock=clock)


def request(
    *secrets: str,
    key: str | None = None,
    sent: float = NOW,
    message_id: str = ID,
    webhook_id: str = "crm",
    **changes: Any,
) -> Request:
    """Signed by the reference package with ``secrets``, and with RelayBox's ``key``."""
    value = {**VALUE, **changes}
    body = json.dumps(value, ensure_ascii=False)
    headers = {}
    if secrets:
        moment = datetime.fromtimestamp(sent, UTC)
        signatures = [
            standardwebhooks.Webhook(secret).sign(message_id, moment, body) for secret in secrets
        ]
        headers = dict(
            zip(STANDARD, (message_id, f"{sent:.0f}", " ".join(signatures)), strict=True)
        )
    if key:
        signature = SigningKey(key).sign(canonicalize_parsed(value))
        headers |= dict(zip(RELAYBOX, (signature, webhook_id), strict=True))
    return headers, body.encode()


def without(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names}


# One scheme


def test_a_message_of_the_reference_package_becomes_its_event(standard: WebhookVerifier) -> None:
    event = standard.verify(*request(SECRET))
    assert (event.id, event.name, event.data) == (ID, "room:join", VALUE["data"])
    assert (event.key_index, event.key_indexes) == (0, {"standard": 0})
    assert (event.webhook_id, event.duplicate) == ("", False)


@pytest.mark.parametrize("recase", [str.lower, str.upper, str.title])
def test_header_names_match_in_any_case(standard: WebhookVerifier, recase: Any) -> None:
    headers, body = request(SECRET)
    assert standard.verify({recase(name): headers[name] for name in headers}, body)


@pytest.mark.parametrize("form", [bytes.decode, bytearray, memoryview])
def test_a_body_may_be_text_or_any_bytes(standard: WebhookVerifier, form: Any) -> None:
    headers, body = request(SECRET)
    assert standard.verify(CIMultiDict(headers), form(body)).id == ID


def test_the_bytes_are_signed_not_what_they_mean(standard: WebhookVerifier) -> None:
    headers, body = request(SECRET)
    with pytest.raises(InvalidSignatureError):
        standard.verify(headers, body + b" ")


def test_it_says_which_secret_has_signed() -> None:
    verifier = WebhookVerifier(standard_webhooks=[SECRET, OLD_SECRET], tolerance=None)
    assert verifier.verify(*request(SECRET, id="a")).key_index == 0
    assert verifier.verify(*request(OLD_SECRET, id="b")).key_index == 1
    assert verifier.verify(*request(OLD_SECRET, SECRET, id="c")).key_index == 0
    assert verifier.verify(*request(FOREIGN, OLD_SECRET, id="d")).key_index == 1
    with pytest.raises(InvalidSignatureError, match="under any of the secrets") as caught:
        verifier.verify(*request(FOREIGN, id="e"))
    assert caught.value.scheme == "standard"


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("value", ["", None])
def test_a_missing_or_empty_header_is_named(
    standard: WebhookVerifier, name: str, value: str | None
) -> None:
    headers, body = request(SECRET, key=KEY)
    headers = without(headers, name) | ({} if value is None else {name: value})
    with pytest.raises(MissingHeaderError, match="this is not a Standard Webhooks re") as caught:
        standard.verify(headers, body)
    assert caught.value.header == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "other"),
        ("webhook-id", "é\ud800"),
        ("webhook-timestamp", "1729602909"),
        ("webhook-timestamp", "01729602908"),
        ("webhook-timestamp", "1729602908.0"),
        ("webhook-timestamp", "١٧٢٩٦٠٢٩٠٨"),
        ("webhook-timestamp", "9" * 400),
        ("webhook-timestamp", "yesterday"),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "nonsense"),
        ("webhook-signature", "é\ud800"),
    ],
)
def test_a_changed_header_is_refused(standard: WebhookVerifier, name: str, value: str) -> None:
    headers, body = request(SECRET)
    with pytest.raises(InvalidSignatureError):
        standard.verify(headers | {name: value}, body)


@pytest.mark.parametrize("timestamp", ["yesterday", "1729602908.5", "-1", "1e9", "9" * 16, "nan"])
def test_a_timestamp_that_is_no_whole_number_is_refused_though_signed(
    standard: WebhookVerifier, timestamp: str
) -> None:
    """Else how old the request is could not be told."""
    body = json.dumps(VALUE).encode()
    signature = StandardSecret(SECRET).sign(signed_content(ID, timestamp, body))
    headers = dict(zip(STANDARD, (ID, timestamp, signature), strict=True))
    with pytest.raises(InvalidSignatureError):
        standard.verify(headers, body)


@pytest.mark.parametrize(("skew", "where"), [(31, "behind"), (-31, "ahead of"), (1e9, "behind")])
def test_a_request_outside_of_the_window_is_refused(
    standard: WebhookVerifier, clock: SettableClock, skew: float, where: str
) -> None:
    clock.now = NOW + skew
    with pytest.raises(TimestampError, match=where) as caught:
        standard.verify(*request(SECRET))
    assert (caught.value.timestamp, caught.value.skew) == ("1729602908", skew)


@pytest.mark.parametrize("skew", [-30, 0, 30])
def test_a_request_within_the_window_is_accepted(
    standard: WebhookVerifier, clock: SettableClock, skew: float
) -> None:
    """By the header: the body's timestamp may be the event's own, which retries do not change."""
    clock.now = NOW + 3600 + skew
    assert standard.verify(*request(SECRET, sent=NOW + 3600))


def test_the_very_same_request_is_refused_the_second_time(standard: WebhookVerifier) -> None:
    headers, body = request(SECRET)
    standard.verify(headers, body)
    for again in (headers, headers | {WEBHOOK_ID_HEADER: "other"}, headers | {"X-More": "1"}):
        with pytest.raises(ReplayedRequestError):
            standard.verify(again, body)


def test_a_retry_is_accepted_and_marked(standard: WebhookVerifier, clock: SettableClock) -> None:
    assert not standard.verify(*request(SECRET)).duplicate
    clock.now += 2
    assert standard.verify(*request(SECRET, sent=NOW + 2)).duplicate


def test_a_refused_request_leaves_no_trace(standard: WebhookVerifier, clock: SettableClock) -> None:
    headers, body = request(SECRET)
    with pytest.raises(InvalidSignatureError):
        standard.verify(headers | {"webhook-signature": "v1,AAAA"}, body)
    clock.now = NOW + 31
    with pytest.raises(TimestampError):
        standard.verify(headers, body)
    clock.now = NOW
    assert not standard.verify(headers, body).duplicate


def test_the_memory_is_bounded_and_says_what_it_forgot(clock: SettableClock) -> None:
    """By the header's time: the body may be older."""
    verifier = WebhookVerifier(standard_webhooks=SECRET, memory=1, clock=clock)
    for event_id, forgotten in (("a", 0), ("b", 1)):
        verifier.verify(*request(SECRET, id=event_id, timestamp="2020-01-01T00:00:00Z"))
        assert verifier.forgotten == forgotten


def test_a_replay_cannot_choose_among_the_signatures(clock: SettableClock) -> None:
    """A request with two of them is one request, in whatever part and order it comes again."""
    verifier = WebhookVerifier(standard_webhooks=[SECRET, OLD_SECRET], clock=clock)
    headers, body = request(SECRET, OLD_SECRET)
    new, old = headers["webhook-signature"].split(" ")
    for count, signatures in enumerate(
        (new, old, f"{old} {new}", f"v1,AAAA {old}", f"{new} {new}")
    ):
        changed = headers | {"webhook-signature": signatures}
        if count == 0:
            assert verifier.verify(changed, body).key_index == 0
        else:
            with pytest.raises(ReplayedRequestError):
                verifier.verify(changed, body)


def test_a_body_of_another_shape_is_malformed(standard: WebhookVerifier) -> None:
    """The scheme is the standard's, the body is RelayBox's."""
    with pytest.raises(MalformedBodyError, match="'session' is neither"):
        standard.verify(*request(SECRET, session=7))
    headers, _ = request(SECRET)
    with pytest.raises(MalformedBodyError):
        standard.verify(headers, "{\ud800}")


def test_a_verifier_of_one_scheme_is_blind_for_the_other(
    standard: WebhookVerifier, clock: SettableClock
) -> None:
    headers, body = request(SECRET, key="another key")
    assert standard.verify(headers, body).key_indexes == {"standard": 0}
    headers, body = request(FOREIGN, key=KEY)
    assert WebhookVerifier(KEY, clock=clock).verify(headers, body).key_indexes == {"relaybox": 0}
    with pytest.raises(MissingHeaderError):
        standard.verify(*request(key=KEY))
    with pytest.raises(MissingHeaderError):
        WebhookVerifier(KEY, clock=clock).verify(*request(SECRET))


# Either scheme, or both


def test_either_scheme_will_do(either: WebhookVerifier) -> None:
    assert either.verify(*request(key=KEY, id="a")).key_indexes == {"relaybox": 0}
    assert either.verify(*request(OLD_SECRET, id="b")).key_indexes == {"standard": 1}
    event = either.verify(*request(OLD_SECRET, key=KEY, id="c"))
    assert (event.key_index, event.key_indexes) == (0, {"relaybox": 0, "standard": 1})


def test_of_both_signatures_both_must_hold(either: WebhookVerifier) -> None:
    """Else a forged half would borrow its trust from the other, and an error go unnoticed."""
    for forged, scheme in (
        (request(FOREIGN, key=KEY), "standard"),
        (request(SECRET, key="another key"), "relaybox"),
    ):
        with pytest.raises(InvalidSignatureError) as caught:
            either.verify(*forged)
        assert caught.value.scheme == scheme
    assert not either.verify(*request(SECRET, key=KEY)).duplicate


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", WEBHOOK_ID_HEADER])
def test_a_signature_without_its_other_headers_is_refused(
    either: WebhookVerifier, name: str
) -> None:
    """The other scheme's signature does not stand in for it."""
    headers, body = request(SECRET, key=KEY)
    with pytest.raises(MissingHeaderError) as caught:
        either.verify(without(headers, name), body)
    assert caught.value.header == name


def test_a_request_without_any_signature_is_refused(either: WebhookVerifier) -> None:
    headers, body = request(SECRET, key=KEY)
    with pytest.raises(MissingHeaderError, match="not a RelayBox or Standard Webhooks request"):
        either.verify(without(headers, SIGNATURE_HEADER, "webhook-signature"), body)


@pytest.mark.parametrize("first", [RELAYBOX, STANDARD, ()])
@pytest.mark.parametrize("second", [RELAYBOX, STANDARD, ()])
def test_a_replay_cannot_choose_among_the_schemes(
    either: WebhookVerifier, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    """What was accepted by one signature is not accepted again by the other."""
    headers, body = request(SECRET, OLD_SECRET, key=KEY)
    either.verify(without(headers, *first), body)
    with pytest.raises(ReplayedRequestError):
        either.verify(without(headers, *second), body)


def test_a_replay_in_other_words_is_one_too(either: WebhookVerifier) -> None:
    headers, body = request(SECRET, key=KEY)
    either.verify(headers, body)
    with pytest.raises(ReplayedRequestError):
        either.verify(without(headers, *STANDARD), json.dumps(json.loads(body), indent=1))


@pytest.mark.parametrize("names", [RELAYBOX, STANDARD, ()])
def test_neither_scheme_lengthens_the_life_of_a_request(
    either: WebhookVerifier, clock: SettableClock, names: tuple[str, ...]
) -> None:
    headers, body = request(SECRET, key=KEY)
    clock.now = NOW + 31
    with pytest.raises(TimestampError):
        either.verify(without(headers, *names), body)


@pytest.mark.parametrize("changes", [{"sent": NOW - 31}, {"timestamp": format_timestamp(NOW - 31)}])
def test_both_timestamps_must_be_within_the_window(
    either: WebhookVerifier, changes: dict[str, Any]
) -> None:
    """The body's even if only the standard has signed: RelayBox's body has the attempt's time."""
    for key in (KEY, None):
        with pytest.raises(TimestampError):
            either.verify(*request(SECRET, key=key, **changes))


def test_a_retry_by_another_scheme_is_a_retry(
    either: WebhookVerifier, clock: SettableClock
) -> None:
    """A sender may turn the standard on between two attempts."""
    assert not either.verify(*request(key=KEY)).duplicate
    clock.now += 1
    retry = request(SECRET, key=KEY, sent=NOW + 1, timestamp=format_timestamp(NOW + 1))
    assert either.verify(*retry).duplicate


# Options and secrets


@pytest.mark.parametrize("secrets", ["", [], "whsec_short", [SECRET, "other"], 7])
def test_secrets_that_cannot_work_are_refused(secrets: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        WebhookVerifier(KEY, standard_webhooks=secrets)
    assert caught.value.option == "standard_webhooks"
    assert SECRET not in str(caught.value)


def test_no_error_shows_a_secret(either: WebhookVerifier) -> None:
    with pytest.raises(VerificationError) as caught:
        either.verify(*request(FOREIGN))
    assert SECRET not in f"{caught.value!r} {either!r} {vars(caught.value)}"
