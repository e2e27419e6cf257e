"""Reading JSON as ``JSON.parse`` does, and its canonical text as JavaScript computes it.

A verifier must accept whatever text has the signed value, so it reads more than a sender may
send: integers beyond 2^53, lone surrogates in escapes, and nesting deeper than orjson writes.
The ``json-canonicalize`` package on Node is the model, and the judge in the tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn, TypeAlias

import orjson

from relaybox_hooks.errors import MalformedBodyError
from relaybox_hooks.wire.canonical import is_exact, number
from relaybox_hooks.wire.payload_errors import MAX_INTEGER, OPTIONS

#: JSON text as it arrives.
JSONText: TypeAlias = str | bytes | bytearray | memoryview

#: Containers within containers that orjson reads.
MAX_DEPTH: Final = 1024


def parse(text: JSONText) -> tuple[Any, bytes]:
    """Read JSON text.

    Integers beyond ±(2^53 - 1) become floats, for a signature vouches for no more of them; of
    duplicate keys the last one holds.

    Returns:
        the value, and its canonical text.

    Raises:
        MalformedBodyError: it is not JSON in UTF-8, holds a number beyond a double's range, or
            is nested deeper than 1024 levels.
    """
    value = _loads(text)
    canonical = _quick(value)
    if canonical is None:
        value = _as_doubles(value)
        canonical = _thorough(value)
    return value, canonical


def canonicalize_parsed(value: object) -> bytes:
    """The canonical text of a value that a JSON parser returned.

    Raises:
        MalformedBodyError: no JSON parser returns such a value, or it holds a number beyond a
            double's range, or it is nested deeper than 1024 levels.
    """
    return _quick(value) or _thorough(value)


def _quick(value: object) -> bytes | None:
    """orjson's text, where that is the canonical one."""
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
    # All that JSON.parse reads and orjson refuses are lone surrogates, always as escapes.
    try:
        decoded = text if isinstance(text, str) else str(text, "utf-8")
        decoded.encode()
        if "\\u" in decoded:
            return json.loads(decoded, parse_int=float, parse_constant=_refuse)
    except (TypeError, ValueError, RecursionError):
        pass
    raise MalformedBodyError(reason)


def _refuse(constant: str) -> NoReturn:
    """``NaN`` and ``Infinity`` are Python's own additions to JSON."""
    raise ValueError(constant)


def _as_doubles(value: Any) -> Any:
    """Turn, in place, integers that are not safe into the doubles that JavaScript reads."""
    containers: list[Any] = [[value]]
    for container in containers:
        for step, child in container.items() if type(container) is dict else enumerate(container):
            if type(child) is dict or type(child) is list:
                containers.append(child)
            elif type(child) is int and abs(child) > MAX_INTEGER:
                container[step] = float(child)
    return containers[0][0]


def _thorough(value: object) -> bytes:
    """The canonical text, written with a stack of its own so that no body can exhaust Python's."""
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
    """What members are sorted by: UTF-16 code units (RFC 8785 §3.2.3)."""
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
        return number(float(value))  # type: ignore[arg-type]
    except (OverflowError, ValueError):
        # JSON.parse reads it as Infinity, and RFC 8785 §3.2.2.3 knows no Infinity.
        raise MalformedBodyError("it holds a number beyond a double's range") from None


def _string(value: str) -> bytes:
    """A JSON string; lone surrogates as ``\\udxxx``, which is what ``JSON.stringify`` writes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
