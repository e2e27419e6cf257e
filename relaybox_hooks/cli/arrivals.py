"""Received requests: verified once, shown as a line or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from rich.text import Text

from relaybox_hooks.cli.console import iso, payload, printable, shortened, time_of_day
from relaybox_hooks.errors import MalformedBodyError, MissingHeaderError, VerificationError
from relaybox_hooks.receive import ReceivedEvent, WebhookVerifier
from relaybox_hooks.testing import Answer, ReceivedRequest

#: Width of the event column: that of all protocol events but the longest.
EVENT_COLUMNS: Final = 18


@dataclass(frozen=True, slots=True)
class Arrival:
    """Received request with the result of its verification.

    Attributes:
        time: time of the verification, seconds since the Unix epoch.
        request: the request as received.
        result: the event, or the error of a request that failed verification.
    """

    time: float
    request: ReceivedRequest
    result: ReceivedEvent | VerificationError

    @classmethod
    def verify(cls, verifier: WebhookVerifier, request: ReceivedRequest, now: float) -> Arrival:
        """Verify a request; ``verifier`` stores it to detect replays and duplicates."""
        try:
            return cls(now, request, verifier.verify(request.headers, request.body))
        except VerificationError as error:
            return cls(now, request, error)

    @property
    def verified(self) -> bool:
        """Return True if the request passed verification."""
        return isinstance(self.result, ReceivedEvent)

    @property
    def event_name(self) -> str | None:
        """Return the name of the event, ``None`` if verification failed."""
        return None if isinstance(self.result, VerificationError) else self.result.name

    @property
    def answer(self) -> Answer:
        """Return the response of a correct receiver."""
        if self.verified:
            return Answer(HTTPStatus.NO_CONTENT)
        unreadable = isinstance(self.result, MissingHeaderError | MalformedBodyError)
        status = HTTPStatus.BAD_REQUEST if unreadable else HTTPStatus.UNAUTHORIZED
        return Answer(status, body=f"{self.result}\n".encode())

    def line(self, answer: str) -> Text:
        """Return a line for a terminal. A duplicate is a verified request, too.

        For a request that failed verification it contains only method and path, because the
        rest is untrusted.
        """
        parts: list[tuple[str, str]] = [(f"{time_of_day(self.time)}  ", "dim")]
        if isinstance(self.result, VerificationError):
            target = printable(f"{self.request.method} {self.request.path}")
            reason = printable(f"{type(self.result).__name__}: {self.result}")
            parts += [
                ("REFUSED   ", "bold red"),
                (f"→ {answer}  ", ""),
                (f"{target}  ", "dim"),
                (reason, "red"),
            ]
            return Text.assemble(*parts)
        event = self.result
        session = event.session
        parts += [
            (
                "duplicate " if event.duplicate else "verified  ",
                "yellow" if event.duplicate else "green",
            ),
            (f"→ {answer}  ", ""),
            (f"{printable(event.name):<{EVENT_COLUMNS}}  ", "bold"),
            (f"{printable(event.id)}  ", ""),
        ]
        for value in (session.client_id, session.connection_id):
            parts.append((f"{printable(value or '-')}  ", ""))
        parts.append((f"webhook {printable(shortened(event.webhook_id))}", "dim"))
        return Text.assemble(*parts)

    def payload(self) -> Text:
        """Return data and session for a terminal; the raw body if verification failed."""
        if isinstance(self.result, ReceivedEvent):
            carried = {"data": self.result.data, "session": self.result.session.to_wire()}
            return payload(carried)
        text = self.request.body.decode("utf-8", "replace")
        return Text("\n".join(map(printable, text.splitlines())), "dim")

    def record(self, answer: str) -> dict[str, Any]:
        """Return the request for JSON output, payload included."""
        common: dict[str, Any] = {
            "type": "request",
            "time": iso(self.time),
            "method": self.request.method,
            "path": self.request.path,
            "verified": self.verified,
            "answer": answer,
        }
        if isinstance(self.result, VerificationError):
            body = self.request.body.decode("utf-8", "replace")
            error = {"error": type(self.result).__name__, "reason": str(self.result)}
            return {**common, **error, "body": body}
        event = self.result
        return {
            **common,
            "event": event.name,
            "id": event.id,
            "webhook_id": event.webhook_id,
            "duplicate": event.duplicate,
            "key": event.key_index + 1,
            "timestamp": iso(event.timestamp.timestamp()),
            "data": event.data,
            "session": event.session.to_wire(),
        }
