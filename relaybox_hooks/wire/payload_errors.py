"""Error messages for values that JSON cannot represent exactly: path, cause and remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final

import orjson

from relaybox_hooks.errors import PayloadError

#: ``Number.MAX_SAFE_INTEGER``: beyond it doubles skip integers (RFC 8785 appendix D).
MAX_INTEGER: Final = 2**53 - 1
#: Maximum nesting that orjson writes.
MAX_DEPTH: Final = 254
#: Options of all encoding: keys sorted, integers beyond ``MAX_INTEGER`` rejected.
OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER

#: Maximum length of a path in an error: long enough to find the value, too short to leak a
#: payload.
_PATH_LIMIT: Final = 240
#: Maximum length of one key in such a path.
_KEY_LIMIT: Final = 60

_ADVICE: Final = (
    (int, "an integer beyond ±(2^53 - 1), which JavaScript cannot read exactly: send it as a str"),
    (str, "text with a lone surrogate, which UTF-8 cannot carry: replace it before sending"),
    ((bytes, bytearray, memoryview), "bytes are not JSON: decode them, or send base64 text"),
    ((set, frozenset, tuple), "not one of JSON's types: send a list"),
)


def payload_error(value: object, path: str, error: Exception) -> PayloadError:
    """Return the error for a ``value`` that orjson rejected with ``error``.

    The message contains nothing of the value but the keys that lead to the fault. The search
    uses an explicit stack, since excessive nesting may be the fault.
    """
    pending: list[tuple[Any, str, tuple[int, ...]]] = [([value], "", ())]
    while pending:
        item, where, above = pending.pop()
        if id(item) in above:
            return PayloadError(_short(where), "it contains itself: send an id in its place")
        if len(above) > MAX_DEPTH:  # not >=: the outermost list is this function's own
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
    """Return (path step, child) pairs of a container, in the order of orjson's visits."""
    if isinstance(container, Enum):
        return [(None, container.value)]
    if isinstance(container, dict):
        return container.items()
    if isinstance(container, list | tuple):
        return enumerate(container)
    names = (field.name for field in fields(container) if not field.name.startswith("_"))
    return [(name, getattr(container, name, None)) for name in names]


def _advice(leaf: object) -> str | None:
    """Return cause and remedy for a leaf that orjson rejects, ``None`` for a valid leaf."""
    try:
        # Dumped twice, because orjson embeds an orjson.Fragment without validating it.
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
    """Format one step of a path: ``.name``, ``["odd name"]`` or ``[3]``."""
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
