"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com, version 1.0.0).

``v1,`` and the base64 of an HMAC-SHA256 of ``id.timestamp.body``: the event's id, the attempt's
time in whole seconds, and the bytes of the body as they are sent.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from os import urandom
from typing import Final

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.wire.signing import Secret

#: The event's id: the same on every attempt.
STANDARD_ID_HEADER: Final = "webhook-id"
#: When this attempt was made, whole seconds since the Unix epoch.
STANDARD_TIMESTAMP_HEADER: Final = "webhook-timestamp"
#: One signature for each secret, with spaces in between.
STANDARD_SIGNATURE_HEADER: Final = "webhook-signature"

_PREFIX: Final = "whsec_"
#: Bytes that the specification allows a secret ("Signature scheme").
_LEAST: Final = 24
_MOST: Final = 64
#: Bytes of a new secret: as many as the hash has, more add nothing (RFC 2104 §3).
_NEW: Final = 32


class StandardSecret(Secret):
    """A secret of the symmetric scheme.

    Args:
        secret: ``whsec_`` and the base64, with or without its padding, of 24 to 64 bytes.

    Raises:
        ConfigError: it is anything else.
    """

    __slots__ = ()

    def __init__(self, secret: str) -> None:
        super().__init__(_decoded(secret))

    def sign(self, content: bytes) -> str:
        """The signature of what :func:`signed_content` returned, with its version."""
        inner = self._inner.copy()
        inner.update(content)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return "v1," + b2a_base64(outer.digest(), newline=False).decode()


def check_secrets(secrets: str | Iterable[str]) -> tuple[str, ...]:
    """One secret or several, in their order.

    Raises:
        ConfigError: there is none, or one that cannot be used.
    """
    try:
        given = (secrets,) if isinstance(secrets, str) else tuple(secrets)
    except TypeError:
        given = ()
    if not given:
        raise _refusal()
    for secret in given:
        StandardSecret(secret)
    return given


def _decoded(secret: str) -> bytes:
    if isinstance(secret, str) and secret.startswith(_PREFIX):
        text = secret.removeprefix(_PREFIX).rstrip("=")
        try:
            decoded = a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
        except ValueError:
            decoded = b""
        if _LEAST <= len(decoded) <= _MOST:
            return decoded
    raise _refusal()


def _refusal() -> ConfigError:
    return ConfigError(
        "standard_webhooks",
        "***",
        f"give secrets of the form '{_PREFIX}' and the base64 of {_LEAST} to {_MOST} bytes, "
        "as generate_standard_secret() makes them",
    )


def signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    """What is signed. Text that no sender can have signed is no error here, but fits nothing."""
    return f"{message_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body


def standard_headers(
    secrets: Iterable[StandardSecret], message_id: str, time: float, body: bytes
) -> dict[str, str]:
    """The three headers of an attempt made at ``time``, seconds since the Unix epoch."""
    timestamp = str(int(time))
    content = signed_content(message_id, timestamp, body)
    return {
        STANDARD_ID_HEADER: message_id,
        STANDARD_TIMESTAMP_HEADER: timestamp,
        STANDARD_SIGNATURE_HEADER: " ".join([secret.sign(content) for secret in secrets]),
    }


def matching_secret(
    secrets: Iterable[StandardSecret], content: bytes, signatures: str
) -> int | None:
    """Which of ``secrets`` one of the ``signatures`` was made with, ``None`` if none.

    Signatures of versions other than ``v1`` fit no secret. Compared in constant time.
    """
    candidates = signatures.encode("utf-8", "surrogatepass").split(b" ")
    for index, secret in enumerate(secrets):
        expected = secret.sign(content).encode()
        if any(hmac.compare_digest(expected, candidate) for candidate in candidates):
            return index
    return None


def generate_standard_secret() -> str:
    """A new secret: ``whsec_`` and 32 bytes from the system's randomness in base64."""
    return _PREFIX + b2a_base64(urandom(_NEW), newline=False).decode()
