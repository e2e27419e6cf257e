"""Requests as a sender signs them, and the clock of the verifier."""

from __future__ import annotations

import time
from typing import Final, TypeAlias

from relaybox_hooks import Session
from relaybox_hooks.wire.envelope import Envelope, format_timestamp
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey
from support.dispatching import KEY

Headers: TypeAlias = dict[str, str]

_ZOE: Final = Session(client_id="zoe")


def signed(
    event_id: str = "e-1",
    data: object = None,
    *,
    session: Session = _ZOE,
    key: str = KEY,
    age: float = 0,
) -> tuple[Headers, bytes]:
    """Headers and body of a request that was signed ``age`` seconds ago."""
    envelope = Envelope.encode(event_id, "room:join", data, session, 1 << 30, time=0)
    body = envelope.at(format_timestamp(time.time() - age))
    return {SIGNATURE_HEADER: SigningKey(key).sign(body), WEBHOOK_ID_HEADER: "crm"}, body


class SettableClock:
    """A verifier's clock: it stands still until it is set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
