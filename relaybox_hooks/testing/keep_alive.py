"""Faults of kept-alive connections: they follow a response that is complete and well-formed."""

from __future__ import annotations

from dataclasses import dataclass, field

from relaybox_hooks.testing.faults import (
    Answer,
    CloseAfterRead,
    Exchange,
    Fault,
    Late,
    ResetAfterRead,
)
from relaybox_hooks.validation import check_int


@dataclass(frozen=True, slots=True)
class SurplusResponses(Fault):
    """Response to the request, and complete, unrequested responses after it.

    The next request of the connection is served after them. Only ``answer`` counts as the
    response of the request.

    Attributes:
        answer: response to the request.
        surplus: each of the further responses.
        number: number of the further responses.
        delay: seconds between ``answer`` and the further responses; 0 sends all in one piece.

    Raises:
        ConfigError: ``number`` is less than 1.
    """

    answer: Answer = field(default_factory=Answer)
    surplus: Answer = field(default_factory=Answer)
    number: int = 1
    delay: float = 0.0

    def __post_init__(self) -> None:
        check_int("number", self.number)

    def play(self, exchange: Exchange) -> None:
        if self.delay:
            exchange.write(self.answer.wire)
            surplus = _Unrequested(self.surplus, self.number)
            exchange.finish(self.answer.status, then=Late(surplus, self.delay))
        else:
            exchange.write(self.answer.wire + self.surplus.wire * self.number)
            exchange.finish(self.answer.status, responses=1 + self.number)


@dataclass(frozen=True, slots=True)
class _Unrequested(Fault):
    """Responses without a request."""

    answer: Answer
    number: int

    def play(self, exchange: Exchange) -> None:
        exchange.write(self.answer.wire * self.number)
        exchange.finish(self.answer.status, responses=self.number)


@dataclass(frozen=True, slots=True)
class CloseOnReuse(Fault):
    """Response that keeps the connection alive, whose next request is read but not answered.

    The next request on the connection, whatever the script has for it, ends the connection: with
    FIN, or with RST. It counts as a request. A new connection works.

    Attributes:
        answer: response to the first request.
        reset: end the connection with RST.
    """

    answer: Answer = field(default_factory=Answer)
    reset: bool = False

    def play(self, exchange: Exchange) -> None:
        exchange.next_request(ResetAfterRead() if self.reset else CloseAfterRead())
        self.answer.play(exchange)


@dataclass(frozen=True, slots=True)
class CloseAfterAnswer(Fault):
    """Response that keeps the connection alive by its headers, and FIN right after it."""

    answer: Answer = field(default_factory=Answer)

    def play(self, exchange: Exchange) -> None:
        exchange.write(self.answer.wire)
        exchange.finish(self.answer.status, close=True)
