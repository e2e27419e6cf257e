"""Signatures: HMAC-SHA256 of a JSON string of the canonical text, under keys that stay hidden."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import KEY

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.wire.canonical import canonicalize
from relaybox_hooks.wire.signing import Secret, SigningKey, generate_signing_key


def reference(key: str, canonical: bytes) -> str:
    """The contract, word for word, with the standard library."""
    text = json.dumps(canonical.decode(), ensure_ascii=False)
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


@given(
    st.text(min_size=1) | st.sampled_from(["k" * 63, "k" * 64, "k" * 65, "ключ" * 20]),
    st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=5),
)
def test_a_signature_is_the_hmac_of_the_quoted_text(key: str, value: object) -> None:
    """For keys around the hash's block of 64 bytes, and text with all that needs an escape."""
    canonical = canonicalize(value, "data")
    assert SigningKey(key).sign(canonical) == reference(key, canonical)


def test_every_character_is_escaped_as_by_json_stringify() -> None:
    """Backslash and quote are; U+007F, U+2028 and whatever lies beyond the BMP are not."""
    characters = [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0x10FFFF]
    canonical = canonicalize("".join(map(chr, characters)), "data")
    assert SigningKey(KEY).sign(canonical) == reference(KEY, canonical)


def test_one_key_signs_any_number_of_bodies() -> None:
    key = SigningKey(KEY)
    for body in (b"{}", b'{"a":1}', b"{}"):
        assert key.sign(body) == reference(KEY, body)


def test_only_the_exact_signature_verifies() -> None:
    key = SigningKey(KEY)
    signature = key.sign(b"{}")
    assert len(signature) == 64
    assert set(signature) <= set("0123456789abcdef")
    assert key.verify(b"{}", signature)
    assert not key.verify(b"{ }", signature)
    assert not SigningKey(KEY.upper()).verify(b"{}", signature)
    for wrong in (
        signature.upper(),
        signature[:-1],
        f"{signature}0",
        f" {signature}",
        "",
        "é" * 64,
    ):
        assert not key.verify(b"{}", wrong)


@pytest.mark.parametrize("key", ["", None, b"secret", 7, "secret\ud800"])
def test_an_unusable_key_is_refused_without_showing_it(key: object) -> None:
    with pytest.raises(ConfigError) as caught:
        SigningKey(key)  # type: ignore[arg-type]
    assert caught.value.option == "signing_key"
    assert caught.value.value == "***"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_key_shows_itself_to_nobody() -> None:
    key = SigningKey(KEY)
    assert KEY not in f"{key!r} {key}"
    assert not hasattr(key, "__dict__")
    assert all(getattr(key, name) != KEY for name in Secret.__slots__)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


def test_a_copied_key_is_the_key() -> None:
    """So that what holds one, a webhook, can be copied."""
    key = SigningKey(KEY)
    assert copy.copy(key) is key
    assert copy.deepcopy({"key": key})["key"] is key


def test_generated_keys_are_32_hex_digits_and_differ() -> None:
    keys = {generate_signing_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 32 and set(key) <= set(string.hexdigits.lower()) for key in keys)
