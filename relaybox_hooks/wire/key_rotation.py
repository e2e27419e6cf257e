"""Two keys that follow one another at a moment set in advance."""

from __future__ import annotations

from datetime import UTC, datetime

from relaybox_hooks.wire.envelope import timestamp_of
from relaybox_hooks.wire.signing import SigningKey


class RotatingKey:
    """Signs with one key until a moment, and with its successor from then on.

    Which of them it is, the timestamp in the body decides: the very one that is signed.

    Args:
        previous: the key that signs before ``moment``.
        key: the key that signs from ``moment`` on.
        moment: aware; to the millisecond, as timestamps are.
    """

    __slots__ = ("_key", "_moment", "_previous")

    def __init__(self, previous: SigningKey, key: SigningKey, moment: datetime) -> None:
        self._previous = previous
        self._key = key
        text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
        self._moment = text.replace("+00:00", "Z").encode()

    def sign(self, body: bytes) -> str:
        """The signature of an attempt's body: 64 lower-case hex digits."""
        # Timestamps are of one length and in UTC, so their texts sort as the moments do.
        key = self._previous if timestamp_of(body) < self._moment else self._key
        return key.sign(body)
