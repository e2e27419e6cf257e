"""An event encoded once, a timestamp for each attempt, and the protocol's time format.

In canonical text ``data``, ``event``, ``id`` and ``session`` sort before ``timestamp``
(RFC 8785 §3.2.3). So a body is a prefix that never changes, the attempt's timestamp, and
two closing characters.
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
#: Characters of every timestamp: ``2024-10-22T13:15:08.913Z``.
_TIMESTAMP_LENGTH: Final = 24
#: Where a body has its timestamp.
_TIMESTAMP_PLACE: Final = slice(-_TIMESTAMP_LENGTH - len(_END), -len(_END))
#: Bytes of a body after its prefix.
_REST: Final = _TIMESTAMP_LENGTH + len(_END)
#: The ends of all timestamps; looking one up takes half the time of formatting it.
_FRACTIONS: Final = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))
#: What ``Date.prototype.toISOString`` writes, and the same with other fractions or ``+00:00``.
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|\+00:00)", re.ASCII)


class Envelope:
    """An event encoded once, for any number of webhooks and attempts.

    Attributes:
        id: the event's id.
        name: the event's name.
        prefix: the canonical body up to the timestamp's first character.
        time: when it was emitted, seconds since the Unix epoch.
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
        """Encode an event; later changes to ``data`` change nothing.

        Args:
            limit: the most bytes that a body may have.
            time: when the event was emitted, seconds since the Unix epoch.

        Raises:
            PayloadError: ``data`` or ``session`` cannot be sent faithfully, or the body is
                longer than ``limit``.
        """
        prefix = b"".join(
            (
                b'{"data":',
                canonicalize(data, "data"),
                _naming(name),
                orjson.dumps(event_id),
                b',"session":',
                session._encoded or encode_session(session),
                b',"timestamp":"',
            )
        )
        size = len(prefix) + _REST
        if size > limit:
            raise PayloadError(
                "data",
                f"the body comes to {size} bytes and max_body allows {limit}: "
                "send a reference to the data instead, or raise max_body",
            )
        return Envelope(event_id, name, prefix, time)

    def at(self, timestamp: str) -> bytes:
        """The body of an attempt made at ``timestamp``, as :func:`format_timestamp` gives it."""
        return self.prefix + (timestamp + _END).encode()

    def to_event(self) -> Event[Any]:
        """The event as a receiver would read it, with the time it was emitted."""
        body, _ = parse(self.at(""))
        return Event(self.id, self.name, body["data"], Session.of(body["session"]), self.time)

    def __repr__(self) -> str:
        return f"<Envelope {self.name} {self.id}>"


@lru_cache(maxsize=256)
def _naming(name: str) -> bytes:
    """The member with the event's name and all that is the same beside it; names are few."""
    return b',"event":%b,"id":' % orjson.dumps(name)


def encode_session(session: Session) -> bytes:
    """The canonical text of a session's eight wire fields, encoded once for each session.

    Raises:
        PayloadError: a field cannot be sent faithfully, for example ``session.user.seen``.
    """
    encoded = session._encoded
    if encoded is None:
        encoded = canonicalize(session.to_wire(), "session")
        object.__setattr__(session, "_encoded", encoded)
    return encoded


def timestamp_of(body: bytes) -> bytes:
    """The timestamp in a body that :meth:`Envelope.at` made."""
    return body[_TIMESTAMP_PLACE]


def format_timestamp(seconds: float) -> str:
    """Seconds since the Unix epoch as ``2024-10-22T13:15:08.913Z``, always 24 characters.

    What is finer than a millisecond is cut off, so that the text is not ahead of the clock (by
    more than the resolution of a float, 0.2 µs).

    Raises:
        ValueError: it is outside of the years 1 to 9999.
    """
    return _millisecond(int(seconds * 1000))


@lru_cache(maxsize=4)
def _millisecond(milliseconds: int) -> str:
    """A timestamp, which the events of a busy server share with the ones before."""
    return _second(milliseconds // 1000) + _FRACTIONS[milliseconds % 1000]


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """A whole second's text: a thousand timestamps and more may share it."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def parse_timestamp(text: str) -> float:
    """Seconds since the Unix epoch of ``2024-10-22T13:15:08.913Z``.

    Any fraction of one to nine digits, none at all, and ``+00:00`` for ``Z`` are read too.

    Raises:
        ValueError: it is not in that format, not UTC, or no date.
    """
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("not a UTC time such as 2024-10-22T13:15:08.913Z")
    return datetime.fromisoformat(text).timestamp()
