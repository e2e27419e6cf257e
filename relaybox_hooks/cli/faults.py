"""What ``listen`` answers: as a good receiver does, or as it was told to misbehave."""

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

#: Those that have no status of their own to choose.
_STATUSLESS: Final = ("hang", "reset", "garbage", "redirect")

#: Seconds between the bytes of a dripping answer, and between the pieces of an endless one:
#: slow enough to outlast any time-out, fast enough to be seen at work.
_INTERVAL: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """How requests are answered that meet anything but a good receiver.

    Attributes:
        status: answered instead of what the request deserves.
        fault: met instead of a whole answer.
        delay: seconds before any of it.
        retry_after: seconds that the answer asks the sender to wait.
        first: only so many requests meet it; ``None``: all of them.
    """

    status: int | None = None
    fault: FaultName | None = None
    delay: float = 0.0
    retry_after: int | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.status is not None and self.fault in _STATUSLESS:
            raise typer.BadParameter(
                f"--fault {self.fault} answers no status of yours: leave one of the two out",
                param_hint="--status",
            )
        if self.status is not None:
            Answer(self.status)

    @property
    def answers(self) -> bool:
        """Whether it takes the place of a forwarded request's own answer."""
        return self.status is not None or self.fault is not None

    def meets(self, number: int) -> bool:
        """Whether the request of this number, from 1, meets it."""
        return self.first is None or number <= self.first

    def of(self, answer: Answer) -> Fault:
        """What becomes of a request that a good receiver gives ``answer``."""
        answer = self._altered(answer)
        fault = self._in_place_of(answer)
        return Late(fault, self.delay) if self.delay else fault

    def words(self, answer: Answer) -> str:
        """The same in words, for a line."""
        status = str(self._altered(answer).status)
        if self.fault is not None:
            status = self.fault if self.fault in _STATUSLESS else f"{status} {self.fault}"
        return f"{status} after {self.delay:g} s" if self.delay else status

    def _altered(self, answer: Answer) -> Answer:
        if self.status is not None:
            answer = Answer(self.status)
        elif self.fault is not None and answer.status == HTTPStatus.NO_CONTENT:
            answer = Answer(HTTPStatus.OK)  # whose body can be cut, or go on for ever
        if self.retry_after is not None:
            fields = {**answer.headers, "Retry-After": str(self.retry_after)}
            answer = replace(answer, headers=fields)
        return answer

    def _in_place_of(self, answer: Answer) -> Fault:
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


#: A good receiver.
GOOD: Final = Misbehaviour()
