"""Spans as the SDK exports them, from emit to a real receiver's own span."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from opentelemetry import baggage, context, trace
from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags
from support import KEY, emit_times
from support.traces import AT_ONCE, Traces, is_child

from relaybox_hooks import Event, Hooks, Webhook, WebhookVerifier
from relaybox_hooks.observers.opentelemetry import OpenTelemetryObserver
from relaybox_hooks.testing import Answer, FaultReceiver, ResetAfterRead


def traceparent_of(span: ReadableSpan) -> str:
    """What a request sent in ``span`` says (W3C Trace Context §3.2)."""
    assert span.context is not None
    ids = f"{span.context.trace_id:032x}-{span.context.span_id:016x}"
    return f"00-{ids}-{span.context.trace_flags:02x}"


# From emit to the receiver


@asynccontextmanager
async def traced_server(traces: Traces, statuses: list[int]) -> AsyncIterator[str]:
    """A receiver as its owner would write it: it verifies, and goes on with the sender's trace."""
    verifier = WebhookVerifier(KEY)

    async def receive(request: web.Request) -> web.Response:
        sender = extract(request.headers)
        with traces.tracer.start_as_current_span("receive", sender, SpanKind.SERVER):
            verifier.verify(request.headers, await request.read())
            return web.Response(status=statuses.pop(0))

    app = web.Application()
    app.router.add_post("/in", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/in?token=t0k3n"
    finally:
        await runner.cleanup()


async def test_the_receivers_span_is_a_child_of_its_attempt(traces: Traces) -> None:
    """Each attempt is a child of the emit, and the emit of what the server was doing."""
    async with traced_server(traces, [503, 204]) as url:
        webhook = Webhook(url, ["*"], KEY, id="crm", retry=AT_ONCE)
        async with Hooks([webhook], observers=[traces.observer()]) as hooks:
            with traces.tracer.start_as_current_span("socket message"):
                await emit_times(hooks)
            await hooks.join()
    emitted = traces.one("emit room:join")
    assert is_child(emitted, traces.one("socket message"))
    attempts, received = traces.spans("POST"), traces.spans("receive")
    assert len(attempts) == len(received) == 2
    for attempt, reception in zip(attempts, received, strict=True):
        assert is_child(attempt, emitted)
        assert is_child(reception, attempt)


async def test_an_emit_is_a_producers_span(traces: Traces, receiver: FaultReceiver) -> None:
    webhook = Webhook(receiver.url, ["*"], KEY, id="crm")
    async with Hooks([webhook], observers=[traces.observer()]) as hooks:
        receipt = await hooks.emit("room:join", {"roomId": "r"})
        await hooks.join()
    span = traces.one("emit room:join")
    assert (span.kind, span.parent, span.status.status_code) == (
        *(SpanKind.PRODUCER, None, StatusCode.UNSET),
    )
    assert dict(span.attributes or {}) == {
        "messaging.system": "relaybox_hooks",
        "messaging.operation.name": "emit",
        "messaging.operation.type": "send",
        "messaging.destination.name": "room:join",
        "messaging.message.id": receipt.event_id,
        "relaybox_hooks.accepted": 1,
        "relaybox_hooks.dropped": 0,
    }


async def test_an_attempt_is_a_clients_span(traces: Traces, receiver: FaultReceiver) -> None:
    webhook = Webhook(receiver.url_for("/in?token=t0k3n#frag"), ["*"], KEY, id="crm")
    async with Hooks([webhook], observers=[traces.observer()]) as hooks:
        receipt = await hooks.emit("room:join", {"roomId": "r"})
        await hooks.join()
    span = traces.one("POST")
    port = int(receiver.url.rstrip("/").rpartition(":")[2])
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "url.full": receiver.url_for("/in"),
        "server.address": "127.0.0.1",
        "server.port": port,
        "messaging.destination.name": "room:join",
        "messaging.message.id": receipt.event_id,
        "relaybox_hooks.webhook.id": "crm",
        "http.response.status_code": 200,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": port,
    }
    (request,) = receiver.requests
    assert request.headers["traceparent"] == traceparent_of(span)


async def test_failed_and_retried_attempts_say_so(traces: Traces) -> None:
    async with FaultReceiver([Answer(503), ResetAfterRead(), Answer(302)]) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, retry=AT_ONCE)
        async with Hooks([webhook], observers=[traces.observer()], logging=False) as hooks:
            await emit_times(hooks)
            await hooks.join()
        sent = [request.headers["traceparent"] for request in receiver.requests]
    attempts = traces.spans("POST")
    assert sent == [traceparent_of(attempt) for attempt in attempts]
    told = [
        tuple(
            (attempt.attributes or {}).get(name)
            for name in ("http.response.status_code", "error.type", "http.request.resend_count")
        )
        for attempt in attempts
    ]
    assert told == [(503, "503", None), (None, "ClientOSError", 1), (302, "302", 2)]
    assert [attempt.status.status_code for attempt in attempts] == [StatusCode.ERROR] * 3
    assert attempts[2].status.description == "redirects are not followed; register the final URL"
    waits = [(each.attributes or {}).get("relaybox_hooks.next_in") for each in attempts]
    assert waits == [0.001, 0.001, None]
    assert all(is_child(attempt, traces.one("emit room:join")) for attempt in attempts)


async def test_attempts_side_by_side_are_told_apart(traces: Traces) -> None:
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = Webhook(receiver.url, ["*"], KEY, order_by="none")
        async with Hooks([webhook], observers=[traces.observer()]) as hooks:
            await emit_times(hooks, 3)
            await receiver.wait_for(3)
            receiver.release()
            await hooks.join()
        sent = {request.headers["traceparent"]: request.event_id for request in receiver.requests}
    attempts = traces.spans("POST")
    assert sent == {
        traceparent_of(each): (each.attributes or {})["messaging.message.id"] for each in attempts
    }
    assert len({each.context.trace_id for each in attempts if each.context}) == 3


async def test_an_attempt_that_closing_cuts_short_ends_its_span(
    traces: Traces, receiver: FaultReceiver
) -> None:
    receiver.hold()
    webhook = Webhook(receiver.url, ["*"], KEY)
    async with Hooks([webhook], observers=[traces.observer()], logging=False) as hooks:
        await emit_times(hooks)
        await receiver.wait_for(1)
        await hooks.aclose(timeout=0)
    assert (traces.one("POST").attributes or {})["error.type"] == "CancelledError"


async def test_what_the_host_traces_inside_of_an_attempt_is_its_child(
    traces: Traces, receiver: FaultReceiver
) -> None:
    """An instrumented aiohttp session, for example, makes its span in the attempt's."""
    seen: list[object] = []
    observer = traces.observer()

    class Inner(OpenTelemetryObserver):
        def attempting(self, *arguments: Any) -> None:
            seen.append(trace.get_current_span().get_span_context().span_id)

    webhook = Webhook(receiver.url, ["*"], KEY)
    async with Hooks([webhook], observers=[observer, Inner()]) as hooks:
        await emit_times(hooks)
        await hooks.join()
    attempt = traces.one("POST")
    assert attempt.context is not None
    assert seen == [attempt.context.span_id]
    assert trace.get_current_span() is trace.INVALID_SPAN


# What is not told


async def test_spans_hold_neither_payload_nor_key_nor_query(traces: Traces) -> None:
    async with FaultReceiver() as receiver:
        webhook = Webhook(receiver.url_for("/in?token=t0k3n"), ["*"], KEY)
        async with Hooks([webhook], observers=[traces.observer()]) as hooks:
            hooks.add_subscriber("*", lambda event: None)
            session = {"connectionId": "hidden", "user": {"username": "hidden"}}
            await hooks.emit("room:join", {"roomId": "hidden"}, session)
            await hooks.join()
    text = "".join(span.to_json() for span in traces.spans())
    assert len(traces.spans()) == 3
    for secret in (KEY, "t0k3n", "hidden"):
        assert secret not in text


async def test_baggage_stays_at_home(traces: Traces, receiver: FaultReceiver) -> None:
    """It is meant for the server's own services; an endpoint may be anybody's."""
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        webhook = Webhook(receiver.url, ["*"], KEY)
        async with Hooks([webhook], observers=[traces.observer()]) as hooks:
            await emit_times(hooks)
            await hooks.join()
    finally:
        context.detach(token)
    headers = receiver.requests[0].headers
    assert "traceparent" in headers
    assert "baggage" not in headers


async def test_what_is_not_sampled_is_propagated_as_that(receiver: FaultReceiver) -> None:
    traces = Traces(sampler=ALWAYS_OFF)
    webhook = Webhook(receiver.url, ["*"], KEY)
    async with Hooks([webhook], observers=[traces.observer()]) as hooks:
        await emit_times(hooks)
        await hooks.join()
    assert traces.spans() == []
    flags = receiver.requests[0].headers["traceparent"].rpartition("-")[2]
    assert not int(flags, 16) & TraceFlags.SAMPLED


async def test_without_an_sdk_nothing_is_sent(receiver: FaultReceiver) -> None:
    """The API alone makes spans without an identity."""
    webhook = Webhook(receiver.url, ["*"], KEY)
    async with Hooks([webhook], observers=[OpenTelemetryObserver()]) as hooks:
        await emit_times(hooks)
        await hooks.join()
        assert hooks.stats().delivered == 1
    assert "traceparent" not in receiver.requests[0].headers


# Subscribers


async def test_a_subscriber_runs_in_a_span_of_its_own(traces: Traces) -> None:
    """What it does there, be it another emit, is part of the trace."""
    async with Hooks(observers=[traces.observer()]) as hooks:

        @hooks.on("room:join", name="greet")
        async def greet(event: Event[Any]) -> None:
            with traces.tracer.start_as_current_span("query"):
                await hooks.emit("room:leave", {"roomId": "r"})

        @hooks.on("room:leave", name="bye", in_thread=True)
        def bye(event: Event[Any]) -> None:
            with traces.tracer.start_as_current_span("blocking"):
                pass

        await emit_times(hooks, 2)
        await hooks.join()
    assert len(traces.spans()) == 12
    for first in traces.spans("emit room:join"):
        run = next(span for span in traces.spans("process room:join") if is_child(span, first))
        assert run.kind is SpanKind.CONSUMER
        assert run.status.status_code is StatusCode.UNSET
        assert (run.attributes or {})["messaging.destination.subscription.name"] == "greet"
        query = next(span for span in traces.spans("query") if is_child(span, run))
        second = next(span for span in traces.spans("emit room:leave") if is_child(span, query))
        run = next(span for span in traces.spans("process room:leave") if is_child(span, second))
        assert any(is_child(span, run) for span in traces.spans("blocking"))


async def test_a_failing_subscriber_fails_its_span(traces: Traces) -> None:
    async with Hooks(observers=[traces.observer()], logging=False) as hooks:

        @hooks.on("room:join")
        def fail(event: Event[Any]) -> None:
            raise LookupError("no such room")

        await emit_times(hooks)
        await hooks.join()
    span = traces.one("process room:join")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "LookupError"
    assert [event.name for event in span.events] == ["exception"]


async def test_inline_subscribers_have_spans_within_each_other(traces: Traces) -> None:
    """All of them run in the emit's own context; each ends its own span and no other."""
    observer = traces.observer()
    async with Hooks(observers=[observer]) as hooks:

        @hooks.on("room:join", inline=True, name="outer")
        async def outer(event: Event[Any]) -> None:
            with pytest.raises(LookupError):
                await hooks.emit("room:leave", {"roomId": "r"})
            with traces.tracer.start_as_current_span("query"):
                pass

        @hooks.on("room:leave", inline=True, name="inner")
        def inner(event: Event[Any]) -> None:
            raise LookupError("no such room")

        with traces.tracer.start_as_current_span("request"):
            await emit_times(hooks)
            with traces.tracer.start_as_current_span("after"):
                pass
        assert observer._emissions == {}
    assert is_child(traces.one("emit room:join"), traces.one("request"))
    assert is_child(traces.one("process room:join"), traces.one("emit room:join"))
    assert is_child(traces.one("emit room:leave"), traces.one("process room:join"))
    assert is_child(traces.one("process room:leave"), traces.one("emit room:leave"))
    assert is_child(traces.one("query"), traces.one("process room:join"))
    assert is_child(traces.one("after"), traces.one("request"))
    assert traces.one("process room:leave").status.status_code is StatusCode.ERROR
    assert traces.one("process room:join").status.status_code is StatusCode.UNSET
