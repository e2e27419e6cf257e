"""What cannot be sent is refused with its path, and without showing the payload."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from collections import namedtuple
from typing import Any

import orjson
import pytest

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.wire.canonical import canonicalize

Pair = namedtuple("Pair", "a b")  # noqa: PYI024


class Odd(enum.Enum):
    BAD = b"x"


@dataclasses.dataclass
class Item:
    price: object
    _hidden: object = None


class Text(str):
    __slots__ = ()


def _around(value: list[Any]) -> list[Any]:
    value.append({"again": value})
    return value


def _deep(levels: int, inner: Any = None) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


BEYOND = "an integer beyond"
SURROGATE = "text with a lone surrogate"


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (2**53, "data", BEYOND),
        (-(2**53), "data", BEYOND),
        ({"items": [0, 1, 2, {"price": 2**64}]}, "data.items[3].price", BEYOND),
        ([10**5000], "data[0]", BEYOND),
        ({"odd key": {"": [2**53]}}, 'data["odd key"][""][0]', BEYOND),
        ({'quo"te\n': 2**53}, r'data["quo\"te\n"]', BEYOND),
        ((1, ("x", 2**53)), "data[1][1]", BEYOND),
        ({"fine": [1.0] * 9, "user": Item(2**53)}, "data.user.price", BEYOND),
        (Item({"a": 2**53}, _hidden=b"not sent"), "data.price.a", BEYOND),
        ("\ud800", "data", SURROGATE),
        ({"a": ["x", "b\udc00"]}, "data.a[1]", SURROGATE),
        ({"a": {"k\ud800": 1}}, r'data.a["k\ud800"]', f"its key is {SURROGATE}"),
        ({"a": {1: 2}}, "data.a", "a key is of type int"),
        ({None: 2}, "data", "a key is of type NoneType"),
        ([{Text("k"): 2}], "data[0]", "a key is of type Text"),
        ({"a": b"x"}, "data.a", "bytes are not JSON"),
        ([bytearray(2)], "data[0]", "bytes are not JSON"),
        ([memoryview(b"x")], "data[0]", "bytes are not JSON"),
        ({"a": Odd.BAD}, "data.a", "bytes are not JSON"),
        ({"a": {1, 2}}, "data.a", "send a list"),
        ([Pair(1, 2)], "data[0]", "send a list"),
        ([object()], "data[0]", "a object"),
        ({"a": object}, "data.a", "a type"),
        ({"a": Item}, "data.a", "a type"),
        ({"a": decimal.Decimal(1)}, "data.a", "a Decimal"),
        ([datetime.timedelta(1)], "data[0]", "a timedelta"),
        ([1j], "data[0]", "a complex"),
        (_around([1]), "data[1].again", "it contains itself"),
        ({"a": _around([_around([])])}, "data.a[1].again", "it contains itself"),
        ([orjson.Fragment(b"{not JSON")], "data[0]", "a Fragment"),
        ([orjson.Fragment(b"9007199254740993")], "data[0]", "a Fragment"),
        ([orjson.Fragment(b"1e999")], "data[0]", "a Fragment"),
    ],
)
def test_the_path_leads_to_what_cannot_be_sent(value: Any, path: str, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        canonicalize(value, "data")
    assert caught.value.path == path
    assert caught.value.reason.startswith(reason) or reason in caught.value.reason
    str(caught.value).encode()  # may be logged


def test_nesting_has_a_limit() -> None:
    """orjson's own, 254 levels; the path of a refusal shows both of its ends."""
    assert len(canonicalize(_deep(254), "data")) == 254 * 2 + 4
    with pytest.raises(PayloadError, match="nested deeper than 254 levels") as caught:
        canonicalize({"head": _deep(254)}, "data")
    assert caught.value.path.startswith("data.head[0][0]")
    assert "…" in caught.value.path
    assert len(caught.value.path) < 250


def test_a_refusal_shows_no_payload() -> None:
    """Errors are logged, payloads are not."""
    secret = "s3cret"
    value = {"password": secret, "k" * 10_000: {"x" * 10_000 + " ": [secret, secret.encode()]}}
    with pytest.raises(PayloadError) as caught:
        canonicalize(value, "data")
    assert secret not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_values_shared_by_several_parents_are_no_cycle() -> None:
    shared = [1]
    assert canonicalize([shared, {"a": shared}], "data") == b'[[1],{"a":[1]}]'
    with pytest.raises(PayloadError) as caught:
        canonicalize([shared, {"a": shared}, 2**53], "data")
    assert caught.value.path == "data[2]"
