"""Diagnosis of a signature that does not match: tries the common mistakes. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Final

import orjson

_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")


def diagnose(keys: list[str], signature: str, body: bytes, canonical: bytes) -> Iterator[str]:
    """Yield sentences about the probable cause.

    Args:
        keys: keys under none of which ``signature`` matches.
        signature: signature as given.
        body: body as received.
        canonical: canonical text of the body.
    """
    digest = _digest(signature)
    if digest is None:
        yield (
            f"it is no signature: the protocol has 64 lower-case hex digits, this is "
            f"{len(signature)} characters"
        )
        return
    fits = False
    for number, key in enumerate(keys, 1):
        for secret, how in _secrets(key):
            for message, what in _messages(body, canonical):
                if hmac.compare_digest(digest, hmac.digest(secret, message, hashlib.sha256)):
                    fits = True
                    yield _sentence(number if len(keys) > 1 else 0, how, what, signature)
    if not fits:
        yield (
            "nothing near it fits either: it was made with another key, or the body was changed "
            "on its way (a middleware that parses and writes it again, a proxy, a copy)"
        )


def _digest(signature: str) -> bytes | None:
    """Return the 32 bytes of a signature in a common notation, ``None`` for other text."""
    text = signature.strip().removeprefix("sha256=").removeprefix("v1,")
    if _SIGNATURE.fullmatch(text.lower()):
        return bytes.fromhex(text)
    found = _base64(text)
    return found if found is not None and len(found) == hashlib.sha256().digest_size else None


def _secrets(key: str) -> Iterator[tuple[bytes, str]]:
    """Yield candidates for the HMAC key, each with the mistake that leads to it."""
    yield key.encode(), ""
    if key != key.strip():
        yield key.strip().encode(), "the white space around the key is taken off"
    elif key.strip():
        yield f"{key}\n".encode(), "a line's end is left on the key"
    try:
        yield bytes.fromhex(key), "the key is decoded from hex, which it must not be"
    except ValueError:
        pass
    decoded = _base64(key.strip().removeprefix("whsec_"))
    if decoded:
        yield decoded, "the key is decoded from base64, which it must not be"


def _messages(body: bytes, canonical: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield candidates for the signed message, each with the mistake that leads to it."""
    yield orjson.dumps(canonical.decode()), ""
    yield canonical, "the canonical text itself is signed, not a JSON string of it"
    if body != canonical:
        yield body, "the body is signed as it is, not a JSON string of its canonical text"
        text = body.decode("utf-8", "replace")
        yield orjson.dumps(text), "a JSON string of the body is signed, not of its canonical text"


def _sentence(number: int, how: str, what: str, signature: str) -> str:
    """Return a sentence about a combination that matches."""
    under = f" under key {number}" if number else ""
    steps = ", and ".join(filter(None, (how, what)))
    if not steps:
        return f"it fits{under}, but is written {signature!r}: write 64 lower-case hex digits"
    return f"it fits{under} if {steps}"


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
