"""What came of a request: judged once, shown as a line or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from rich.text import Text

from relaybox_hooks.cli.console import clock, iso, payload, printable, shortened
from relaybox_hooks.errors import MalformedBodyError, MissingHeaderError, VerificationError
from relaybox_hooks.receive import ReceivedEvent, WebhookVerifier
from relaybox_hooks.testing import Answer, ReceivedRequest

#: As wide as the names of the protocol's events are, but for one.
EVENT_COLUMNS: Final = 18


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request and what the verifier says of it.

    Attributes:
        time: when it was judged, seconds since the Unix epoch.
        request: as it came.
        verdict: the event that it carries, or why it must not be trusted.
    """

    time: float
    request: ReceivedRequest
    verdict: ReceivedEvent | VerificationError

    @classmethod
    def judge(cls, verifier: WebhookVerifier, request: ReceivedRequest, now: float) -> Arrival:
        """Let ``verifier`` decide, which remembers the request for the next ones."""
        try:
            return cls(now, request, verifier.verify(request.headers, request.body))
        except VerificationError as error:
            return cls(now, request, error)

    @property
    def verified(self) -> bool:
        """Whether it can be trusted."""
        return isinstance(self.verdict, ReceivedEvent)

    @property
    def event_name(self) -> str | None:
        """The name of the event; ``None`` where it cannot be trusted."""
        return None if isinstance(self.verdict, VerificationError) else self.verdict.name

    @property
    def answer(self) -> Answer:
        """What a well-behaved receiver answers."""
        if self.verified:
            return Answer(HTTPStatus.NO_CONTENT)
        unreadable = isinstance(self.verdict, MissingHeaderError | MalformedBodyError)
        status = HTTPStatus.BAD_REQUEST if unreadable else HTTPStatus.UNAUTHORIZED
        return Answer(status, body=f"{self.verdict}\n".encode())

    def line(self, answer: str) -> Text:
        """One line for people; a duplicate is verified, too.

        Of a request that is not verified nothing is shown but its path: what the rest of it
        says may be anybody's word.
        """
        parts: list[tuple[str, str]] = [(f"{clock(self.time)}  ", "dim")]
        if isinstance(self.verdict, VerificationError):
            target = printable(f"{self.request.method} {self.request.path}")
            reason = printable(f"{type(self.verdict).__name__}: {self.verdict}")
            parts += [
                ("REFUSED   ", "bold red"),
                (f"→ {answer}  ", ""),
                (f"{target}  ", "dim"),
                (reason, "red"),
            ]
            return Text.assemble(*parts)
        event = self.verdict
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
        """What it carries, for people; of a request that is not verified, the body as it came."""
        if isinstance(self.verdict, ReceivedEvent):
            carried = {"data": self.verdict.data, "session": self.verdict.session.to_wire()}
            return payload(carried)
        text = self.request.body.decode("utf-8", "replace")
        return Text("\n".join(map(printable, text.splitlines())), "dim")

    def record(self, answer: str) -> dict[str, Any]:
        """The same for programs, payload included."""
        made: dict[str, Any] = {
            "type": "request",
            "time": iso(self.time),
            "method": self.request.method,
            "path": self.request.path,
            "verified": self.verified,
            "answer": answer,
        }
        if isinstance(self.verdict, VerificationError):
            body = self.request.body.decode("utf-8", "replace")
            error = {"error": type(self.verdict).__name__, "reason": str(self.verdict)}
            return {**made, **error, "body": body}
        event = self.verdict
        return {
            **made,
            "event": event.name,
            "id": event.id,
            "webhook_id": event.webhook_id,
            "duplicate": event.duplicate,
            "key": event.key_index + 1,
            "timestamp": iso(event.timestamp.timestamp()),
            "data": event.data,
            "session": event.session.to_wire(),
        }
