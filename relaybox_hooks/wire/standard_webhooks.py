"""Standard Webhooks signatures (https://www.standardwebhooks.com, version 1.0.0).

A signature is ``v1,`` followed by the base64 of the HMAC-SHA256 of ``id.timestamp.body``: the
event id, the time of the attempt in whole seconds, and the body as sent.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from os import urandom
from typing import Final

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.wire.signing import Secret

#: Header with the event id, the same on every attempt.
STANDARD_ID_HEADER: Final = "webhook-id"
#: Header with the time of the attempt, whole seconds since the Unix epoch.
STANDARD_TIMESTAMP_HEADER: Final = "webhook-timestamp"
#: Header with one signature per secret, separated by spaces.
STANDARD_SIGNATURE_HEADER: Final = "webhook-signature"

_PREFIX: Final = "whsec_"
#: Length of a secret in bytes that the specification allows (section "Signature scheme").
_MIN_LENGTH: Final = 24
_MAX_LENGTH: Final = 64
#: Length of a generated secret in bytes: that of the hash, more adds no strength (RFC 2104 §3).
_NEW_LENGTH: Final = 32


class StandardSecret(Secret):
    """Secret of the symmetric scheme.

    Args:
        secret: ``whsec_`` followed by the base64 of 24 to 64 bytes; padding is optional.

    Raises:
        ConfigError: ``secret`` has another form.
    """

    __slots__ = ()

    def __init__(self, secret: str) -> None:
        super().__init__(_decoded(secret))

    def sign(self, content: bytes) -> str:
        """Return the signature, with its version prefix, of :func:`signed_content`'s result."""
        inner = self._inner.copy()
        inner.update(content)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return "v1," + b2a_base64(outer.digest(), newline=False).decode()


def check_secrets(secrets: str | Iterable[str]) -> tuple[str, ...]:
    """Return one or several secrets as a tuple, in the given order.

    Raises:
        ConfigError: ``secrets`` is empty or contains an invalid secret.
    """
    try:
        given = (secrets,) if isinstance(secrets, str) else tuple(secrets)
    except TypeError:
        given = ()
    if not given:
        raise _secrets_error()
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
        if _MIN_LENGTH <= len(decoded) <= _MAX_LENGTH:
            return decoded
    raise _secrets_error()


def _secrets_error() -> ConfigError:
    return ConfigError(
        "standard_webhooks",
        "***",
        f"give secrets of the form '{_PREFIX}' and the base64 of {_MIN_LENGTH} to {_MAX_LENGTH} "
        "bytes, as generate_standard_secret() makes them",
    )


def signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the bytes to sign: ``id.timestamp.body``.

    Lone surrogates, which no sender can have signed, raise no error; no signature matches them.
    """
    return f"{message_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body


def standard_headers(
    secrets: Iterable[StandardSecret], message_id: str, time: float, body: bytes
) -> dict[str, str]:
    """Return the three headers of an attempt made at ``time``, seconds since the Unix epoch."""
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
    """Return the index of the first secret that one of ``signatures`` matches, else ``None``.

    Signatures of versions other than ``v1`` never match. Compared in constant time.
    """
    candidates = signatures.encode("utf-8", "surrogatepass").split(b" ")
    for index, secret in enumerate(secrets):
        expected = secret.sign(content).encode()
        if any(hmac.compare_digest(expected, candidate) for candidate in candidates):
            return index
    return None


def generate_standard_secret() -> str:
    """Return a new random secret: ``whsec_`` and the base64 of 32 bytes from ``os.urandom``."""
    return _PREFIX + b2a_base64(urandom(_NEW_LENGTH), newline=False).decode()
