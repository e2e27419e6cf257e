"""Metrics as a scraper reads them: from the registry's text, parsed by the client's own parser."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import KEY, emit_times, until
from support.scrapes import Scrapes

from relaybox_hooks import BreakerPolicy, ConfigError, Event, Hooks, RetryPolicy, Webhook
from relaybox_hooks.observers.prometheus import PrometheusMetrics
from relaybox_hooks.testing import Answer, FaultReceiver, ResetAfterRead
from relaybox_hooks.testing.clock import VirtualClock

STEADY = RetryPolicy(initial=1, jitter=0, attempts=3)


# What is counted


async def test_attempts_are_counted_and_timed_by_webhook(scrapes: Scrapes) -> None:
    clock = VirtualClock()
    script = [Answer(503), ResetAfterRead(), Answer(204), Answer(404)]
    async with FaultReceiver({"/crm": script}) as receiver:
        webhook = Webhook(receiver.url_for("/crm"), ["*"], KEY, id="crm", retry=STEADY)
        other = Webhook(receiver.url_for("/b"), ["room:leave"], KEY, id="other")
        async with Hooks(
            [webhook, other], clock=clock, close_timeout=0, observers=[scrapes.metrics.observer()]
        ) as hooks:
            await emit_times(hooks)
            for wait in (1, 2):
                await until(lambda: clock.next_timer and not in_flight(hooks, "crm"))
                await clock.advance(wait)
            await hooks.join()
            await emit_times(hooks)
            await hooks.join()
            assert scrapes.of("events_total", "default") == {("room:join",): 2}
            assert scrapes.of("webhook_attempts_total", "crm", "default") == {
                ("5xx",): 1,
                ("ClientOSError",): 1,
                ("2xx",): 1,
                ("4xx",): 1,
            }
            assert scrapes.of("webhook_delivered_total", "default") == {("crm",): 1, ("other",): 0}
            assert scrapes.of("webhook_dead_letters_total", "default") == {("rejected", "crm"): 1}
            attempt = "webhook_attempt_duration_seconds"
            assert scrapes.of(f"{attempt}_count", "default") == {("crm",): 4}
            assert scrapes.of(f"{attempt}_bucket", "default", "crm")["0.005",] == 4
            latency = "webhook_delivery_latency_seconds"
            assert scrapes.of(f"{latency}_sum", "default") == {("crm",): 3}
            buckets = scrapes.of(f"{latency}_bucket", "default", "crm")
            assert buckets["2.5",] == 0
            assert buckets["5.0",] == buckets["+Inf",] == 1


async def test_queues_and_breakers_are_read_when_scraped(scrapes: Scrapes) -> None:
    clock = VirtualClock(start=1000)
    async with FaultReceiver([Answer(503)]) as receiver:
        webhooks = [
            Webhook(
                receiver.url, ["*"], KEY, id="crm", breaker=BreakerPolicy(failures=1), retry=STEADY
            ),
            Webhook(receiver.url, ["*"], KEY, id="off", enabled=False, breaker=None),
        ]
        async with Hooks(
            webhooks, clock=clock, close_timeout=0, observers=[scrapes.metrics.observer()]
        ) as hooks:
            closed = {("closed", "crm"): 1, ("open", "crm"): 0, ("half-open", "crm"): 0}
            assert scrapes.of("webhook_breaker", "default") == closed
            assert scrapes.of("webhook_enabled", "default") == {("crm",): 1, ("off",): 0}
            await emit_times(hooks)
            await until(lambda: hooks.stats().targets["crm"].breaker == "open")
            await clock.advance(0.25)
            await emit_times(hooks, 2)
            await clock.advance(0.25)
            assert scrapes.of("webhook_pending", "default") == {("crm",): 3, ("off",): 0}
            assert scrapes.of("webhook_in_flight", "default") == {("crm",): 0, ("off",): 0}
            oldest = scrapes.of("webhook_oldest_pending_timestamp_seconds", "default")
            assert oldest == {("crm",): 1000}
            opened = {("closed", "crm"): 0, ("open", "crm"): 1, ("half-open", "crm"): 0}
            assert scrapes.of("webhook_breaker", "default") == opened
            await clock.advance(10)
            await hooks.join()
            assert scrapes.of("webhook_pending", "crm", "default") == {(): 0}
            assert scrapes.of("webhook_breaker", "default") == closed


async def test_subscribers_are_counted_by_name(scrapes: Scrapes) -> None:
    async with Hooks(observers=[scrapes.metrics.observer()], logging=False) as hooks:
        release = asyncio.Event()

        @hooks.on("room:join", name="slow", queue_size=2, overflow="drop_newest")
        async def slow(event: Event[Any]) -> None:
            await release.wait()

        @hooks.on("room:join", name="failing")
        def fail(event: Event[Any]) -> None:
            raise ValueError("on purpose")

        await emit_times(hooks, 3)
        await until(lambda: hooks.stats().targets["failing"].failed == 3)
        assert scrapes.of("subscriber_pending", "default") == {("slow",): 2, ("failing",): 0}
        assert scrapes.of("subscriber_in_flight", "slow", "default") == {(): 1}
        oldest = hooks.stats().targets["slow"].oldest
        timestamps = scrapes.of("subscriber_oldest_pending_timestamp_seconds", "default")
        assert timestamps == {("slow",): oldest}
        release.set()
        await hooks.join()
        assert scrapes.of("subscriber_handled_total", "default") == {("slow",): 2, ("failing",): 0}
        assert scrapes.of("subscriber_failed_total", "default") == {("slow",): 0, ("failing",): 3}
        assert scrapes.of("subscriber_dropped_total", "default") == {("slow",): 1, ("failing",): 0}


# Whose series there are


async def test_neither_urls_nor_keys_show(scrapes: Scrapes) -> None:
    async with FaultReceiver() as receiver:
        webhook = Webhook(receiver.url_for("/hidden?token=t0k3n"), ["*"], KEY, name="Named")
        async with Hooks([webhook], observers=[scrapes.metrics.observer()]) as hooks:
            await emit_times(hooks)
            await hooks.join()
            text = scrapes.text()
    assert webhook.id in text
    for secret in (KEY, "hidden", "t0k3n", "http", "127.0.0.1"):
        assert secret not in text


async def test_the_series_of_a_removed_webhook_go_away(
    scrapes: Scrapes, receiver: FaultReceiver
) -> None:
    webhooks = [Webhook(receiver.url, ["*"], KEY, id=name) for name in ("stays", "goes")]
    async with Hooks(webhooks, observers=[scrapes.metrics.observer()]) as hooks:
        await emit_times(hooks)
        await hooks.join()
        removed = hooks.remove_webhook("goes")
        labels = {label for key in scrapes.samples() for label in key[1:]}
        assert "stays" in labels
        assert "goes" not in labels
        hooks.add_webhook(removed)
        await emit_times(hooks)
        await hooks.join()
        assert scrapes.of("webhook_delivered_total", "default") == {("stays",): 2, ("goes",): 1}


async def test_several_hooks_share_a_registry_by_name(
    scrapes: Scrapes, receiver: FaultReceiver
) -> None:
    webhook = Webhook(receiver.url, ["*"], KEY, id="crm")
    async with (
        Hooks([webhook], observers=[scrapes.metrics.observer("chat")]) as chat,
        Hooks([webhook], observers=[scrapes.metrics.observer("shop")]) as shop,
    ):
        await emit_times(chat, 2)
        await emit_times(shop)
        await chat.join()
        await shop.join()
        assert scrapes.of("webhook_delivered_total", "crm") == {("chat",): 2, ("shop",): 1}
        with pytest.raises(ConfigError, match="name='chat': taken"):
            scrapes.metrics.observer("chat")


async def test_a_name_is_free_again_when_its_hooks_have_closed(scrapes: Scrapes) -> None:
    """Until then the last figures can be read."""
    async with Hooks(observers=[scrapes.metrics.observer()]) as hooks:
        hooks.add_subscriber("*", lambda event: None, name="s")
        await emit_times(hooks, 2)
    assert scrapes.of("subscriber_handled_total", "s", "default") == {(): 2}
    async with Hooks(observers=[scrapes.metrics.observer()]):
        assert scrapes.samples() == {}


def test_a_registry_takes_the_metrics_once(scrapes: Scrapes) -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusMetrics(registry=scrapes.registry)


def test_metrics_need_no_registry() -> None:
    assert [list(family.samples) for family in PrometheusMetrics(registry=None).collect()] == [
        [] for _ in range(17)
    ]


# Buckets


async def test_without_buckets_count_and_sum_remain(receiver: FaultReceiver) -> None:
    scrapes = Scrapes(buckets=())
    webhook = Webhook(receiver.url, ["*"], KEY, id="crm")
    async with Hooks([webhook], observers=[scrapes.metrics.observer()]) as hooks:
        await emit_times(hooks)
        await hooks.join()
        name = "webhook_attempt_duration_seconds"
        assert scrapes.of(f"{name}_bucket", "default", "crm") == {("+Inf",): 1}
        assert scrapes.of(f"{name}_sum", "default", "crm")[()] > 0


@pytest.mark.parametrize("buckets", [(1, 1), (2, 1), (1, float("inf")), (float("nan"),)])
def test_buckets_ascend(buckets: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="ascending"):
        PrometheusMetrics(registry=None, buckets=buckets)


def in_flight(hooks: Hooks[Any], webhook_id: str) -> int:
    return hooks.stats().targets[webhook_id].in_flight
