"""OpenTelemetry spans from ``emit`` to each attempt and each subscriber. Needs its extra."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Final

from yarl import URL

from relaybox_hooks._version import __version__
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.errors import MissingExtraError
from relaybox_hooks.events import Event
from relaybox_hooks.observer import Attempt, Observer
from relaybox_hooks.outcome import DELIVERED
from relaybox_hooks.stats import CloseReport, Receipt
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.validation import check_int

try:
    from opentelemetry.context import Context, attach, detach
    from opentelemetry.trace import (
        NonRecordingSpan,
        Span,
        SpanKind,
        StatusCode,
        TracerProvider,
        get_tracer,
        set_span_in_context,
    )
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from opentelemetry.util.types import AttributeValue
except ModuleNotFoundError as _error:
    raise MissingExtraError("opentelemetry-api", "opentelemetry") from _error

#: W3C Trace Context alone, whatever the process propagates elsewhere: baggage is for the
#: server's own services, and an endpoint may be anybody's.
_W3C: Final = TraceContextTextMapPropagator()


class _Emission:
    """An emitted event that not all targets have settled.

    Attributes:
        span: that of ``emit``, until it has returned.
        context: what spans of attempts and subscribers begin in. It holds the emit's identity
            and nothing else of its context.
        open: how many targets have yet to settle it; below zero if some did before ``emit``
            returned and said how many there are.
    """

    __slots__ = ("context", "open", "span")

    def __init__(self, span: Span) -> None:
        self.span: Span | None = span
        self.context = set_span_in_context(NonRecordingSpan(span.get_span_context()), Context())
        self.open = 0


class _Run:
    """A span under way, made current in the context that it was begun in."""

    __slots__ = ("_token", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self._token: Token[Context] = attach(set_span_in_context(span))

    def end(self, error: str | None = None, description: str | None = None) -> None:
        """End it, as failed where there is an ``error``."""
        detach(self._token)
        if error is not None:
            self.span.set_attribute("error.type", error)
            self.span.set_status(StatusCode.ERROR, description or None)
        self.span.end()


class OpenTelemetryObserver(Observer):
    """Makes a span of every emit, every attempt and every run of a subscriber.

    ::

        emit room:join        PRODUCER, child of whatever span is current where emit is called
        ├── POST              CLIENT, one per attempt: retries are siblings
        │   └── ...           the receiver's, which finds traceparent on the request
        └── process room:join CONSUMER, one per subscriber; current while it runs

    Each request carries ``traceparent`` and ``tracestate`` (W3C Trace Context), never baggage.
    Names and attributes follow OpenTelemetry's conventions for messaging and HTTP clients. No
    span holds a payload, a session, a key or a URL's query; but a subscriber's exception is
    recorded with its message.

    An event's place in its trace is remembered until all its targets have settled it. Where
    that is unknown, after a restart or in a replay, an attempt's span begins a trace.

    Args:
        tracer_provider: whose spans to make; the global one by default.
        limit: how many unsettled events are remembered, some 600 bytes each; past it the oldest are
            forgotten.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, limit: int = 10_000
    ) -> None:
        self._tracer = get_tracer("relaybox_hooks", __version__, tracer_provider)
        self._limit = check_int("limit", limit)
        self._emissions: dict[str, _Emission] = {}
        # A worker makes one attempt, or handles one event, at a time in a context of its own:
        # what is under way there needs no other place, and cannot outlive it.
        self._attempt: ContextVar[_Run | None] = ContextVar("attempt", default=None)
        self._handling: ContextVar[_Run | None] = ContextVar("subscriber_began", default=None)

    # From emit to its return

    def emitting(self, event_id: str, name: str) -> None:
        span = self._tracer.start_span(
            f"emit {name}",
            kind=SpanKind.PRODUCER,
            attributes=_messaging("emit", "send", event_id, name),
        )
        if len(self._emissions) >= self._limit:
            self._forget(next(iter(self._emissions)))
        self._emissions[event_id] = _Emission(span)

    def emitted(self, name: str, receipt: Receipt) -> None:
        emission = self._emissions.get(receipt.event_id)
        if emission is not None and emission.span is not None:
            emission.span.set_attribute("relaybox_hooks.accepted", receipt.accepted)
            emission.span.set_attribute("relaybox_hooks.dropped", receipt.dropped)
            emission.span.end()
            emission.span = None
            self._settle(receipt.event_id, -(receipt.accepted + receipt.dropped))

    # Attempts

    def attempting(
        self, webhook: Webhook, event_id: str, name: str, number: int
    ) -> dict[str, str] | None:
        emission = self._emissions.get(event_id)
        span = self._tracer.start_span(
            "POST",
            Context() if emission is None else emission.context,
            SpanKind.CLIENT,
            _request(webhook, event_id, name, number),
        )
        self._attempt.set(_Run(span))
        headers: dict[str, str] = {}
        _W3C.inject(headers, set_span_in_context(span, Context()))
        return headers

    def attempted(self, attempt: Attempt) -> None:
        run = self._attempt.get()
        if run is None:
            return
        self._attempt.set(None)
        outcome = attempt.outcome
        if outcome.status is not None:
            run.span.set_attribute("http.response.status_code", outcome.status)
        if outcome.peer is not None:
            address, _, port = outcome.peer.rpartition(":")
            run.span.set_attribute("network.peer.address", address.strip("[]"))
            run.span.set_attribute("network.peer.port", int(port))
        if attempt.next_in is not None:
            run.span.set_attribute("relaybox_hooks.next_in", attempt.next_in)
        if outcome.verdict == DELIVERED:
            run.end()
        else:
            run.end(outcome.error or str(outcome.status), outcome.detail)

    # Subscribers

    def subscriber_began(self, subscriber: str, event: Event) -> None:
        emission = self._emissions.get(event.id)
        attributes = _messaging("process", "process", event.id, event.name)
        span = self._tracer.start_span(
            f"process {event.name}",
            Context() if emission is None else emission.context,
            SpanKind.CONSUMER,
            attributes | {"messaging.destination.subscription.name": subscriber},
        )
        self._handling.set(_Run(span))

    def subscriber_ended(self, subscriber: str, event: Event, error: BaseException | None) -> None:
        self._settle(event.id)
        run = self._handling.get()
        if run is None:
            return
        self._handling.set(None)
        if error is None:
            run.end()
        else:
            run.span.record_exception(error)
            run.end(type(error).__qualname__)

    # What ends an event's way to a target

    def delivered(self, attempt: Attempt) -> None:
        if not attempt.replayed:  # settled when it died
            self._settle(attempt.event_id)

    def dead_lettered(self, letter: DeadLetter) -> None:
        if letter.reason != "overflow":  # told as dropped already
            self._settle(letter.event_id)

    def dropped(self, target: str, event_id: str, name: str, reason: str) -> None:
        self._settle(event_id)

    def closed(self, report: CloseReport) -> None:
        for event_id in tuple(self._emissions):
            self._forget(event_id)

    def _settle(self, event_id: str, targets: int = 1) -> None:
        """So many targets more have settled an event."""
        emission = self._emissions.get(event_id)
        if emission is not None:
            emission.open -= targets
            if emission.span is None and not emission.open:
                del self._emissions[event_id]

    def _forget(self, event_id: str) -> None:
        emission = self._emissions.pop(event_id)
        if emission.span is not None:
            emission.span.end()


def _messaging(operation: str, kind: str, event_id: str, name: str) -> dict[str, AttributeValue]:
    """Attributes as of the semantic conventions for messaging spans."""
    return {
        "messaging.system": "relaybox_hooks",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": name,
        "messaging.message.id": event_id,
    }


def _request(webhook: Webhook, event_id: str, name: str, number: int) -> dict[str, AttributeValue]:
    """Attributes as of the semantic conventions for HTTP client spans."""
    url = URL(webhook.url)
    attributes: dict[str, AttributeValue] = {
        "http.request.method": "POST",
        "url.full": webhook.shown_url,
        "server.address": url.host or "",
        "server.port": url.port or 0,
        "messaging.destination.name": name,
        "messaging.message.id": event_id,
        "relaybox_hooks.webhook.id": webhook.id,
    }
    if number > 1:
        attributes["http.request.resend_count"] = number - 1
    return attributes
