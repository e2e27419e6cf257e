"""Encoded events, per-attempt request bodies, and the protocol's timestamp format.

In canonical text the members ``data``, ``event``, ``id`` and ``session`` sort before
``timestamp`` (RFC 8785 §3.2.3). A body is therefore a prefix that is the same for every
attempt, the attempt's timestamp, and two closing characters.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.events import Event
from relaybox_hooks.session import Session
from relaybox_hooks.wire.canonical import canonicalize
from relaybox_hooks.wire.json_parsing import parse

_END: Final = '"}'
#: Length of every timestamp in characters: ``2024-10-22T13:15:08.913Z``.
_TIMESTAMP_LENGTH: Final = 24
#: Position of the timestamp in a body.
_TIMESTAMP_SLICE: Final = slice(-_TIMESTAMP_LENGTH - len(_END), -len(_END))
#: Bytes of a body after its prefix.
_SUFFIX_LENGTH: Final = _TIMESTAMP_LENGTH + len(_END)
#: Fractions of all timestamps; a lookup takes half the time of formatting.
_FRACTIONS: Final = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))
#: Output of ``Date.prototype.toISOString``, plus other fractions and ``+00:00``.
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|\+00:00)", re.ASCII)


class Envelope:
    """Encoded event, shared by all webhooks and attempts.

    Attributes:
        id: event id, a UUID string.
        name: event name.
        prefix: canonical body up to the first character of the timestamp, UTF-8.
        time: time of the emit, seconds since the Unix epoch.
    """

    __slots__ = ("id", "name", "prefix", "time")

    def __init__(self, id: str, name: str, prefix: bytes, time: float) -> None:
        self.id: str = id
        self.name: str = name
        self.prefix: bytes = prefix
        self.time: float = time

    @staticmethod
    def encode(
        event_id: str, name: str, data: object, session: Session, limit: int, *, time: float
    ) -> Envelope:
        """Encode an event. Later changes to ``data`` do not affect the envelope.

        Args:
            limit: maximum length of the body, bytes.
            time: time of the emit, seconds since the Unix epoch.

        Raises:
            PayloadError: JSON cannot represent ``data`` or ``session`` exactly, or the body is
                longer than ``limit``.
        """
        prefix = b"".join(
            (
                b'{"data":',
                canonicalize(data, "data"),
                _name_member(name),
                orjson.dumps(event_id),
                b',"session":',
                session.encoded or encode_session(session),
                b',"timestamp":"',
            )
        )
        size = len(prefix) + _SUFFIX_LENGTH
        if size > limit:
            raise PayloadError(
                "data",
                f"the body has {size} bytes and max_body allows {limit}: "
                "send a reference to the data instead, or raise max_body",
            )
        return Envelope(event_id, name, prefix, time)

    def at(self, timestamp: str) -> bytes:
        """Return the body of an attempt.

        Args:
            timestamp: time of the attempt, formatted by :func:`format_timestamp`.
        """
        return self.prefix + (timestamp + _END).encode()

    def to_event(self) -> Event[Any]:
        """Decode the event as a receiver would, with the time of the emit."""
        body, _ = parse(self.at(""))
        return Event(self.id, self.name, body["data"], Session.of(body["session"]), self.time)

    def __repr__(self) -> str:
        return f"<Envelope {self.name} {self.id}>"


@lru_cache(maxsize=256)
def _name_member(name: str) -> bytes:
    """Return the ``event`` member and the key of ``id``; cached, for event names are few."""
    return b',"event":%b,"id":' % orjson.dumps(name)


def encode_session(session: Session) -> bytes:
    """Return the canonical text of a session's eight wire fields, cached on the session.

    Raises:
        PayloadError: JSON cannot represent a field exactly, for example ``session.user.seen``.
    """
    encoded = session.encoded
    if encoded is None:
        encoded = canonicalize(session.to_wire(), "session")
        session.cache_encoded(encoded)
    return encoded


def timestamp_of(body: bytes) -> bytes:
    """Return the timestamp in a body that :meth:`Envelope.at` returned, ASCII."""
    return body[_TIMESTAMP_SLICE]


def format_timestamp(seconds: float) -> str:
    """Format seconds since the Unix epoch as ``2024-10-22T13:15:08.913Z``, 24 characters.

    Fractions of a millisecond are truncated, not rounded, so that the timestamp is never ahead
    of the clock (by more than the resolution of a float, 0.2 µs).

    Raises:
        ValueError: the year is not one of 1 to 9999.
    """
    return _millisecond(int(seconds * 1000))


@lru_cache(maxsize=4)
def _millisecond(milliseconds: int) -> str:
    """Format a timestamp; cached, for consecutive events of a busy server share it."""
    return _second(milliseconds // 1000) + _FRACTIONS[milliseconds % 1000]


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """Format a whole second; cached, for up to a thousand timestamps share it."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def parse_timestamp(text: str) -> float:
    """Parse ``2024-10-22T13:15:08.913Z`` into seconds since the Unix epoch.

    Also accepts no fraction, a fraction of one to nine digits, and ``+00:00`` for ``Z``.

    Raises:
        ValueError: ``text`` has another format, is not UTC, or is not a valid date.
    """
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("not a UTC time such as 2024-10-22T13:15:08.913Z")
    return datetime.fromisoformat(text).timestamp()
