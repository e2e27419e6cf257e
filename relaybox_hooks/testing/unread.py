"""Faults of a server that does not read: they play before anything of a request is read.

The kernel accepts what a client sends until the receive buffer is full;
``FaultReceiver(receive_buffer=...)`` makes it small. A script that needs the request (a function, a
mapping of paths) chooses these faults only after the request was read, and a sequence of faults
after the first bytes of a request if the connection is open already: nothing more is read then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from relaybox_hooks.testing.faults import Answer, Exchange, Fault, Hang, Late, Stage
from relaybox_hooks.validation import check_int


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """Accepted connection on which nothing is read or sent: a TLS handshake gets no answer.

    Unlike :class:`NeverRead`, which completes the handshake, and :class:`Hang`, which reads the
    request.
    """

    stage: ClassVar[Stage] = "accepted"

    def play(self, exchange: Exchange) -> None:
        exchange.stop_reading()


@dataclass(frozen=True, slots=True)
class NeverRead(Fault):
    """Connection of which no byte of a request is read and to which nothing is sent.

    With TLS the handshake is completed first.
    """

    stage: ClassVar[Stage] = "connected"

    def play(self, exchange: Exchange) -> None:
        exchange.stop_reading()


@dataclass(frozen=True, slots=True)
class AnswerUnread(Fault):
    """Complete responses as soon as the connection is ready; no byte of a request is read.

    With TLS the handshake is completed first. The responses are not in ``accepted``, because
    their requests are unknown; ``receiver.responses`` counts them.

    Attributes:
        answer: each of the responses.
        limit: number of responses; ``None`` for no end. The connection stays open after them.
        interval: seconds between the responses, as far as the client reads them.

    Raises:
        ConfigError: ``limit`` is less than 1.
    """

    stage: ClassVar[Stage] = "connected"
    answer: Answer = field(default_factory=Answer)
    limit: int | None = 1
    interval: float = 0.0

    def __post_init__(self) -> None:
        if self.limit is not None:
            check_int("limit", self.limit)

    def play(self, exchange: Exchange) -> None:
        exchange.stop_reading()
        exchange.write(self.answer.wire)
        exchange.finish(self.answer.status, then=self._rest())

    def _rest(self) -> Fault:
        if self.limit == 1:
            return Hang()
        limit = None if self.limit is None else self.limit - 1
        return Late(replace(self, limit=limit), self.interval)
