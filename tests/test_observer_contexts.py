"""Beginnings are told in the context of what begins: what observers put there, they find again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import pytest
from support import dispatcher, emit, soon, webhook_to

from relaybox_hooks import (
    Attempt,
    Event,
    LaneFullError,
    Observer,
    PayloadError,
    Receipt,
    RetryPolicy,
    Stats,
    Webhook,
)
from relaybox_hooks.observer import Notifier
from relaybox_hooks.testing import Answer, FaultReceiver
from relaybox_hooks.wire.signing import SIGNATURE_HEADER

request_id: ContextVar[str] = ContextVar("request_id", default="none")


class Emissions(Observer):
    """Writes down the emits, and in whose context and how far they were."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.accepted: Callable[[], int] = lambda: 0

    def emitting(self, event_id: str, name: str) -> None:
        self.seen.append(("emitting", event_id, name, request_id.get(), str(self.accepted())))

    def emitted(self, name: str, receipt: Receipt) -> None:
        self.seen.append(("emitted", receipt.event_id, name, request_id.get()))


# Emits


@pytest.mark.parametrize("targets", ["subscriber", "webhook", "both"])
async def test_an_emit_is_told_in_its_callers_context_before_any_target_has_it(
    receiver: FaultReceiver, targets: str
) -> None:
    emissions = Emissions()
    webhooks = [] if targets == "subscriber" else [webhook_to(receiver)]
    async with dispatcher(*webhooks, observers=[emissions]) as hooks:
        emissions.accepted = lambda: hooks.stats().accepted
        if targets != "webhook":
            hooks.add_subscriber("room:join", lambda event: None)
        request_id.set("r1")
        receipt = await soon(hooks.emit("room:join", {"roomId": "x"}))
        request_id.set("r2")
        nowait = hooks.emit_nowait("room:join", {"roomId": "x"})
        await soon(hooks.join())
    number = str(receipt.accepted)
    assert emissions.seen == [
        ("emitting", receipt.event_id, "room:join", "r1", "0"),
        ("emitted", receipt.event_id, "room:join", "r1"),
        ("emitting", nowait.event_id, "room:join", "r2", number),
        ("emitted", nowait.event_id, "room:join", "r2"),
    ]


async def test_an_emit_of_another_thread_brings_that_threads_context(
    receiver: FaultReceiver,
) -> None:
    emissions = Emissions()

    def from_thread() -> None:
        request_id.set("of a thread")
        hooks.emit_from_thread("room:join", {"roomId": "x"})

    async with dispatcher(webhook_to(receiver), observers=[emissions]) as hooks:
        await soon(asyncio.to_thread(from_thread))
        await soon(hooks.join())
    assert [each[3] for each in emissions.seen] == ["of a thread"] * 2


async def test_a_refused_emit_is_not_told(receiver: FaultReceiver) -> None:
    emissions = Emissions()
    receiver.hold()
    webhook = webhook_to(receiver, queue_size=1, overflow="raise")
    async with dispatcher(webhook, observers=[emissions]) as hooks:
        with pytest.raises(PayloadError):
            await hooks.emit("room:join", {"roomId": 2**60})
        assert emissions.seen == []
        await emit(hooks)
        del emissions.seen[:]
        with pytest.raises(LaneFullError):
            await emit(hooks)
    assert emissions.seen == []


async def test_an_emit_that_waits_and_is_cancelled_is_told_to_its_end(
    receiver: FaultReceiver,
) -> None:
    """``emitted`` follows every ``emitting``: nothing that hangs on it is left behind."""
    emissions = Emissions()
    receiver.hold()
    async with dispatcher(webhook_to(receiver, queue_size=1), observers=[emissions]) as hooks:
        await emit(hooks)
        del emissions.seen[:]
        waiting = asyncio.create_task(emit(hooks))
        while not emissions.seen:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert [each[0] for each in emissions.seen] == ["emitting", "emitted"]


async def test_an_observer_that_emits_overfills_no_lane(receiver: FaultReceiver) -> None:
    """Room that was seen before it was told may be taken when it has been."""

    class Chatty(Observer):
        def emitting(self, event_id: str, name: str) -> None:
            if name == "room:join":
                hooks.emit_nowait("room:leave", {"roomId": "x"})

    receiver.hold()
    webhook = webhook_to(receiver, queue_size=1, overflow="drop_newest")
    async with dispatcher(webhook, observers=[Chatty()]) as hooks:
        receipt = await soon(hooks.emit("room:join", {"roomId": "x"}))
        assert (receipt.accepted, receipt.dropped) == (0, 1)
        assert hooks.stats().pending == 1


# Attempts


class Stamp(Observer):
    """Gives each attempt the same headers."""

    def __init__(self, headers: Any) -> None:
        self.headers = headers
        self.numbers: list[int] = []

    def attempting(
        self, webhook: Webhook, event_id: str, name: str, number: int
    ) -> Mapping[str, str] | None:
        self.numbers.append(number)
        return self.headers  # type: ignore[no-any-return]


async def test_headers_of_observers_go_with_the_request(receiver: FaultReceiver) -> None:
    stamps = [Stamp({"X-Trace": "1", "X-A": "a"}), Stamp(None), Stamp({"x-trace": "2"})]
    async with dispatcher(webhook_to(receiver), observers=stamps) as hooks:
        await emit(hooks)
        await soon(hooks.join())
    (request,) = receiver.requests
    assert request.headers.getall("X-Trace") == ["2"]
    assert request.headers["X-A"] == "a"


async def test_the_webhooks_own_headers_stand(receiver: FaultReceiver) -> None:
    webhook = webhook_to(receiver, headers={"X-Trace": "mine"})
    async with dispatcher(webhook, observers=[Stamp({"x-trace": "theirs"})]) as hooks:
        await emit(hooks)
        await soon(hooks.join())
    assert receiver.requests[0].headers.getall("X-Trace") == ["mine"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-relaybox-webhook-signature": "0" * 64},
        {"Content-Type": "text/plain"},
        {"Content-Length": "0"},
        {"X-A": "a\r\nX-B: b"},
        {"X-A": 1},
        {"X A": "a"},
        ["X-A"],
        42,
    ],
    ids=str,
)
async def test_headers_that_cannot_be_sent_are_logged_once_and_left_out(
    receiver: FaultReceiver, caplog: pytest.LogCaptureFixture, headers: Any
) -> None:
    """Neither the protocol's headers nor the delivery nor another observer's are harmed."""
    broken, well = Stamp(headers), Stamp({"x-b": "well"})
    async with dispatcher(webhook_to(receiver), observers=[broken, well], logging=False) as hooks:
        for _ in range(2):
            await emit(hooks)
        await soon(hooks.join())
        assert hooks.stats().delivered == 2
    for request in receiver.requests:
        assert request.headers["Content-Type"] == "application/json"
        assert len(request.headers[SIGNATURE_HEADER]) == 64
        assert "X-A" not in request.headers
        assert request.headers.getall("X-B") == ["well"]
    (line,) = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert "observer is broken" in line.getMessage()


async def test_an_attempt_ends_in_the_context_in_which_it_began() -> None:
    """Also the attempts of several workers at the same time, and those tried again."""
    current: ContextVar[tuple[str, int]] = ContextVar("current")

    class Spans(Observer):
        def __init__(self) -> None:
            self.ended: list[bool] = []

        def attempting(self, webhook: Webhook, event_id: str, name: str, number: int) -> None:
            current.set((event_id, number))

        def attempted(self, attempt: Attempt) -> None:
            self.ended.append(current.get() == (attempt.event_id, attempt.number))

    spans = Spans()
    async with FaultReceiver([Answer(503), Answer(503)]) as receiver:
        receiver.hold()
        webhook = webhook_to(receiver, retry=RetryPolicy(initial=0))
        async with dispatcher(webhook, observers=[spans]) as hooks:
            for connection in "abc":
                await emit(hooks, connectionId=connection)
            await soon(receiver.wait_for(3))
            receiver.release()
            await soon(hooks.join())
    assert spans.ended == [True] * 5


async def test_a_replayed_letter_is_given_headers_too() -> None:
    stamp = Stamp({"x-trace": "1"})
    async with FaultReceiver([Answer(404), Answer()]) as receiver:
        async with dispatcher(webhook_to(receiver), observers=[stamp]) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            assert await soon(hooks.replay()) == (1, 0, 0)
        assert [each.headers["X-Trace"] for each in receiver.requests] == ["1", "1"]
    assert stamp.numbers == [1, 2]


# Subscribers


@pytest.mark.parametrize("kind", ["async", "inline", "in_thread"])
async def test_a_subscriber_runs_in_the_context_that_was_told_of(kind: str) -> None:
    seen: list[tuple[str, str]] = []

    class Runs(Observer):
        def subscriber_began(self, subscriber: str, event: Event) -> None:
            request_id.set(event.data["roomId"])
            seen.append(("began", subscriber))

        def subscriber_ended(
            self, subscriber: str, event: Event, error: BaseException | None
        ) -> None:
            seen.append(("ended", request_id.get()))
            assert error is None

    def inline(event: Event[Any]) -> None:
        seen.append(("ran", request_id.get()))

    async def handler(event: Event[Any]) -> None:
        await asyncio.sleep(0)
        inline(event)

    async with dispatcher(observers=[Runs()]) as hooks:
        function = handler if kind == "async" else inline
        hooks.add_subscriber("*", function, name="s", in_thread=kind == "in_thread")
        for room in ("one", "two"):
            await emit(hooks, room)
        await soon(hooks.join())
    assert seen == [
        *(("began", "s"), ("ran", "one"), ("ended", "one")),
        *(("began", "s"), ("ran", "two"), ("ended", "two")),
    ]


async def test_how_a_subscriber_ended_is_told() -> None:
    class Ends(Observer):
        def __init__(self) -> None:
            self.errors: list[BaseException | None] = []

        def subscriber_ended(
            self, subscriber: str, event: Event, error: BaseException | None
        ) -> None:
            self.errors.append(error)

    ends, started = Ends(), asyncio.Event()
    error = RuntimeError("on purpose")
    async with dispatcher(observers=[ends], logging=False) as hooks:

        @hooks.on("room:join")
        async def fail(event: Event[Any]) -> None:
            raise error

        @hooks.on("room:leave")
        async def hang(event: Event[Any]) -> None:
            started.set()
            await asyncio.Event().wait()

        await emit(hooks)
        await soon(hooks.join())
        await hooks.emit("room:leave", {"roomId": "x"})
        await soon(started.wait())
    assert ends.errors[0] is error
    assert isinstance(ends.errors[1], asyncio.CancelledError)
    assert len(ends.errors) == 2


# The start, and what it all costs


async def test_the_start_hands_over_the_counts(receiver: FaultReceiver) -> None:
    counts: list[Callable[[], Stats]] = []

    class Reader(Observer):
        def started(self, stats: Callable[[], Stats]) -> None:
            counts.append(stats)

    async with dispatcher(webhook_to(receiver), observers=[Reader()]) as hooks:
        await hooks.start()  # harmless, and told once
        await emit(hooks)
        await soon(hooks.join())
    (stats,) = counts
    assert stats() == hooks.stats()
    assert stats().delivered == 1


async def test_without_observers_nobody_is_called(
    receiver: FaultReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even to find that there is nobody: emits, attempts and subscribers go straight on."""
    told: list[object] = []
    monkeypatch.setattr(Notifier, "notify", lambda self, *arguments: told.append(arguments))
    monkeypatch.setattr(Notifier, "headers", lambda self, *arguments: told.append(arguments))
    async with dispatcher(webhook_to(receiver), logging=False) as hooks:
        hooks.add_subscriber("room:*", lambda event: None)
        hooks.add_subscriber("presence:join", lambda event: None)
        await emit(hooks)
        await hooks.emit("presence:join", {"roomId": "x", "userData": None})
        await soon(hooks.join())
        assert hooks.stats().delivered == 4
        assert told == []
