"""Signing across a scheduled key rotation."""

from __future__ import annotations

from datetime import UTC, datetime

from relaybox_hooks.wire.envelope import timestamp_of
from relaybox_hooks.wire.signing import SigningKey


class RotatingKey:
    """Pair of signing keys, of which the second takes over at a scheduled time.

    The signed timestamp in the body selects the key.

    Args:
        previous: key that signs before ``rotate_at``.
        key: key that signs from ``rotate_at`` on.
        rotate_at: aware datetime, truncated to the millisecond like timestamps.
    """

    __slots__ = ("_key", "_previous", "_rotate_at")

    def __init__(self, previous: SigningKey, key: SigningKey, rotate_at: datetime) -> None:
        self._previous = previous
        self._key = key
        text = rotate_at.astimezone(UTC).isoformat(timespec="milliseconds")
        self._rotate_at = text.replace("+00:00", "Z").encode()

    def sign(self, body: bytes) -> str:
        """Return the signature of an attempt's body, 64 lower-case hex digits."""
        # Timestamps have one length and are in UTC, so they sort as text.
        key = self._previous if timestamp_of(body) < self._rotate_at else self._key
        return key.sign(body)
