"""Responses of ``listen``: those of a correct receiver, or the faults that its options select."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Literal, TypeAlias

import typer

from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    Drip,
    EndlessBody,
    Fault,
    Garbage,
    Hang,
    Late,
    Redirect,
    ResetAfterRead,
)

FaultName: TypeAlias = Literal["hang", "reset", "garbage", "redirect", "drip", "cut", "endless"]

#: Faults without a selectable status.
_STATUSLESS: Final = ("hang", "reset", "garbage", "redirect")

#: Seconds between the bytes of a dripping response and between the chunks of an endless one: slow
#: enough to exceed common timeouts, fast enough to be observed.
_INTERVAL: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOptions:
    """Options that change the response of a correct receiver.

    Attributes:
        status: status of the response; ``None`` for that of a correct receiver.
        fault: fault to play instead of a complete response.
        delay: seconds before the response.
        retry_after: value of a ``Retry-After`` header, seconds.
        first: number of requests to apply the options to; ``None`` for all.

    Raises:
        BadParameter: ``fault`` does not allow a ``status``.
    """

    status: int | None = None
    fault: FaultName | None = None
    delay: float = 0.0
    retry_after: int | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.status is not None and self.fault in _STATUSLESS:
            raise typer.BadParameter(
                f"--fault {self.fault} sends no status: leave out one of the two",
                param_hint="--status",
            )
        if self.status is not None:
            Answer(self.status)

    @property
    def overrides_answer(self) -> bool:
        """Return True if the response of a forwarded request is replaced."""
        return self.status is not None or self.fault is not None

    def applies_to(self, number: int) -> bool:
        """Return True if the options apply to the request with this number, from 1."""
        return self.first is None or number <= self.first

    def apply(self, answer: Answer) -> Fault:
        """Return the fault to play instead of ``answer``, a correct receiver's response."""
        answer = self._altered(answer)
        fault = self._fault_for(answer)
        return Late(fault, self.delay) if self.delay else fault

    def describe(self, answer: Answer) -> str:
        """Return a short text for the fault that :meth:`apply` returns."""
        status = str(self._altered(answer).status)
        if self.fault is not None:
            status = self.fault if self.fault in _STATUSLESS else f"{status} {self.fault}"
        return f"{status} after {self.delay:g} s" if self.delay else status

    def _altered(self, answer: Answer) -> Answer:
        if self.status is not None:
            answer = Answer(self.status)
        elif self.fault is not None and answer.status == HTTPStatus.NO_CONTENT:
            answer = Answer(HTTPStatus.OK)  # allows a body, which these faults need
        if self.retry_after is not None:
            fields = {**answer.headers, "Retry-After": str(self.retry_after)}
            answer = replace(answer, headers=fields)
        return answer

    def _fault_for(self, answer: Answer) -> Fault:
        match self.fault:
            case None:
                return answer
            case "hang":
                return Hang()
            case "reset":
                return ResetAfterRead()
            case "garbage":
                return Garbage()
            case "redirect":
                return Redirect("/elsewhere")
            case "drip":
                return Drip(answer, _INTERVAL)
            case "cut":
                return CloseMidResponse(Answer(answer.status, body=b"cut short"), 3)
            case "endless":
                return EndlessBody(answer.status, _INTERVAL)


#: Options of a correct receiver.
NO_FAULT: Final = FaultOptions()
