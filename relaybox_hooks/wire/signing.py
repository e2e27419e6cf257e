"""Signatures of webhook bodies, as RelayBox computes them.

``hex(HMAC-SHA256(key, JSON.stringify(canonical)))``: what is signed is a JSON string *of* the
canonical text, quoted and with its inner quotes escaped, in UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
from os import urandom
from typing import Final, NoReturn, Self

import orjson

from relaybox_hooks.errors import ConfigError

#: Carries the signature of the body.
SIGNATURE_HEADER: Final = "X-Relaybox-Webhook-Signature"
#: Carries the webhook's id, not the event's. The protocol does not sign it.
WEBHOOK_ID_HEADER: Final = "X-Relaybox-Webhook-Id"

#: The block of SHA-256 in bytes; a longer key is hashed first (RFC 2104 §2).
_BLOCK: Final = hashlib.sha256().block_size
_IPAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OPAD: Final = bytes(byte ^ 0x5C for byte in range(256))


class Secret:
    """Bytes to sign with, prepared once for any number of signatures. They never show.

    Kept are the two SHA-256 states that HMAC (RFC 2104 §2) starts from, so that a signature
    hashes no key again and copies no ``hmac.HMAC``, which costs half as much again.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK:
            secret = hashlib.sha256(secret).digest()
        block = secret.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(block.translate(_IPAD))
        self._outer = hashlib.sha256(block.translate(_OPAD))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled, for that would write it down")

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"


class SigningKey(Secret):
    """A webhook's signing key, as RelayBox hands it out.

    Args:
        key: its UTF-8 bytes are used as they are; it is never decoded from hex or base64.
        option: what an error calls it.

    Raises:
        ConfigError: it is empty, no str, or not encodable as UTF-8.
    """

    __slots__ = ()

    def __init__(self, key: str, option: str = "signing_key") -> None:
        if not isinstance(key, str) or not key:
            raise ConfigError(option, "***", "pass the webhook's key, a str, not empty")
        try:
            secret = key.encode()
        except UnicodeEncodeError:
            # The original error holds the key.
            raise ConfigError(option, "***", "it holds a lone surrogate") from None
        super().__init__(secret)

    def sign(self, canonical: bytes) -> str:
        """The signature of a canonical text: 64 lower-case hex digits."""
        inner = self._inner.copy()
        # Canonical text has no raw control characters and no lone surrogates, so all that
        # JSON.stringify escapes in it is what orjson escapes too: backslash and quote.
        inner.update(orjson.dumps(canonical.decode()))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def verify(self, canonical: bytes, signature: str) -> bool:
        """Whether ``signature`` is exactly that of ``canonical``, compared in constant time."""
        # compare_digest refuses text that is not ASCII.
        return signature.isascii() and hmac.compare_digest(self.sign(canonical), signature)


def generate_signing_key() -> str:
    """A new signing key: 32 lower-case hex digits, 128 bits from the system's randomness."""
    return urandom(16).hex()
