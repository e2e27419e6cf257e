"""Events whose body has a given length, to the byte."""

from __future__ import annotations

from typing import Any, Final

from relaybox_hooks import Session
from relaybox_hooks.wire.envelope import Envelope

#: The event they belong to: its data has a member that may be of any length.
EVENT: Final = "room:join"

#: An event's id, and a timestamp's length beyond the prefix: see :meth:`Envelope.at`.
_ID: Final = "0192b4f6-0000-7000-8000-000000000000"
_TIMESTAMP: Final = "2024-10-22T13:15:08.913Z"


def body_size(data: object, session: Session | None) -> int:
    """Bytes of the request's body that an event is sent in."""
    envelope = Envelope.encode(_ID, EVENT, data, session or Session(), 1 << 30, time=0.0)
    return len(envelope.at(_TIMESTAMP))


def padded(size: int, session: Session | None = None) -> Any:
    """Data of an event whose body is ``size`` bytes long; ``None`` where that is too short."""
    missing = size - body_size({"roomId": ""}, session)
    return {"roomId": "x" * missing} if missing >= 0 else None
