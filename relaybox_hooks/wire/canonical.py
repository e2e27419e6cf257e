"""Canonical JSON text (RFC 8785, JCS) of a sender's values.

orjson's sorted output *is* canonical (RFC 8785 §3.2) with three exceptions:

* floats: orjson prints ``1.0``, ``-0.0``, ``1e16`` and ``2e-6`` where ECMAScript's
  ``Number::toString`` (§3.2.2.3) prints ``1``, ``0``, ``10000000000000000``, ``0.000002``;
* key order: orjson sorts by code point, §3.2.3 by UTF-16 code unit. The two differ only if a
  key contains a character beyond the Basic Multilingual Plane (BMP);
* types that JSON does not have, for example dataclasses: orjson does not sort their fields.

A walk over the types in a value rules all three out at a fraction of the cost of an exact
serialiser. A value that contains one of them is read back from orjson's text, which preserves
every double, and only the affected part goes through the slower rfc8785 package.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, Final

import orjson

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.wire.payload_errors import MAX_INTEGER, OPTIONS, payload_error

#: Types that orjson prints canonically. Their subclasses may print differently.
_LEAVES: Final = frozenset({str, int, bool, NoneType})
#: orjson switches to exponent notation below this magnitude, ECMAScript below 1e-6.
_SMALL: Final = 1e-5
#: Last character of the Basic Multilingual Plane.
_BMP: Final = "\uffff"


def canonicalize(value: object, path: str) -> bytes:
    """Return the RFC 8785 text of ``value``, UTF-8.

    Args:
        value: dict with str keys, list, tuple, str, int, float, bool, None, dataclass, Enum,
            UUID, datetime, date, time, nested in any way. NaN and infinities become ``null``,
            as in ``JSON.stringify``.
        path: prefix of the path in an error: ``data`` gives ``data.items[3].price``.

    Raises:
        PayloadError: ``value`` contains something that JSON cannot represent exactly.
    """
    try:
        text = orjson.dumps(value, option=OPTIONS)
        plain = _is_plain(value)
        if plain and text.isascii():  # the common case: is_exact(), inlined
            return text
        exact = plain and not _has_astral_key(value)
        return text if exact else _canonicalize_tree(orjson.loads(text))
    except (TypeError, ValueError) as error:
        raise payload_error(value, path, error) from None
    except RecursionError:
        raise PayloadError(
            path, "nested too deeply for the caller's remaining stack: flatten it"
        ) from None


def is_exact(value: object, text: bytes) -> bool:
    """Return True if ``text``, orjson's output for ``value`` with ``OPTIONS``, is canonical.

    Raises:
        RecursionError: ``value`` has more levels than the caller's stack has room for.
    """
    return _is_plain(value) and (text.isascii() or not _has_astral_key(value))


def format_number(value: float) -> bytes:
    """Return a finite double as ECMAScript prints it (RFC 8785 §3.2.2.3).

    Raises:
        ValueError: ``value`` is NaN or infinite.
    """
    import rfc8785  # noqa: PLC0415 - slow to import, and most processes never need it

    return rfc8785.dumps(value)


def _is_plain(value: Any) -> bool:
    """Return True if orjson prints all of ``value`` canonically, key order aside."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _LEAVES
    for child in value:
        if type(child) in _LEAVES:
            continue
        if type(child) is float:
            # Also False for NaN and infinities, which orjson prints as null.
            if child.is_integer() or not _SMALL <= abs(child) <= MAX_INTEGER:
                return False
        elif not _is_plain(child):
            return False
    return True


def _has_astral_key(value: object) -> bool:
    """Return True if any key in a plain ``value`` contains a character beyond the BMP."""
    children: Iterable[object]
    if type(value) is dict:
        keys = "".join(value)
        if not keys.isascii() and max(keys) > _BMP:
            return True
        children = value.values()
    elif type(value) is list or type(value) is tuple:
        children = value
    else:
        return False
    for child in children:  # noqa: SIM110 - any() would add a second stack frame per level
        if type(child) not in _LEAVES and _has_astral_key(child):
            return True
    return False


def _canonicalize_tree(tree: Any) -> bytes:
    """Return the canonical text of a tree that ``orjson.loads`` returned; modifies ``tree``."""
    if _has_astral_key(tree):
        import rfc8785  # noqa: PLC0415 - see format_number()

        return rfc8785.dumps(tree)
    return orjson.dumps(_replace_floats(tree), option=OPTIONS)


def _replace_floats(tree: Any) -> Any:
    """Replace, in place, floats that orjson prints differently from ECMAScript.

    Integral floats, common in coordinates, become ints; others become pre-formatted fragments.
    """
    kind = type(tree)
    if kind is float:
        size = abs(tree)
        if tree.is_integer():
            return int(tree) if size <= MAX_INTEGER else orjson.Fragment(format_number(tree))
        return tree if size >= _SMALL else orjson.Fragment(format_number(tree))
    if kind is dict or kind is list:
        for step, child in tree.items() if kind is dict else enumerate(tree):
            if type(child) not in _LEAVES:
                tree[step] = _replace_floats(child)
    return tree
