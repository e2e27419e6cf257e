"""RelayBox signatures of webhook bodies.

``hex(HMAC-SHA256(key, JSON.stringify(canonical)))``: the signed message is a JSON string *of*
the canonical text, in quotes and with inner quotes escaped, UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
from os import urandom
from typing import Final, NoReturn, Self

import orjson

from relaybox_hooks.errors import ConfigError

#: Header with the signature of the body.
SIGNATURE_HEADER: Final = "X-Relaybox-Webhook-Signature"
#: Header with the id of the webhook (not of the event). The signature does not cover it.
WEBHOOK_ID_HEADER: Final = "X-Relaybox-Webhook-Id"

#: Block size of SHA-256, bytes; longer keys are hashed first (RFC 2104 §2).
_BLOCK: Final = hashlib.sha256().block_size
_IPAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OPAD: Final = bytes(byte ^ 0x5C for byte in range(256))


class Secret:
    """HMAC-SHA256 key, prepared once for many signatures; never shown and never pickled.

    Stores the two SHA-256 states that HMAC starts from (RFC 2104 §2) instead of an
    ``hmac.HMAC``, because copying the latter makes a signature half as expensive again.
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
        raise TypeError(
            f"a {type(self).__name__} is not pickled, because that would store the secret in plain "
            "text; pass the key itself and create a new one"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"


class SigningKey(Secret):
    """Signing key of a webhook, as issued by RelayBox.

    Args:
        key: key string; its UTF-8 bytes are the HMAC key, without hex or base64 decoding.
        option: option name to use in errors.

    Raises:
        ConfigError: ``key`` is empty, not a str, or not encodable as UTF-8.
    """

    __slots__ = ()

    def __init__(self, key: str, option: str = "signing_key") -> None:
        if not isinstance(key, str) or not key:
            raise ConfigError(option, "***", "pass the webhook's key, a str, not empty")
        try:
            secret = key.encode()
        except UnicodeEncodeError:
            # Not chained: the original error contains the key.
            raise ConfigError(option, "***", "it holds a lone surrogate") from None
        super().__init__(secret)

    def sign(self, canonical: bytes) -> str:
        """Return the signature of a canonical text, 64 lower-case hex digits."""
        inner = self._inner.copy()
        # Canonical text has no raw control characters and no lone surrogates, so JSON.stringify
        # and orjson escape the same characters in it: backslash and quote.
        inner.update(orjson.dumps(canonical.decode()))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def verify(self, canonical: bytes, signature: str) -> bool:
        """Return True if ``signature`` is that of ``canonical``, compared in constant time."""
        # compare_digest raises TypeError for text that is not ASCII.
        return signature.isascii() and hmac.compare_digest(self.sign(canonical), signature)


def generate_signing_key() -> str:
    """Return a new random signing key: 32 lower-case hex digits, 128 bits from ``os.urandom``."""
    return urandom(16).hex()
