"""JSON parsing with the semantics of ``JSON.parse``, and canonical text as JavaScript has it.

A verifier must accept any text whose value has the signature, so it accepts more than a sender
may send: integers beyond 2^53, lone surrogates in escapes, and nesting deeper than orjson
writes. The reference is the ``json-canonicalize`` package on Node, which the tests compare with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn, TypeAlias

import orjson

from relaybox_hooks.errors import MalformedBodyError
from relaybox_hooks.wire.canonical import format_number, is_exact
from relaybox_hooks.wire.payload_errors import MAX_INTEGER, OPTIONS

#: JSON text as received.
JSONText: TypeAlias = str | bytes | bytearray | memoryview

#: Maximum nesting that orjson parses.
MAX_DEPTH: Final = 1024


def parse(text: JSONText) -> tuple[Any, bytes]:
    """Parse JSON text.

    Integers beyond ±(2^53 - 1) become floats, since the signature covers only their value as
    doubles. Of duplicate keys the last one wins.

    Returns:
        the value and its canonical text.

    Raises:
        MalformedBodyError: ``text`` is not JSON in UTF-8, contains a number beyond a double's
            range, or is nested deeper than 1024 levels.
    """
    value = _loads(text)
    canonical = _canonicalize_fast(value)
    if canonical is None:
        value = _large_ints_to_floats(value)
        canonical = _canonicalize_iteratively(value)
    return value, canonical


def canonicalize_parsed(value: object) -> bytes:
    """Return the canonical text of a value that a JSON parser returned.

    Raises:
        MalformedBodyError: ``value`` contains a type that JSON parsers do not return or a
            number beyond a double's range, or is nested deeper than 1024 levels.
    """
    return _canonicalize_fast(value) or _canonicalize_iteratively(value)


def _canonicalize_fast(value: object) -> bytes | None:
    """Return orjson's text if it is canonical, else ``None``."""
    try:
        text = orjson.dumps(value, option=OPTIONS)
        return text if is_exact(value, text) else None
    except (TypeError, RecursionError):
        return None


def _loads(text: JSONText) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    # The only input that JSON.parse accepts and orjson rejects is an escaped lone surrogate.
    try:
        decoded = text if isinstance(text, str) else str(text, "utf-8")
        decoded.encode()
        if "\\u" in decoded:
            return json.loads(decoded, parse_int=float, parse_constant=_reject_constant)
    except (TypeError, ValueError, RecursionError):
        pass
    raise MalformedBodyError(reason)


def _reject_constant(constant: str) -> NoReturn:
    """Raise ValueError for ``NaN`` and ``Infinity``, which only Python's parser accepts."""
    raise ValueError(constant)


def _large_ints_to_floats(value: Any) -> Any:
    """Replace, in place, integers beyond ±(2^53 - 1) with the doubles that JavaScript reads."""
    containers: list[Any] = [[value]]
    for container in containers:
        for step, child in container.items() if type(container) is dict else enumerate(container):
            if type(child) is dict or type(child) is list:
                containers.append(child)
            elif type(child) is int and abs(child) > MAX_INTEGER:
                container[step] = float(child)
    return containers[0][0]


def _canonicalize_iteratively(value: object) -> bytes:
    """Return the canonical text; uses an explicit stack, so deep nesting cannot overflow."""
    text: list[bytes] = []
    pending: list[tuple[Iterator[tuple[bytes, object]], bytes]] = [(iter([(b"", value)]), b"")]
    while pending:
        children, end = pending[-1]
        for lead, child in children:
            text.append(lead)
            if type(child) is dict:
                text.append(b"{")
                pending.append((_members(child), b"}"))
                break
            if type(child) is list or type(child) is tuple:
                text.append(b"[")
                pending.append((_elements(child), b"]"))
                break
            text.append(_leaf(child))
        else:
            text.append(end)
            pending.pop()
        if len(pending) > MAX_DEPTH + 1:
            raise MalformedBodyError(f"nested deeper than {MAX_DEPTH} levels")
    return b"".join(text)


def _members(value: dict[Any, object]) -> Iterator[tuple[bytes, object]]:
    lead = b""
    for key in sorted(value, key=_utf16):
        yield lead + _string(key) + b":", value[key]
        lead = b","


def _elements(value: Iterable[object]) -> Iterator[tuple[bytes, object]]:
    lead = b""
    for element in value:
        yield lead, element
        lead = b","


def _utf16(key: object) -> bytes:
    """Return the sort key of a member: its UTF-16 code units (RFC 8785 §3.2.3)."""
    if type(key) is not str:
        raise MalformedBodyError(f"a key is of type {type(key).__name__}")
    return key.encode("utf-16-be", "surrogatepass")


def _leaf(value: object) -> bytes:
    kind = type(value)
    if kind is str:
        return _string(value)  # type: ignore[arg-type]
    if value is None or kind is bool:
        return orjson.dumps(value)
    if kind is not int and kind is not float:
        raise MalformedBodyError(f"it holds a value of type {kind.__name__}")
    try:
        return format_number(float(value))  # type: ignore[arg-type]
    except (OverflowError, ValueError):
        # JSON.parse returns Infinity, which RFC 8785 §3.2.2.3 does not allow.
        raise MalformedBodyError("it holds a number beyond a double's range") from None


def _string(value: str) -> bytes:
    """Return a JSON string; lone surrogates become ``\\udxxx``, as in ``JSON.stringify``."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
