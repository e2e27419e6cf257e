"""The canonical text of what a sender passes, with rfc8785 as the judge."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import subprocess
import sys
import uuid
from collections import OrderedDict, defaultdict
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.wire.canonical import canonicalize

# Keys that tell UTF-16 order from the order of code points, and ordinary ones.
KEYS = st.text() | st.sampled_from(["😀", "\ue000", "\uffff", "\U0010ffff", "é", "\r", "1", "10"])
NUMBERS = (
    st.floats()
    | st.floats(-1e-4, 1e-4)
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.integers(-(2**1023), 2**1023).map(float)
    | st.integers(-(2**60), 2**60).map(float)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.text(st.characters(max_codepoint=0x9F)),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=30,
)


def as_json(value: Any) -> Any:
    """The value with null where JSON.stringify has it, for rfc8785 refuses those."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: as_json(member) for key, member in value.items()}
    return [as_json(element) for element in value] if isinstance(value, list | tuple) else value


@given(VALUES)
def test_equals_rfc8785_for_any_json_value(value: Any) -> None:
    assert canonicalize(value, "data") == rfc8785.dumps(as_json(value))


@given(st.lists(NUMBERS))
def test_equals_rfc8785_for_any_number(numbers: list[float]) -> None:
    """Whole lists of them, since one that differs sends all the others the exact way."""
    assert canonicalize(numbers, "data") == rfc8785.dumps(as_json(numbers))
    for number in numbers:
        assert canonicalize(number, "data") == rfc8785.dumps(as_json(number))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, b"1"),
        (-0.0, b"0"),
        (1e15, b"1000000000000000"),
        (1e16, b"10000000000000000"),
        (2.0**53, b"9007199254740992"),
        (123456789012345680000.0, b"123456789012345680000"),
        (1e20, b"100000000000000000000"),
        (1e21, b"1e+21"),
        (-1.5e300, b"-1.5e+300"),
        (0.00001, b"0.00001"),
        (2e-6, b"0.000002"),
        (1e-7, b"1e-7"),
        (5e-324, b"5e-324"),
        (4503599627370495.5, b"4503599627370495.5"),
        (math.nan, b"null"),
        (math.inf, b"null"),
        (-math.inf, b"null"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(number: float, text: bytes) -> None:
    """RFC 8785 §3.2.2.3 and appendix B; NaN and the infinities as JSON.stringify has them."""
    assert canonicalize(number, "data") == text
    assert canonicalize({"a": [number, "é"]}, "data") == b'{"a":[' + text + ',"é"]}'.encode()


def test_keys_are_sorted_by_utf16_code_units() -> None:
    """The example of RFC 8785 §3.2.3."""
    example = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "😀": "Emoji: Grinning Face",
        "\u0080": "Control",
        "ö": "Latin Small Letter O With Diaeresis",
    }
    assert list(orjson.loads(canonicalize([(example,)], "data"))[0][0].values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    y: float
    x: float
    _hidden: int = 0


MOMENT = datetime.datetime(2024, 10, 22, 13, 15, 8, 913000, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Point(y=2.0, x=1.5), b'{"x":1.5,"y":2}'),
        ([Colour.RED, Level.HIGH], b'["red",3]'),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (MOMENT, b'"2024-10-22T13:15:08.913000+00:00"'),
        ([MOMENT.date(), datetime.time(13, 15)], b'["2024-10-22","13:15:00"]'),
        (OrderedDict(b=1, a=2), b'{"a":2,"b":1}'),
        (defaultdict(list, {"b": [1.0], "😀": (), "\uffff": None}), None),
        ((1, (2.0, ())), b"[1,[2,[]]]"),
        (orjson.Fragment(b'{"b": 1.0, "a": 1e2}'), b'{"a":100,"b":1}'),
        (None, b"null"),
    ],
)
def test_takes_what_orjson_takes(value: Any, text: bytes | None) -> None:
    """Members of whatever is no dict are sorted too."""
    assert canonicalize(value, "data") == (text or rfc8785.dumps(value))


def test_nothing_of_the_value_is_changed() -> None:
    """Settling floats happens on a copy."""
    value = {"a": [1.0, {"b": 1e-7}]}
    canonicalize(value, "data")
    assert str(value) == "{'a': [1.0, {'b': 1e-07}]}"


def test_a_full_stack_is_a_payload_error() -> None:
    """Whoever calls from deep down gets the error that emit documents."""

    def call(frames: int) -> bytes:
        return call(frames - 1) if frames else canonicalize(value, "data")

    value: list[Any] = [1.0]
    for _ in range(200):
        value = [value]
    assert len(call(1)) == 403
    room = sys.getrecursionlimit() - 150
    with pytest.raises(PayloadError, match="data: nested too deeply"):
        call(room - _depth())


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_rfc8785_is_not_imported_before_it_is_needed() -> None:
    """It would cost every process that imports the library some time."""
    script = (
        "import sys; from relaybox_hooks.wire.canonical import canonicalize\n"
        "canonicalize({'x': [1.0, 'é', 0.5]}, 'data'); assert 'rfc8785' not in sys.modules\n"
        "canonicalize({'x': 1e-7}, 'data'); assert 'rfc8785' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603
