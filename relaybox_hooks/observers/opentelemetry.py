"""OpenTelemetry tracing: spans of emits, attempts and subscribers. Needs the extra."""

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

#: W3C Trace Context only, regardless of the process's global propagator: baggage is meant for
#: one's own services, and a webhook endpoint may belong to a third party.
_W3C: Final = TraceContextTextMapPropagator()


class _Emission:
    """Emitted event that not all of its targets have settled.

    Attributes:
        span: span of the emit; ``None`` after ``emit`` has returned.
        context: parent context of the spans of attempts and subscribers; contains only the
            identity of the emit's span.
        unsettled: number of targets that have not settled the event; negative if some settled
            it before ``emit`` returned and reported their number.
    """

    __slots__ = ("context", "span", "unsettled")

    def __init__(self, span: Span) -> None:
        self.span: Span | None = span
        self.context = set_span_in_context(NonRecordingSpan(span.get_span_context()), Context())
        self.unsettled = 0


class _CurrentSpan:
    """Unfinished span that is attached to the current context.

    Attributes:
        outer: the one that was current before, if any.
        span: the span.
    """

    __slots__ = ("_token", "outer", "span")

    def __init__(self, span: Span, outer: _CurrentSpan | None = None) -> None:
        self.span = span
        self.outer = outer
        self._token: Token[Context] = attach(set_span_in_context(span))

    def finish_span(self, error: str | None = None, description: str | None = None) -> None:
        """Detach and end the span, with an error status if ``error`` is given."""
        detach(self._token)
        if error is not None:
            self.span.set_attribute("error.type", error)
            self.span.set_status(StatusCode.ERROR, description or None)
        self.span.end()


class OpenTelemetryObserver(Observer):
    """Observer that creates a span for each emit, attempt and call of a subscriber.

    ::

        emit room:join        PRODUCER, child of the current span at the emit
        ├── POST              CLIENT, one per attempt: retries are siblings
        │   └── ...           span of the receiver, linked by the header traceparent
        └── process room:join CONSUMER, one per subscriber; current while it runs

    Requests have the headers ``traceparent`` and ``tracestate`` (W3C Trace Context), never
    baggage. Names and attributes follow OpenTelemetry's semantic conventions for messaging and
    HTTP clients. Spans contain no payload, session, key or query string, but the exception of a
    subscriber is recorded with its message.

    The parent context of an event is stored until all of its targets have settled it. Without
    one, after a restart or in a replay, the span of an attempt starts a new trace.

    Args:
        tracer_provider: provider of the tracer; the global one by default.
        limit: maximum number of unsettled events to store, about 600 bytes each; beyond it the
            oldest are evicted.

    Raises:
        ConfigError: ``limit`` is not a whole number of at least 1.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, limit: int = 10_000
    ) -> None:
        self._tracer = get_tracer("relaybox_hooks", __version__, tracer_provider)
        self._limit = check_int("limit", limit)
        self._emissions: dict[str, _Emission] = {}
        # A worker makes one attempt, or handles one event, at a time in its own context, so a
        # context variable identifies the current span and is freed with the worker. An inline
        # subscriber runs in its caller's context, where others may be running around it.
        self._attempt: ContextVar[_CurrentSpan | None] = ContextVar("attempt", default=None)
        self._handling: ContextVar[_CurrentSpan | None] = ContextVar("handling", default=None)

    # Emits

    def emitting(self, event_id: str, name: str) -> None:
        span = self._tracer.start_span(
            f"emit {name}",
            kind=SpanKind.PRODUCER,
            attributes=_messaging_attributes("emit", "send", event_id, name),
        )
        if len(self._emissions) >= self._limit:
            self._evict(next(iter(self._emissions)))
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
            _http_attributes(webhook, event_id, name, number),
        )
        self._attempt.set(_CurrentSpan(span))
        headers: dict[str, str] = {}
        _W3C.inject(headers, set_span_in_context(span, Context()))
        return headers

    def attempted(self, attempt: Attempt) -> None:
        current = self._attempt.get()
        if current is None:
            return
        self._attempt.set(None)
        outcome = attempt.outcome
        if outcome.status is not None:
            current.span.set_attribute("http.response.status_code", outcome.status)
        if outcome.peer is not None:
            address, _, port = outcome.peer.rpartition(":")
            current.span.set_attribute("network.peer.address", address.strip("[]"))
            current.span.set_attribute("network.peer.port", int(port))
        if attempt.next_in is not None:
            current.span.set_attribute("relaybox_hooks.next_in", attempt.next_in)
        if outcome.verdict == DELIVERED:
            current.finish_span()
        else:
            current.finish_span(outcome.error or str(outcome.status), outcome.detail)

    # Subscribers

    def subscriber_began(self, subscriber: str, event: Event) -> None:
        emission = self._emissions.get(event.id)
        attributes = _messaging_attributes("process", "process", event.id, event.name)
        span = self._tracer.start_span(
            f"process {event.name}",
            Context() if emission is None else emission.context,
            SpanKind.CONSUMER,
            attributes | {"messaging.destination.subscription.name": subscriber},
        )
        self._handling.set(_CurrentSpan(span, self._handling.get()))

    def subscriber_ended(self, subscriber: str, event: Event, error: BaseException | None) -> None:
        self._settle(event.id)
        current = self._handling.get()
        if current is None:
            return
        self._handling.set(current.outer)
        if error is None:
            current.finish_span()
        else:
            current.span.record_exception(error)
            current.finish_span(type(error).__qualname__)

    # Settled deliveries

    def delivered(self, attempt: Attempt) -> None:
        if not attempt.replayed:  # settled when it became a dead letter
            self._settle(attempt.event_id)

    def dead_lettered(self, letter: DeadLetter) -> None:
        if letter.reason != "overflow":  # dropped() has settled it
            self._settle(letter.event_id)

    def dropped(self, target: str, event_id: str, name: str, reason: str) -> None:
        self._settle(event_id)

    def closed(self, report: CloseReport) -> None:
        for event_id in tuple(self._emissions):
            self._evict(event_id)

    def _settle(self, event_id: str, targets: int = 1) -> None:
        """Record that ``targets`` more targets have settled an event."""
        emission = self._emissions.get(event_id)
        if emission is not None:
            emission.unsettled -= targets
            if emission.span is None and not emission.unsettled:
                del self._emissions[event_id]

    def _evict(self, event_id: str) -> None:
        emission = self._emissions.pop(event_id)
        if emission.span is not None:
            emission.span.end()


def _messaging_attributes(
    operation: str, kind: str, event_id: str, name: str
) -> dict[str, AttributeValue]:
    """Return attributes by the semantic conventions for messaging spans."""
    return {
        "messaging.system": "relaybox_hooks",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": name,
        "messaging.message.id": event_id,
    }


def _http_attributes(
    webhook: Webhook, event_id: str, name: str, number: int
) -> dict[str, AttributeValue]:
    """Return attributes by the semantic conventions for HTTP client spans."""
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
