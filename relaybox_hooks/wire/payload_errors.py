"""What cannot be sent faithfully, where in a value it is, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final

import orjson

from relaybox_hooks.errors import PayloadError

#: Integers beyond it are not all doubles: ``Number.MAX_SAFE_INTEGER`` (RFC 8785 appendix D).
MAX_INTEGER: Final = 2**53 - 1
#: Containers within containers that orjson writes.
MAX_DEPTH: Final = 254
#: How everything that goes out is encoded: keys sorted, integers beyond ``MAX_INTEGER`` refused.
OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER

#: Characters of a path that an error shows: enough to find the value, too few to log a payload.
_PATH_LIMIT: Final = 240
#: Characters of one key in such a path.
_KEY_LIMIT: Final = 60

_ADVICE: Final = (
    (int, "an integer beyond ±(2^53 - 1), which JavaScript cannot read exactly: send it as a str"),
    (str, "text with a lone surrogate, which UTF-8 cannot carry: replace it before sending"),
    ((bytes, bytearray, memoryview), "bytes are not JSON: decode them, or send base64 text"),
    ((set, frozenset, tuple), "not one of JSON's types: send a list"),
)


def payload_error(value: object, path: str, error: Exception) -> PayloadError:
    """The error for a ``value`` that orjson refused with ``error``: what is wrong, and where.

    It keeps a stack of its own, since nesting may be the very fault. What it says holds no
    more of the value than the keys that lead to the fault.
    """
    pending: list[tuple[Any, str, tuple[int, ...]]] = [([value], "", ())]
    while pending:
        item, where, above = pending.pop()
        if id(item) in above:
            return PayloadError(_short(where), "it contains itself: send an id in its place")
        if len(above) > MAX_DEPTH:  # one more, for the list above is this function's own
            return PayloadError(_short(where), f"nested deeper than {MAX_DEPTH} levels: flatten it")
        for step, child in _children(item):
            if isinstance(item, dict) and type(step) is not str:
                kind = type(step).__name__
                return PayloadError(
                    _short(where), f"a key is of type {kind}: JSON's keys are text, use str(key)"
                )
            inner = where + _step(step) if above else path
            if isinstance(item, dict) and (advice := _advice(step)):
                return PayloadError(_short(inner), f"its key is {advice}")
            if _is_container(child):
                pending.append((child, inner, (*above, id(item))))
            elif advice := _advice(child):
                return PayloadError(_short(inner), advice)
    return PayloadError(path, f"{error}: convert it first")


def _is_container(value: object) -> bool:
    return (
        isinstance(value, dict | list | Enum)
        or type(value) is tuple
        or (is_dataclass(value) and not isinstance(value, type))
    )


def _children(container: Any) -> Iterable[tuple[object, object]]:
    """What orjson visits in a container, each with the step of the path that leads to it."""
    if isinstance(container, Enum):
        return [(None, container.value)]
    if isinstance(container, dict):
        return container.items()
    if isinstance(container, list | tuple):
        return enumerate(container)
    names = (field.name for field in fields(container) if not field.name.startswith("_"))
    return [(name, getattr(container, name, None)) for name in names]


def _advice(leaf: object) -> str | None:
    """What is wrong with a value that holds no others, and what to do about it."""
    try:
        # Twice, for an orjson.Fragment is embedded unread.
        orjson.dumps(orjson.loads(orjson.dumps(leaf, option=OPTIONS)), option=OPTIONS)
    except (TypeError, ValueError) as error:
        for kinds, advice in _ADVICE:
            if isinstance(leaf, kinds):
                return advice
        reason = "" if isinstance(error, orjson.JSONDecodeError) else f" ({error})"
        kind = f"a {type(leaf).__name__}{reason}"
        return f"{kind} has no JSON form: convert it to a dict, list, str or number"
    return None


def _step(step: object) -> str:
    """How a path names a member or an element: ``.name``, ``["odd name"]``, ``[3]``."""
    if step is None:
        return ""
    if not isinstance(step, str):
        return f"[{step}]"
    if step.isidentifier():
        return f".{step}" if len(step) <= _KEY_LIMIT else f".{step[:_KEY_LIMIT]}…"
    return f"[{json.dumps(step)}]"


def _short(path: str) -> str:
    half = _PATH_LIMIT // 2
    return path if len(path) <= _PATH_LIMIT else f"{path[:half]}…{path[-half:]}"
