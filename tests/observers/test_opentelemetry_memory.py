"""Where an event belongs is remembered until all its targets have settled it, and no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from support import KEY, emit_times, until
from support.traces import AT_ONCE, Traces, is_child

from relaybox_hooks import ConfigError, Hooks, RetryPolicy, Webhook
from relaybox_hooks.observers.opentelemetry import OpenTelemetryObserver
from relaybox_hooks.testing import Answer, FaultReceiver, Script
from relaybox_hooks.testing.clock import VirtualClock


async def test_an_event_is_forgotten_when_all_its_targets_have_settled_it(traces: Traces) -> None:
    """Delivered, given up, dropped, removed, handled, failed: whatever comes of it."""
    observer = traces.observer()
    script: dict[str, Script] = {
        "/flaky": [Answer(503), Answer()],
        "/bad": Answer(404),
        "/gone": Answer(410),
    }
    async with FaultReceiver(script) as receiver:
        webhooks = [
            Webhook(receiver.url_for("/flaky"), ["*"], KEY, id="flaky", retry=AT_ONCE),
            Webhook(receiver.url_for("/bad"), ["*"], KEY, id="bad"),
            Webhook(receiver.url_for("/gone"), ["*"], KEY, id="gone"),
            Webhook(
                receiver.url_for("/full"),
                ["*"],
                KEY,
                id="full",
                queue_size=1,
                overflow="drop_oldest",
            ),
            Webhook(receiver.url_for("/removed"), ["*"], KEY, id="removed", concurrency=1),
        ]
        async with Hooks(webhooks, observers=[observer], logging=False) as hooks:
            hooks.add_subscriber("*", lambda event: 1 / 0, name="failing")
            hooks.add_subscriber("*", print, name="small", queue_size=1, overflow="drop_newest")
            await emit_times(hooks, 4)
            assert len(observer._emissions) == 4
            hooks.remove_webhook("removed")
            await hooks.join()
            assert observer._emissions == {}


async def test_an_event_is_remembered_while_one_target_has_not_settled_it(traces: Traces) -> None:
    """Also when another's dead letter is replayed meanwhile."""
    observer, clock = traces.observer(), VirtualClock()
    script: dict[str, Script] = {"/bad": [Answer(404), Answer()], "/slow": [Answer(503), Answer()]}
    async with FaultReceiver(script) as receiver:
        webhooks = [
            Webhook(receiver.url_for("/bad"), ["*"], KEY, id="bad"),
            Webhook(receiver.url_for("/slow"), ["*"], KEY, id="slow", retry=RetryPolicy(jitter=0)),
        ]
        async with Hooks(
            webhooks, clock=clock, close_timeout=0, observers=[observer], logging=False
        ) as hooks:
            await emit_times(hooks)
            await until(lambda: len(traces.spans("POST")) == 2)
            assert await hooks.replay() == (1, 0, 0)
            assert len(observer._emissions) == 1
            await clock.advance(0.5)
            await hooks.join()
            assert observer._emissions == {}
    assert len(traces.spans("POST")) == 4
    assert all(is_child(each, traces.one("emit room:join")) for each in traces.spans("POST"))


async def test_an_event_that_one_lane_dropped_is_remembered_for_the_others(
    traces: Traces, receiver: FaultReceiver
) -> None:
    """Its drop is told twice, as such and as a dead letter, and counts once."""
    observer = traces.observer()
    receiver.hold()
    full: dict[str, Any] = {"queue_size": 1, "overflow": "drop_newest"}
    webhooks = [
        Webhook(receiver.url_for("/full"), ["*"], KEY, id="full", **full),
        Webhook(receiver.url_for("/well"), ["*"], KEY, id="well"),
    ]
    async with Hooks(webhooks, observers=[observer], logging=False) as hooks:
        await emit_times(hooks, 2)
        assert len(observer._emissions) == 2
        receiver.release()
        await hooks.join()
        assert observer._emissions == {}


async def test_an_attempt_whose_emit_is_unknown_begins_a_trace(traces: Traces) -> None:
    """As after a restart, or in a replay once the event was settled everywhere."""
    async with FaultReceiver([Answer(404), Answer()]) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY)
        async with Hooks([webhook], observers=[traces.observer()], logging=False) as hooks:
            await emit_times(hooks)
            await hooks.join()
            with traces.tracer.start_as_current_span("admin"):
                await hooks.replay()
                assert trace.get_current_span().is_recording()
    first, second = traces.spans("POST")
    assert is_child(first, traces.one("emit room:join"))
    assert second.parent is None
    assert (second.attributes or {})["http.request.resend_count"] == 1


async def test_the_oldest_are_forgotten_past_the_limit(traces: Traces) -> None:
    observer = traces.observer(limit=2)
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = Webhook(receiver.url, ["*"], KEY, concurrency=1)
        async with Hooks([webhook], observers=[observer]) as hooks:
            await emit_times(hooks, 4)
            assert len(observer._emissions) == 2
            receiver.release()
            await hooks.join()
            assert observer._emissions == {}
    assert len(traces.spans("emit room:join")) == 4
    roots = [span for span in traces.spans("POST") if span.parent is None]
    assert len(roots) == 2


def test_a_limit_is_a_count() -> None:
    with pytest.raises(ConfigError, match="limit"):
        OpenTelemetryObserver(limit=0)


async def test_closing_forgets_all(traces: Traces, receiver: FaultReceiver) -> None:
    """Also an emit that still waits for room, whose span ends."""
    observer = traces.observer()
    receiver.hold()
    webhook = Webhook(receiver.url, ["*"], KEY, queue_size=1)
    async with Hooks([webhook], observers=[observer], logging=False) as hooks:
        await emit_times(hooks)
        waiting = asyncio.create_task(emit_times(hooks))
        await until(lambda: len(observer._emissions) == 2)
        await hooks.aclose(timeout=0)
        await waiting
    assert observer._emissions == {}
    assert len(traces.spans("emit room:join")) == 2
