"""What tests of traces have in common: a provider, and how spans hang together."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from relaybox_hooks import RetryPolicy
from relaybox_hooks.observers.opentelemetry import OpenTelemetryObserver

AT_ONCE = RetryPolicy(initial=0, jitter=0)


class Traces:
    """A provider of its own, and the spans that have ended."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("tests")

    def observer(self, **options: Any) -> OpenTelemetryObserver:
        return OpenTelemetryObserver(tracer_provider=self.provider, **options)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Those with this name, or all, in the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if name in ("", span.name)]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span


def is_child(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether ``child`` was begun in ``parent``, in the same trace."""
    assert child.context is not None
    assert parent.context is not None
    return (
        child.parent is not None
        and child.parent.span_id == parent.context.span_id
        and child.context.trace_id == parent.context.trace_id
    )
