"""The counts balance at every moment that can be observed, whoever comes and goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import KEY, assert_consistent, emit_times

from relaybox_hooks import (
    Attempt,
    DeadLetter,
    Event,
    Hooks,
    Observer,
    RetryPolicy,
    Webhook,
)
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import Answer, FaultReceiver


async def failing(event: Event) -> None:
    raise ValueError("broken")


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
            assert_consistent(stats)
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
        assert len(parts_of(hooks).accounting.removed) <= 1
        assert hooks.stats()[:2] == (100, 100)
        assert not parts_of(hooks).accounting.removed


class Auditor(Observer):
    """Checks the books whenever it is told of something."""

    def __init__(self) -> None:
        self.hooks: Hooks | None = None
        self.told: list[str] = []

    def audit(self, what: str) -> None:
        self.told.append(what)
        assert self.hooks is not None
        assert_consistent(self.hooks.stats())

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
            assert_consistent(hooks.stats())
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
            assert_consistent(hooks.stats())
            assert hooks.stats().pending == 1
            receiver.release()
            await hooks.join()
            assert hooks.stats()[:6] == (4, 1, 3, 0, 0, 0)
            letters = await hooks.dead_letters()
            assert len(letters) == len({letter.event_id for letter in letters}) == 3
