"""Reading as JSON.parse reads, and canonicalising as Node with json-canonicalize does.

The expected texts were printed by ``JSON.stringify(canonicalize(JSON.parse(text)))``; the
interop tests compare hundreds more with a live Node.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from relaybox_hooks.errors import MalformedBodyError
from relaybox_hooks.wire.json_parsing import MAX_DEPTH, canonicalize_parsed, parse

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False).filter(math.isfinite)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('{"b": 1, "a": [1.0, -0.0, -0, 1E+2]}', '{"a":[1,0,0,100],"b":1}'),
        ('{"b":1,"10":2,"9":3,"a":4}', '{"10":2,"9":3,"a":4,"b":1}'),
        ('{"a": 1, "b": 2, "a": 3}', '{"a":3,"b":2}'),
        ('{"__proto__": {"x": 1}, "a": 2}', '{"__proto__":{"x":1},"a":2}'),
        ("9007199254740993", "9007199254740992"),
        ("-9007199254740993", "-9007199254740992"),
        ("[12345678901234567890, 18446744073709551616]",
         "[12345678901234567000,18446744073709552000]"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ("[1e-400, 2.47e-324, 4.9e-324]", "[0,0,5e-324]"),
        (r'"\u00e9\u0041\/\u007f\u2028"', '"éA/\x7f\u2028"'),
        (r'"\ud83d\ude00"', '"😀"'),
        (r'"\uD800"', r'"\ud800"'),
        (r'{"\ud800": "a\udc00b"}', r'{"\ud800":"a\udc00b"}'),
        (r'"\udc00\ud800"', r'"\udc00\ud800"'),
        (r'"\ud83dA😀"', r'"\ud83dA😀"'),
        (r'{"\ud83d\ude00":1,"\ufb33":9007199254740993,"\ud83d":3}',
         r'{"\ud83d":3,"😀":1,' + '"\ufb33":9007199254740992}'),
        (r'["\ud800", 1e16, 1e-7, 1.0, true, false, null, {}, [], ""]',
         r'["\ud800",10000000000000000,1e-7,1,true,false,null,{},[],""]'),
        (" \n\t\r 1 ", "1"),
    ],
)  # fmt: skip
def test_any_text_is_canonicalised_as_in_node(text: str, canonical: str) -> None:
    expected = canonical.encode()
    assert parse(text)[1] == expected
    assert parse(text.encode())[1] == expected
    assert parse(bytearray(text.encode()))[1] == expected
    assert parse(memoryview(text.encode()))[1] == expected
    assert canonicalize_parsed(json.loads(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e400",
        b'{"a": -1e400}',
        b'["\\ud800", NaN]',
        b'["\\ud800", 1e400]',
        b'["\\ud800", ' + b"9" * 400 + b"]",
        b'"\\ud800',
        b'"\\ud83d\\udc"',
        b"01",
        b"[1,]",
        b"{'a': 1}",
        b"{1: 2}",
        b'"a\tb"',
        b'"\\x"',
        b"[1][",
        b"\xef\xbb\xbf{}",
        b'\xef\xbb\xbf"\\ud800"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800\xff"',
        b"\x0b1",
        b"\xc2\xa01",
        "\ufeff{}",
        '"\ud800"',
        '"\ud800 \\ud800"',
        memoryview(b"1 2 3 ")[::2],
    ],
)
def test_what_json_parse_refuses_is_malformed(text: Any) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        parse(text)
    assert caught.value.reason
    assert "\ud800" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [math.inf],
        {"a": -math.inf},
        10**400,
        b"[1]",
        {"a": b"1"},
        {1: 2},
        {"a": {1, 2}},
        [object()],
    ],
)
def test_what_no_parser_returns_is_malformed(value: Any) -> None:
    with pytest.raises(MalformedBodyError):
        canonicalize_parsed(value)


def test_numbers_are_read_as_the_doubles_that_were_signed() -> None:
    """Otherwise digits that no signature vouches for would reach the receiver."""
    value, _ = parse('{"a": [9007199254740993, 12345678901234567890, 9007199254740991, 1.0]}')
    assert value == {"a": [9007199254740992.0, 12345678901234567000.0, 2**53 - 1, 1.0]}
    assert [type(number) for number in value["a"]] == [float, float, int, float]
    assert parse("-9007199254740993")[0] == -9007199254740992.0


def test_a_lone_surrogate_in_an_escape_is_kept() -> None:
    assert parse(r'{"\ud800": ["\udfff"]}')[0] == {"\ud800": ["\udfff"]}


@pytest.mark.parametrize("levels", [254, 255, 1000, MAX_DEPTH])
def test_deep_nesting_is_read(levels: int) -> None:
    """Deeper than orjson writes, and than Python's own stack allows."""
    text = b'{"a":' * (levels - 1) + b"[1]" + b"}" * (levels - 1)
    assert parse(text)[1] == text


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 200_000])
@pytest.mark.parametrize("inner", [b"", b'"\\ud800"'])
def test_nesting_beyond_all_measure_is_malformed(levels: int, inner: bytes) -> None:
    """Never a RecursionError, whatever comes in."""
    with pytest.raises(MalformedBodyError):
        parse(b"[" * levels + inner + b"]" * levels)


def test_a_parsed_value_may_be_deep_but_not_endless() -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert canonicalize_parsed(deep) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    with pytest.raises(MalformedBodyError, match="nested deeper than 1024 levels"):
        canonicalize_parsed([deep])
    deep.append(deep)
    with pytest.raises(MalformedBodyError, match="nested deeper than 1024 levels"):
        canonicalize_parsed(deep)


@given(JSON, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_every_way_of_writing_a_value_has_one_canonical_text(
    value: Any, ascii_only: bool, indent: int | str | None
) -> None:
    """Escapes, white space and the order of keys make no difference."""
    canonical = rfc8785.dumps(value)
    assert parse(canonical)[1] == canonical
    assert parse(json.dumps(value, ensure_ascii=ascii_only, indent=indent))[1] == canonical
    assert parse(json.dumps(_reversed(value)))[1] == canonical
    assert canonicalize_parsed(value) == canonical
    assert parse(canonical)[0] == value


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(element) for element in value] if isinstance(value, list) else value


@given(st.binary() | st.text())
def test_garbage_is_malformed_or_json(text: bytes | str) -> None:
    """No other error, whatever the bytes."""
    try:
        parse(text)
    except MalformedBodyError:
        pass
