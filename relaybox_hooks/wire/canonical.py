"""RFC 8785 (JCS) text of what a sender passes: orjson where it is exact, rfc8785 where not.

orjson's sorted text *is* the canonical text (RFC 8785 §3.2) but for three things:

* floats: it prints ``1.0``, ``-0.0``, ``1e16`` and ``2e-6`` where ECMAScript's
  ``Number::toString`` (§3.2.2.3) has ``1``, ``0``, ``10000000000000000`` and ``0.000002``;
* the order of keys: by code points, where §3.2.3 wants UTF-16 code units. The two differ
  only where a key holds a character beyond the BMP;
* what is not JSON's own, a dataclass for example: its members stay unsorted.

A walk over the types of a value shows that none of these is in it, at a fraction of what an
exact serialiser costs. Where one is, the value is read back from orjson's text, which holds
every double exactly, and only the part that differs is left to rfc8785.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, Final

import orjson

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.wire.payload_errors import MAX_INTEGER, OPTIONS, payload_error

#: Leaves that orjson writes exactly; subclasses of them are not among the exact types.
_LEAVES: Final = frozenset({str, int, bool, NoneType})
#: orjson turns to exponents below it, ECMAScript below 1e-6.
_SMALL: Final = 1e-5
#: The last character of the BMP.
_BMP: Final = "\uffff"


def canonicalize(value: object, path: str) -> bytes:
    """The RFC 8785 text of ``value``.

    Args:
        value: dict with str keys, list, tuple, str, int, float, bool, None, dataclass, Enum,
            UUID, datetime, date, time, and any nesting of them. NaN and the infinities become
            ``null``, as ``JSON.stringify`` has it.
        path: what ``value`` is called in an error: ``data`` gives ``data.items[3].price``.

    Raises:
        PayloadError: something in ``value`` cannot be sent faithfully.
    """
    try:
        text = orjson.dumps(value, option=OPTIONS)
        plain = _is_plain(value)
        if plain and text.isascii():  # nearly always: is_exact() without its call
            return text
        exact = plain and not _has_astral_key(value)
        return text if exact else _exact(orjson.loads(text))
    except (TypeError, ValueError) as error:
        raise payload_error(value, path, error) from None
    except RecursionError:
        raise PayloadError(
            path, "nested too deeply for what is left of the caller's stack: flatten it"
        ) from None


def is_exact(value: object, text: bytes) -> bool:
    """Whether ``text``, which orjson wrote for ``value`` with ``OPTIONS``, is canonical.

    Raises:
        RecursionError: the caller's stack has no room for as many frames as ``value`` has levels.
    """
    return _is_plain(value) and (text.isascii() or not _has_astral_key(value))


def number(value: float) -> bytes:
    """A finite double as ECMAScript prints it.

    Raises:
        ValueError: it is NaN or an infinity.
    """
    import rfc8785  # noqa: PLC0415 - few processes ever need it, and importing it takes time

    return rfc8785.dumps(value)


def _is_plain(value: Any) -> bool:
    """Whether orjson writes everything in ``value`` as RFC 8785 does, the order of keys aside."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _LEAVES
    for child in value:
        if type(child) in _LEAVES:
            continue
        if type(child) is float:
            # Denied by NaN and the infinities too, which a sender's text has as null.
            if child.is_integer() or not _SMALL <= abs(child) <= MAX_INTEGER:
                return False
        elif not _is_plain(child):
            return False
    return True


def _has_astral_key(value: object) -> bool:
    """Whether a key somewhere in a plain ``value`` holds a character beyond the BMP."""
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
    for child in children:  # noqa: SIM110 - any() would take a second frame for each level
        if type(child) not in _LEAVES and _has_astral_key(child):
            return True
    return False


def _exact(tree: Any) -> bytes:
    """The canonical text of what was read from orjson's. ``tree`` is changed on the way."""
    if _has_astral_key(tree):
        import rfc8785  # noqa: PLC0415 - see number()

        return rfc8785.dumps(tree)
    return orjson.dumps(_settle(tree), option=OPTIONS)


def _settle(tree: Any) -> Any:
    """Replace, in place, the floats that orjson prints otherwise than ECMAScript.

    Integral ones, which coordinates often are, become the integers they print as.
    """
    kind = type(tree)
    if kind is float:
        size = abs(tree)
        if tree.is_integer():
            return int(tree) if size <= MAX_INTEGER else orjson.Fragment(number(tree))
        return tree if size >= _SMALL else orjson.Fragment(number(tree))
    if kind is dict or kind is list:
        for step, child in tree.items() if kind is dict else enumerate(tree):
            if type(child) not in _LEAVES:
                tree[step] = _settle(child)
    return tree
