"""Observers hear of everything at its moment, cost nothing unheard, and break nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from support import METHODS, STEADY, Watch, assert_consistent, dispatcher, emit, soon, webhook_to

from relaybox_hooks import (
    Attempt,
    BreakerPolicy,
    ConfigError,
    Event,
    Hooks,
    Observer,
    Receipt,
    RetryPolicy,
    Stats,
    Timeouts,
    Webhook,
)
from relaybox_hooks import observer as observe
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.observer import Notifier
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, ResetAfterRead
from relaybox_hooks.testing.clock import VirtualClock

# What they are told


async def test_a_delivery_is_told_from_emit_to_arrival(
    clock: VirtualClock, watch: Watch, receiver: FaultReceiver
) -> None:
    receiver.hold()
    webhook = webhook_to(receiver)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        receipt = await hooks.emit("room:join", {"roomId": "x"})
        assert watch.calls == [("emitted", ("room:join", receipt))]
        await soon(receiver.wait_for(1))
        await clock.advance(1.25)
        receiver.release()
        await soon(hooks.join())
    (attempt,) = watch.attempts
    assert watch.all("delivered") == [attempt]
    assert (attempt.webhook, attempt.event_id) == (webhook, receipt.event_id)
    assert (attempt.event_name, attempt.number) == ("room:join", 1)
    assert (attempt.elapsed, attempt.age, attempt.next_in) == (1.25, 1.25, None)
    assert (attempt.outcome.status, attempt.outcome.error) == (200, None)
    assert attempt.outcome.peer == receiver.url.removeprefix("http://").rstrip("/")
    assert [method for method, _ in watch.calls] == ["emitted", "attempted", "delivered", "closed"]


async def test_failing_attempts_are_told_with_their_real_cause_and_the_next_date(
    clock: VirtualClock, watch: Watch
) -> None:
    script = [Answer(503), ResetAfterRead(), Hang(), Answer(404)]
    async with FaultReceiver(script) as receiver:
        webhook = webhook_to(receiver, retry=STEADY, timeouts=Timeouts(total=3))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            await watch.attempted_times(1)
            await clock.advance(0.5)
            await watch.attempted_times(2)
            await clock.advance(1)
            await soon(receiver.wait_for(3))
            await clock.advance(3)
            await clock.advance(2)
            await soon(hooks.join())
    told = [
        (each.number, each.outcome.status, each.outcome.error, each.elapsed, each.age, each.next_in)
        for each in watch.attempts
    ]
    assert told == [
        (1, 503, None, 0.0, 0.0, 0.5),
        (2, None, "ClientOSError", 0.0, 0.5, 1.0),
        (3, None, "TimeoutError", 3.0, 4.5, 2.0),
        (4, 404, None, 0.0, 6.5, None),
    ]
    assert watch.all("retried") == watch.attempts[:3]
    assert watch.all("delivered") == []
    (letter,) = watch.letters
    assert (letter.outcome, letter.attempts) == (watch.attempts[3].outcome, 4)


async def test_losses_are_told_with_the_policy_that_caused_them(watch: Watch) -> None:
    async with FaultReceiver(Hang()) as receiver:
        webhook = webhook_to(receiver, queue_size=1, overflow="drop_newest")
        async with dispatcher(webhook, observers=[watch]) as hooks:
            await emit(hooks)
            receipt = await hooks.emit("room:join", {"roomId": "x"})
            assert (receipt.accepted, receipt.dropped) == (0, 1)
            expected = ("root", receipt.event_id, "room:join", "drop_newest")
            assert watch.all("dropped") == [expected]
            assert [letter.event_id for letter in watch.letters] == [receipt.event_id]
            assert watch.all("emitted")[-1] == ("room:join", receipt)


async def test_an_event_that_nobody_wants_is_not_told(watch: Watch) -> None:
    async with dispatcher(observers=[watch]) as hooks:
        await emit(hooks)
    assert [method for method, _ in watch.calls] == ["closed"]


async def test_a_failing_subscriber_is_told_with_event_and_error(watch: Watch) -> None:
    async with dispatcher(observers=[watch]) as hooks:
        error = RuntimeError("no")

        @hooks.on("room:join", name="greet")
        def greet(event: Event[Any]) -> None:
            raise error

        event_id = await emit(hooks)
        await soon(hooks.join())
    ((name, event, told),) = watch.all("subscriber_failed")
    assert (name, event.id, told) == ("greet", event_id, error)


@pytest.mark.parametrize("failing", [False, True])
async def test_inline_subscribers_are_told_within_their_emit(failing: bool) -> None:
    told: list[str] = []
    error = LookupError("no such room")

    class Told(Observer):
        def emitting(self, event_id: str, name: str) -> None:
            told.append("emitting")

        def subscriber_began(self, subscriber: str, event: Event) -> None:
            told.append(f"{subscriber} began")

        def subscriber_ended(
            self, subscriber: str, event: Event, error: BaseException | None
        ) -> None:
            told.append(f"{subscriber} ended: {error!r}")

        def subscriber_failed(self, subscriber: str, event: Event, error: BaseException) -> None:
            told.append(f"{subscriber} failed: {error!r}")

        def emitted(self, name: str, receipt: Receipt) -> None:
            told.append(f"emitted to {receipt.accepted}")

    async with Hooks(observers=[Told()]) as hooks:

        @hooks.on("room:join", inline=True, name="inline")
        async def inline(event: Event) -> None:
            told.append("runs")
            if failing:
                raise error

        hooks.add_subscriber("room:join", lambda event: None, name="queued")
        with pytest.raises(LookupError) if failing else nullcontext():
            await hooks.emit("room:join", {"roomId": "r"})
        ended = f"inline ended: {error!r}" if failing else "inline ended: None"
        assert told[:4] == ["emitting", "inline began", "runs", ended]
        if failing:
            assert told[4:] == [f"inline failed: {error!r}", "emitted to 1"]
        else:
            assert told[4:] == ["emitted to 2"]


async def test_disabling_is_told_once_with_the_reason(watch: Watch) -> None:
    async with (
        FaultReceiver() as receiver,
        dispatcher(webhook_to(receiver), observers=[watch]) as hooks,
    ):
        hooks.disable_webhook("root", "its owner asked for it")
        hooks.disable_webhook("root", "again")
    ((webhook, reason),) = watch.all("webhook_disabled")
    assert (webhook.id, webhook.enabled, reason) == ("root", False, "its owner asked for it")


async def test_the_report_of_closing_is_told_last(watch: Watch) -> None:
    async with dispatcher(observers=[watch]) as hooks:
        report = await hooks.aclose()
    assert watch.calls[-1] == ("closed", (report,))


async def test_counts_are_in_order_whenever_an_observer_looks(clock: VirtualClock) -> None:
    """At every call, of whatever method, every accepted event is on exactly one side."""
    watch = Watch()

    class Auditor(Watch):
        def _note(self, method: str, *arguments: Any) -> None:
            assert_consistent(hooks.stats())
            super()._note(method, *arguments)

    auditor = Auditor()
    script = [Answer(404), Answer(503), Answer(410)]
    async with FaultReceiver(script) as receiver:
        webhook = webhook_to(receiver, retry=RetryPolicy(attempts=2, initial=1, jitter=0))
        async with dispatcher(
            webhook, clock=clock, observers=[auditor, watch], queue_size=3, overflow="drop_newest"
        ) as hooks:
            for _ in range(5):
                await emit(hooks)
            await watch.attempted_times(3)
            await clock.advance(1)
            await soon(hooks.join())
    assert {name for name, _ in watch.calls} >= {"dropped", "dead_lettered", "webhook_disabled"}
    assert auditor.calls == watch.calls, "the auditor found nothing wrong"


# What they cost


def test_a_method_that_nobody_overrides_is_called_by_nobody() -> None:
    assert all(getattr(Notifier([Observer(), Observer()]), method) == () for method in METHODS)

    class Curious(Observer):
        def delivered(self, attempt: object) -> None: ...

    notifier = Notifier([Observer(), curious := Curious()])
    heard = {method for method in METHODS if getattr(notifier, method)}
    assert heard == {"delivered"}
    assert notifier.delivered == (curious.delivered,)


def test_a_method_set_on_the_object_is_heard_too() -> None:
    seen: list[object] = []
    observer = Observer()
    observer.emitted = lambda name, receipt: seen.append(name)  # type: ignore[method-assign]
    notifier = Notifier([observer])
    notifier.notify(notifier.emitted, "room:join", None)
    assert seen == ["room:join"]


def test_every_method_of_observers_is_known_to_the_notifier() -> None:
    methods = {name for name in vars(Observer) if not name.startswith("_")}
    assert set(METHODS) == methods


async def test_no_attempt_is_described_for_nobody(
    monkeypatch: pytest.MonkeyPatch, receiver: FaultReceiver
) -> None:
    def refuse(**details: object) -> None:
        raise AssertionError("nobody wants to know")

    monkeypatch.setattr(observe, "Attempt", refuse)
    async with dispatcher(webhook_to(receiver), logging=False) as hooks:
        await emit(hooks)
        await soon(hooks.join())
        assert hooks.stats().delivered == 1


@pytest.mark.parametrize("observer", [Watch, object(), None, "log"])
def test_what_is_no_observer_is_refused(observer: Any) -> None:
    """A class in place of its instance is the likeliest slip."""
    with pytest.raises(ConfigError) as caught:
        Hooks(observers=[observer])
    assert caught.value.option == "observers"


# What they break


class Everything(Watch):
    """Hears of beginnings too."""

    def started(self, stats: Callable[[], Stats]) -> None:
        self._note("started", stats)

    def emitting(self, event_id: str, name: str) -> None:
        self._note("emitting", event_id, name)

    def attempting(self, webhook: Webhook, event_id: str, name: str, number: int) -> None:
        self._note("attempting", webhook, event_id, name, number)

    def subscriber_began(self, subscriber: str, event: Event) -> None:
        self._note("subscriber_began", subscriber, event)

    def subscriber_ended(self, subscriber: str, event: Event, error: BaseException | None) -> None:
        self._note("subscriber_ended", subscriber, event, error)


class Broken(Observer):
    """Raises in the one method it is given."""

    def __init__(self, method: str) -> None:
        self.calls = 0
        setattr(self, method, self.fail)

    def fail(self, *arguments: object) -> None:
        self.calls += 1
        raise RuntimeError("this observer is broken")


@pytest.mark.parametrize("method", METHODS)
async def test_a_broken_observer_harms_neither_delivery_nor_others(
    method: str, caplog: pytest.LogCaptureFixture, clock: VirtualClock
) -> None:
    """Whichever method raises: all is done and told as ever, and the error is logged once."""
    script = [Answer(), Answer(404), Answer(503), Answer(503), Answer(), Answer(), Answer(410)]
    broken, watch = Broken(method), Everything()
    async with FaultReceiver(script) as receiver:
        webhook = webhook_to(
            receiver,
            breaker=BreakerPolicy(failures=1, cooldown=1, maximum=1),
            retry=RetryPolicy(initial=1, factor=1, jitter=0),
            concurrency=1,
            queue_size=2,
            overflow="drop_newest",
        )
        async with dispatcher(
            webhook, clock=clock, observers=[broken, watch], logging=False
        ) as hooks:

            @hooks.on("room:join")
            def fail(event: object) -> None:
                raise ValueError("on purpose")

            for _ in range(2):  # delivered; rejected
                await emit(hooks)
            await soon(hooks.join())
            for _ in range(4):  # retried twice and delivered; delivered; two dropped
                await emit(hooks)
            await watch.attempted_times(3)
            for attempts in (4, 6):
                await clock.advance(1)
                await watch.attempted_times(attempts)
            await soon(hooks.join())
            await emit(hooks)  # gone
            await soon(hooks.join())
            row = hooks.stats().targets["root"]
            assert (row.delivered, row.failed, row.dropped, row.pending) == (3, 2, 2, 0)
    assert {name for name, _ in watch.calls} == set(METHODS)
    assert broken.calls == len(watch.all(method))
    (line,) = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert "observer is broken" in line.getMessage()
    assert line.exc_info is not None
    assert str(line.exc_info[1]) == "this observer is broken"


async def test_an_attribute_with_a_methods_name_is_no_listener() -> None:
    """A counter called as what it counts is the obvious thing to write."""

    class Counting(Observer):
        def __init__(self) -> None:
            self.delivered = 0  # type: ignore[assignment,method-assign]
            self.seen = 0

        def attempted(self, attempt: Attempt) -> None:
            self.seen += 1

    counting = Counting()
    async with (
        FaultReceiver() as receiver,
        dispatcher(webhook_to(receiver), observers=[counting]) as hooks,
    ):
        assert parts_of(hooks).runtime.notifier.delivered == ()
        await emit(hooks)
        await soon(hooks.join())
    assert counting.seen == 1
