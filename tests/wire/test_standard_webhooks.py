"""Standard Webhooks: the same signatures as the reference package makes, secrets that hide."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import pickle
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from relaybox_hooks import generate_standard_secret
from relaybox_hooks.errors import ConfigError
from relaybox_hooks.wire.standard_webhooks import (
    StandardSecret,
    check_secrets,
    matching_secret,
    signed_content,
    standard_headers,
)

RAW = bytes(range(200, 232))
SECRET = "whsec_" + base64.b64encode(RAW).decode()
OTHER = "whsec_" + base64.b64encode(b"k" * 24).decode()
TIME = 1_729_602_908.913
CONTENT = b'e1.1729602908.{"id":"e1"}'


def test_a_signature_is_the_hmac_of_id_time_and_body() -> None:
    """The specification, word for word, with the standard library."""
    digest = hmac.new(RAW, CONTENT, hashlib.sha256).digest()
    assert signed_content("e1", "1729602908", b'{"id":"e1"}') == CONTENT
    assert StandardSecret(SECRET).sign(CONTENT) == "v1," + base64.b64encode(digest).decode()


@given(st.binary(min_size=24, max_size=64), st.text(), st.integers(0, 4_000_000_000))
def test_signatures_are_those_of_the_reference_package(raw: bytes, text: str, time: int) -> None:
    secret = "whsec_" + base64.b64encode(raw).decode()
    moment = datetime.fromtimestamp(time, UTC)
    expected = standardwebhooks.Webhook(secret).sign("msg_1", moment, text)
    content = signed_content("msg_1", str(time), text.encode())
    assert StandardSecret(secret).sign(content) == expected


def test_the_headers_of_an_attempt() -> None:
    """Whole seconds, cut off; a signature for each secret, in the order of the secrets."""
    new, old = StandardSecret(SECRET), StandardSecret(OTHER)
    assert standard_headers([new, old], "e1", TIME, b'{"id":"e1"}') == {
        "webhook-id": "e1",
        "webhook-timestamp": "1729602908",
        "webhook-signature": f"{new.sign(CONTENT)} {old.sign(CONTENT)}",
    }


def test_any_signature_may_fit_any_secret() -> None:
    new, old = StandardSecret(SECRET), StandardSecret(OTHER)
    a, b = new.sign(CONTENT), old.sign(CONTENT)
    assert matching_secret([new, old], CONTENT, a) == 0
    assert matching_secret([new, old], CONTENT, b) == 1
    assert matching_secret([new, old], CONTENT, f"{b} {a}") == 0
    assert matching_secret([old], CONTENT, f"v1a,{'A' * 86}== nonsense  {a} {b}") == 0


@pytest.mark.parametrize(
    "spoil",
    [
        str.upper,
        lambda text: "",
        lambda text: text.removeprefix("v1,"),
        lambda text: text.replace("v1,", "v1a,"),
        lambda text: text.replace("v1,", "v1:"),
        lambda text: text.rstrip("="),
        lambda text: text + "=",
        lambda text: text.replace(",", ", "),
        lambda text: text.replace(" ", ",") + f",{text}",
        lambda text: text + "\ud800",
        lambda text: "é" + text,
        lambda text: f"\t{text}",
    ],
)  # fmt: skip
def test_only_an_exact_signature_fits(spoil: object) -> None:
    secret = StandardSecret(SECRET)
    signature = secret.sign(CONTENT)
    assert matching_secret([secret], CONTENT, signature) == 0
    assert matching_secret([secret], CONTENT, spoil(signature)) is None  # type: ignore[operator]


def test_other_content_fits_nothing() -> None:
    secret = StandardSecret(SECRET)
    signature = secret.sign(CONTENT)
    for message_id, timestamp, body in (
        ("e2", "1729602908", b'{"id":"e1"}'),
        ("e1", "1729602909", b'{"id":"e1"}'),
        ("e1", "1729602908", b'{"id": "e1"}'),
        ("\ud800", "\ud800", b""),
    ):
        content = signed_content(message_id, timestamp, body)
        assert matching_secret([secret], content, signature) is None


@pytest.mark.parametrize("size", [24, 32, 63, 64])
def test_secrets_may_have_24_to_64_bytes_and_no_padding(size: int) -> None:
    raw = bytes(range(size))
    padded = "whsec_" + base64.b64encode(raw).decode()
    expected = base64.b64encode(hmac.new(raw, CONTENT, hashlib.sha256).digest()).decode()
    for secret in (padded, padded.rstrip("=")):
        assert StandardSecret(secret).sign(CONTENT) == f"v1,{expected}"


@pytest.mark.parametrize(
    "secret",
    [
        "",
        None,
        7,
        RAW,
        "whsec_",
        SECRET.removeprefix("whsec_"),
        SECRET.replace("whsec_", "whsk_"),
        SECRET.upper(),
        SECRET + "\n",
        "whsec_ " + SECRET.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        "whsec_" + "é" * 40,
        "whsec_" + "\ud800" * 40,
        "whsec_" + "A" * 41,
    ],
)
def test_an_unusable_secret_is_refused_without_showing_it(secret: object) -> None:
    with pytest.raises(ConfigError) as caught:
        StandardSecret(secret)  # type: ignore[arg-type]
    assert caught.value.option == "standard_webhooks"
    assert str(caught.value) == (
        "standard_webhooks='***': give secrets of the form 'whsec_' and the base64 of 24 to 64 "
        "bytes, as generate_standard_secret() makes them"
    )
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("secrets", [[], (), {}, 7, [SECRET, "other"], SECRET.encode()])
def test_no_secret_and_no_list_of_them_are_refused(secrets: object) -> None:
    with pytest.raises(ConfigError, match="give secrets of the form"):
        check_secrets(secrets)  # type: ignore[arg-type]


def test_one_secret_needs_no_list() -> None:
    assert check_secrets(SECRET) == (SECRET,)
    assert check_secrets(iter([OTHER, SECRET])) == (OTHER, SECRET)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = StandardSecret(SECRET)
    assert repr(secret) == "StandardSecret('***')"
    assert not hasattr(secret, "__dict__")
    assert copy.deepcopy([secret])[0] is secret
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_generated_secrets_are_new_32_bytes() -> None:
    secrets = {generate_standard_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
        StandardSecret(secret)
        standardwebhooks.Webhook(secret)
