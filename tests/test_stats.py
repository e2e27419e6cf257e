"""The counts: right at every moment anybody can look, and readable."""

from __future__ import annotations

import asyncio

from support import KEY, emit_times

from relaybox_hooks import (
    Event,
    Hooks,
    RetryPolicy,
    Stats,
    Webhook,
)
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.testing import Answer, FaultReceiver, Script
from relaybox_hooks.testing.clock import VirtualClock


async def failing(event: Event) -> None:
    raise ValueError("broken")


async def test_fresh_hooks_count_nothing() -> None:
    hooks: Hooks = Hooks()
    assert hooks.stats() == Stats(0, 0, 0, 0, 0, 0, {})
    assert str(hooks.stats()).splitlines()[1].split() == ["all", "targets", *"0000000"]


async def test_a_small_scenario_prints_as_a_table() -> None:
    script: dict[str, Script] = {"/sick": Answer(404), "/flaky": [Answer(503), Answer(200)]}
    async with FaultReceiver(script) as receiver:
        receiver.hold()
        hooks: Hooks = Hooks(
            [
                Webhook(receiver.url_for("/well"), ["*"], KEY, id="w1", name="well"),
                Webhook(receiver.url_for("/sick"), ["*"], KEY, id="w2", name="sick", breaker=None),
                Webhook(receiver.url_for("/flaky"), ["*"], KEY, id="w3", name="flaky"),
                Webhook(receiver.url, ["*"], KEY, id="w4", name="off", enabled=False),
            ],
            queue_size=2,
            overflow="drop_newest",
            retry=RetryPolicy(initial=0, jitter=0),
        )
        hooks.on("*", name="failing")(failing)
        hooks.on("*", name="a rather long name")(lambda event: None)
        async with hooks:
            await emit_times(hooks, 3)
            await receiver.wait_for(3)
            assert str(hooks.stats()).splitlines() == [
                (
                    "target               accepted  delivered     failed    retried    dropped"
                    "    pending  in_flight  state"
                ),
                (
                    "well                        3          0          0          0          1"
                    "          2          1  closed"
                ),
                (
                    "sick                        3          0          0          0          1"
                    "          2          1"
                ),
                (
                    "flaky                       3          0          0          0          1"
                    "          2          1  closed"
                ),
                (
                    "off                         0          0          0          0          0"
                    "          0          0  disabled"
                ),
                (
                    "failing                     3          0          2          0          1"
                    "          0          0"
                ),
                (
                    "a rather long name          3          2          0          0          1"
                    "          0          0"
                ),
                (
                    "all targets                15          2          2          0          5"
                    "          6          3"
                ),
            ]
            receiver.release()
            await hooks.join()
            stats = hooks.stats()
        assert stats[:6] == (15, 6, 4, 1, 5, 0)
        assert stats.targets["w3"] == TargetStats(
            "flaky", "webhook", 3, 2, 0, 1, 1, 0, 0, "closed", True
        )
        assert str(stats.targets["failing"]).splitlines()[1].split() == [
            *("failing", "3", "0", "2", "0", "1", "0", "0")
        ]


async def test_the_oldest_pending_event_is_known_by_its_time() -> None:
    """At a webhook also while it is in flight, at a subscriber while it waits."""
    clock = VirtualClock(start=1000)
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = Webhook(receiver.url, ["*"], KEY, id="w1", order_by="none")
        hooks: Hooks = Hooks([webhook], clock=clock, close_timeout=0)
        release = asyncio.Event()

        @hooks.on("*", name="slow")
        async def slow(event: Event) -> None:
            await release.wait()

        def oldest() -> dict[str, float | None]:
            return {name: row.oldest for name, row in hooks.stats().targets.items()}

        async with hooks:
            assert oldest() == {"w1": None, "slow": None}
            for _ in range(3):
                await emit_times(hooks)
                await clock.advance(2)
            assert oldest() == {"w1": 1000, "slow": 1002}
            receiver.release()
            release.set()
            await hooks.join()
            assert oldest() == {"w1": None, "slow": None}
