"""What a scrape counts by label, and in which thread it may be made."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support import KEY, emit_times
from support.scrapes import Scrapes

from relaybox_hooks import Hooks, Webhook
from relaybox_hooks.testing import Answer, FaultReceiver


async def test_a_replay_lowers_no_counter_and_is_no_latency(scrapes: Scrapes) -> None:
    """The statistics have one failure less then; Prometheus would take that for a restart."""
    async with FaultReceiver([Answer(404), Answer()]) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="crm")
        async with Hooks([webhook], observers=[scrapes.metrics.observer()]) as hooks:
            await emit_times(hooks)
            await hooks.join()
            before = scrapes.samples()
            assert await hooks.replay() == (1, 0, 0)
            after = scrapes.samples()
            latencies = scrapes.of("webhook_delivery_latency_seconds_count", "default")
    assert all(after[key] >= before[key] for key in before if key[0].endswith("_total"))
    assert after["webhook_delivered_total", "default", "crm"] == 1
    assert latencies == {("crm",): 0}


async def test_webhooks_of_the_same_label_are_counted_together(receiver: FaultReceiver) -> None:
    """Counters do not go down where one of them is removed."""
    scrapes = Scrapes(label=lambda webhook_id: webhook_id.partition("/")[0])
    ids = ("acme/1", "acme/2", "umbrella/1")
    webhooks = [Webhook(receiver.url_for(f"/{name}"), ["*"], KEY, id=name) for name in ids]
    async with Hooks(webhooks, observers=[scrapes.metrics.observer()]) as hooks:
        await emit_times(hooks)
        await hooks.join()
        expected = {("acme",): 2, ("umbrella",): 1}
        assert scrapes.of("webhook_delivered_total", "default") == expected
        assert scrapes.of("webhook_enabled", "default") == expected
        assert scrapes.of("webhook_breaker", "closed", "default") == expected
        receiver.hold()
        await emit_times(hooks, 2)
        assert scrapes.of("webhook_pending", "default") == {("acme",): 4, ("umbrella",): 2}
        times = [row.oldest or 0 for row in hooks.stats().targets.values()]
        oldest = scrapes.of("webhook_oldest_pending_timestamp_seconds", "acme", "default")
        assert oldest == {(): min(times[:2])}
        receiver.release()
        await hooks.join()
        hooks.remove_webhook("acme/2")
        assert scrapes.of("webhook_delivered_total", "acme", "default") == {(): 6}
        assert scrapes.of("webhook_enabled", "acme", "default") == {(): 1}


async def test_a_scrape_may_be_made_in_another_thread(
    scrapes: Scrapes, receiver: FaultReceiver
) -> None:
    """The figures are taken in the event loop, whose lanes come and go meanwhile."""
    taken_in: set[int] = set()
    async with Hooks(observers=[scrapes.metrics.observer()]) as hooks:
        original = hooks.stats

        def stats() -> Any:
            taken_in.add(threading.get_ident())
            return original()

        scrapes.metrics._watches["default"]._stats = stats
        for number in range(20):
            hooks.add_webhook(Webhook(receiver.url, ["*"], KEY, id=str(number)))
            await emit_times(hooks)
            text = await asyncio.to_thread(scrapes.text)
            assert f'webhook="{number}"' in text
        await hooks.join()
    assert taken_in == {threading.get_ident()}


async def test_a_label_that_fails_fails_the_scrape_of_another_thread_too() -> None:
    def label(webhook_id: str) -> str:
        raise LookupError(webhook_id)

    scrapes = Scrapes(label=label)
    webhook = Webhook("http://127.0.0.1/", ["*"], KEY, id="crm")
    async with Hooks([webhook], observers=[scrapes.metrics.observer()]):
        with pytest.raises(LookupError, match="crm"):
            await asyncio.to_thread(scrapes.text)


def test_a_scrape_may_be_made_when_the_loop_is_gone(scrapes: Scrapes) -> None:
    async def main() -> None:
        async with Hooks(observers=[scrapes.metrics.observer()]) as hooks:
            hooks.add_subscriber("*", lambda event: None, name="s")
            await emit_times(hooks)

    asyncio.run(main())
    assert scrapes.of("subscriber_handled_total", "s", "default") == {(): 1}


def test_before_the_start_there_is_nothing_to_see(scrapes: Scrapes) -> None:
    Hooks(observers=[scrapes.metrics.observer()])
    assert scrapes.samples() == {}
