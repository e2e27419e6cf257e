"""The shared vectors: bodies with the signatures that RelayBox's own SDK computes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.receive import verify_webhook_signature
from relaybox_hooks.wire.canonical import canonicalize
from relaybox_hooks.wire.signing import SigningKey

_FILE: Final = Path(__file__).with_name("vectors.jsonl")
#: Body, signing key and signature.
VECTORS: Final[list[tuple[str, str, str]]] = [
    (vector["body"], vector["signingKey"], vector["signature"])
    for vector in map(json.loads, _FILE.read_bytes().splitlines())
]


def test_every_vector_verifies() -> None:
    assert len(VECTORS) == 60
    for body, key, signature in VECTORS:
        assert verify_webhook_signature(body, signature, key), body
        assert verify_webhook_signature(body.encode(), signature, key), body
        assert verify_webhook_signature(json.loads(body), signature, key), body


def test_no_vector_verifies_with_a_changed_signature() -> None:
    """Each of the digits in turn."""
    for body, key, signature in VECTORS:
        for place, digit in enumerate(signature):
            other = f"{(int(digit, 16) + 1) % 16:x}"
            changed = signature[:place] + other + signature[place + 1 :]
            assert not verify_webhook_signature(body, changed, key), body


def test_no_vector_verifies_under_a_changed_key() -> None:
    for body, key, signature in VECTORS:
        for other in (key[:-1], f"{key}x", f"{key[1:]}{key[0]}x", f" {key}"):
            assert not verify_webhook_signature(body, signature, other), body


def test_no_vector_verifies_with_a_changed_value() -> None:
    """Each value in turn, however deep, and each member or element gone."""
    for body, key, signature in VECTORS:
        changes = list(_changes(json.loads(body)))
        assert len(changes) > 20
        for changed in changes:
            assert not verify_webhook_signature(json.dumps(changed), signature, key), changed


def test_a_sender_signs_alike_or_refuses() -> None:
    """Refused are exactly the bodies with an integer beyond ±(2^53 - 1)."""
    refused = 0
    for body, key, signature in VECTORS:
        value = json.loads(body)
        if any(abs(number) >= 2**53 for number in _integers(value)):
            refused += 1
            with pytest.raises(PayloadError, match=r"^body\.data.*: an integer beyond"):
                canonicalize(value, "body")
        else:
            assert SigningKey(key).sign(canonicalize(value, "body")) == signature, body
    assert 0 < refused < 30


def _changes(body: Any) -> Iterator[Any]:
    for path in list(_paths(body)):
        for change in (_changed, None):
            copy = parent = deepcopy(body)
            for step in path[:-1]:
                parent = parent[step]
            if change is None:
                del parent[path[-1]]
            else:
                parent[path[-1]] = change(parent[path[-1]])
            yield copy


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for step in value if isinstance(value, dict) else range(len(value)):
            yield from _paths(value[step], (*path, step))


def _changed(value: Any) -> Any:
    """Another value, which for numbers must be another double."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return -value if value else 1
    return f"{value}x" if isinstance(value, str) else [value]


def _integers(value: Any) -> Iterator[int]:
    if type(value) is int:
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _integers(child)
