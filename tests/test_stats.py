"""The counts: right at every moment anybody can look, and readable."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import KEY, emit_times, until

from relaybox_hooks import (
    Attempt,
    DeadLetter,
    Event,
    Hooks,
    Observer,
    RetryPolicy,
    Stats,
    Webhook,
)
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.testing import Answer, FaultReceiver, Script
from relaybox_hooks.testing.clock import VirtualClock


def check(stats: Stats | TargetStats) -> None:
    """The invariant that the documentation promises."""
    parts = stats.delivered + stats.failed + stats.dropped + stats.pending
    assert stats.accepted == parts, stats
    assert min(stats.delivered, stats.failed, stats.dropped, stats.pending) >= 0, stats


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


async def test_subscribers_of_the_same_name_are_counted_apart() -> None:
    async with Hooks([Webhook("http://127.0.0.1/", ["*"], KEY, id="same", enabled=False)]) as hooks:
        for _ in range(2):
            hooks.on("*", name="same")(lambda event: None)
        await emit_times(hooks)
        await hooks.join()
        targets = hooks.stats().targets
    assert {key: (row.kind, row.delivered) for key, row in targets.items()} == {
        "same": ("webhook", 0),
        "same#2": ("subscriber", 1),
        "same#3": ("subscriber", 1),
    }
    assert {row.name for row in targets.values()} == {"same"}


async def test_targets_that_are_gone_stay_in_the_totals() -> None:
    """Also while they still have something pending, and if nobody looks in between."""
    async with FaultReceiver() as receiver:
        receiver.hold()
        hooks: Hooks = Hooks([Webhook(receiver.url, ["*"], KEY, id="w1")])
        release = asyncio.Event()

        async def handler(event: Event) -> None:
            await release.wait()

        hooks.add_subscriber("*", handler)
        hooks.once("*", name="once")(failing)
        async with hooks:
            await emit_times(hooks, 2)
            await receiver.wait_for(1)
            hooks.off(handler)
            hooks.remove_webhook("w1")
            stats = hooks.stats()
            assert stats.targets == {}
            assert (stats.accepted, stats.pending) == (5, 3)
            check(stats)
            release.set()
            receiver.release()
            await hooks.join()
            expected = (5, 3, 2, 0, 0, 0)  # in flight: delivered; waiting: removed; once: failed
            assert hooks.stats()[:6] == expected
            assert hooks.stats()[:6] == expected
        assert hooks.stats()[:6] == expected


async def test_many_targets_that_come_and_go_are_not_kept() -> None:
    async with Hooks() as hooks:
        for _ in range(100):
            hooks.once("room:join")(lambda event: None)
            await emit_times(hooks)
            await hooks.join()
        assert len(hooks._retired) <= 1
        assert hooks.stats()[:2] == (100, 100)
        assert not hooks._retired


class Auditor(Observer):
    """Checks the books whenever it is told of something."""

    def __init__(self) -> None:
        self.hooks: Hooks | None = None
        self.told: list[str] = []

    def audit(self, what: str) -> None:
        self.told.append(what)
        assert self.hooks is not None
        stats = self.hooks.stats()
        check(stats)
        for row in stats.targets.values():
            check(row)

    def attempted(self, attempt: Attempt) -> None:
        self.audit("attempted")

    def delivered(self, attempt: Attempt) -> None:
        self.audit("delivered")

    def retried(self, attempt: Attempt) -> None:
        self.audit("retried")

    def dropped(self, target: str, event_id: str, name: str, reason: str) -> None:
        self.audit("dropped")

    def dead_lettered(self, letter: DeadLetter) -> None:
        self.audit("dead_lettered")

    def subscriber_failed(self, subscriber: str, event: Event, error: BaseException) -> None:
        self.audit("subscriber_failed")

    def webhook_disabled(self, webhook: Webhook, reason: str) -> None:
        self.audit("webhook_disabled")


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "wait"])
async def test_the_books_balance_at_every_moment_that_can_be_observed(
    overflow: Any, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [Answer(503), Answer(200), Answer(404), Answer(200), Answer(410)]
    auditor = Auditor()
    async with FaultReceiver({"/": faults}) as receiver:
        hooks: Hooks = Hooks(
            [Webhook(receiver.url, ["*"], KEY)],
            queue_size=4,
            overflow=overflow,
            retry=RetryPolicy(initial=0, jitter=0),
            observers=[auditor],
        )
        auditor.hooks = hooks
        hooks.on("*", name="failing")(failing)
        async with hooks:
            await emit_times(hooks, 10)
            await hooks.join()
            check(hooks.stats())
    expected = {
        *("attempted", "delivered", "retried", "dead_lettered", "subscriber_failed"),
        "webhook_disabled",
    }
    assert set(auditor.told) == (expected if overflow == "wait" else expected | {"dropped"})
    assert "an observer is broken" not in caplog.text


async def test_an_observer_may_remove_the_webhook_whose_letters_it_is_told_of() -> None:
    """In the middle of disabling it: each event is given up once."""

    class Remover(Observer):
        hooks: Hooks

        def dead_lettered(self, letter: DeadLetter) -> None:
            if self.hooks.webhooks:
                self.hooks.remove_webhook(letter.webhook_id)

    remover = Remover()
    async with FaultReceiver() as receiver:
        receiver.hold()
        webhook = Webhook(receiver.url, ["*"], KEY, id="w1", concurrency=1)
        hooks: Hooks = Hooks([webhook], observers=[remover])
        remover.hooks = hooks
        async with hooks:
            await emit_times(hooks, 4)
            await receiver.wait_for(1)
            hooks.disable_webhook("w1")
            check(hooks.stats())
            assert hooks.stats().pending == 1
            receiver.release()
            await hooks.join()
            assert hooks.stats()[:6] == (4, 1, 3, 0, 0, 0)
            letters = await hooks.dead_letters()
            assert len(letters) == len({letter.event_id for letter in letters}) == 3


# What a given-up delivery held back


async def one_held_one_behind(hooks: Hooks, receiver: FaultReceiver) -> None:
    """Two events of one key: the first waits for its retry, the second waits behind it."""
    await hooks.emit("room:join", {"roomId": "first"}, {"connectionId": "c"})
    await hooks.emit("room:join", {"roomId": "second"}, {"connectionId": "c"})
    await receiver.wait_for(1)
    await until(lambda: not hooks.stats().targets["w1"].in_flight)


RETRY_IN_AN_HOUR = RetryPolicy(initial=3600, maximum=3600, jitter=0)


async def test_a_head_that_overflow_drops_lets_the_next_of_its_key_go() -> None:
    """At once, and not only when the dropped one's retry would have been due."""
    clock = VirtualClock()
    webhook_options: Any = {"queue_size": 2, "overflow": "drop_oldest", "retry": RETRY_IN_AN_HOUR}
    async with FaultReceiver([Answer(503)]) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w1", **webhook_options)
        async with Hooks([webhook], clock=clock) as hooks:
            await one_held_one_behind(hooks, receiver)
            await hooks.emit("room:join", {"roomId": "third"}, {"connectionId": "c"})
            await hooks.join()
            assert hooks.stats()[:6] == (3, 2, 0, 0, 1, 0)
        rooms = [request.json()["data"]["roomId"] for request in receiver.requests]
        assert rooms == ["first", "second", "third"]


async def test_a_head_that_expires_lets_the_next_of_its_key_go() -> None:
    clock = VirtualClock()
    async with FaultReceiver([Answer(503)]) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, id="w1", max_age=60, retry=RETRY_IN_AN_HOUR)
        async with Hooks([webhook], clock=clock) as hooks:
            await hooks.emit("room:join", {"roomId": "first"}, {"connectionId": "c"})
            await receiver.wait_for(1)
            await clock.advance(30)
            await hooks.emit("room:join", {"roomId": "second"}, {"connectionId": "c"})
            await until(lambda: not hooks.stats().targets["w1"].in_flight)
            await clock.advance(30)
            await hooks.join()
            assert hooks.stats()[:6] == (2, 1, 1, 0, 0, 0)
            assert [letter.reason for letter in await hooks.dead_letters()] == ["expired"]
