"""What is logged: every loss, few lines, and no secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from support import METHODS, STEADY, Watch, dispatcher, emit, soon, webhook_to

from relaybox_hooks import BreakerPolicy, RetryPolicy, Timeouts
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.observers.logging import LoggingObserver
from relaybox_hooks.testing import Answer, FaultReceiver, Garbage, Hang, ResetAfterRead
from relaybox_hooks.testing.clock import VirtualClock


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "relaybox_hooks" and record.levelno >= level
    ]


async def test_loss_lines_are_few_and_lose_no_count(
    caplog: pytest.LogCaptureFixture, clock: VirtualClock
) -> None:
    """A hundred losses a line, then one line a while later with the count; the rest at closing."""
    observer = LoggingObserver(clock.monotonic)
    async with FaultReceiver(Hang()) as receiver:
        webhook = webhook_to(
            receiver, queue_size=1, overflow="drop_newest", timeouts=Timeouts(total=3600)
        )
        async with dispatcher(webhook, clock=clock, logging=False, observers=[observer]) as hooks:
            for _ in range(101):
                await emit(hooks)
            await clock.advance(9.9)
            await emit(hooks)
            (first,) = lines(caplog)
            assert first.endswith("the lane of root is full (overflow='drop_newest')")
            await clock.advance(0.1)
            for _ in range(6):
                await emit(hooks)
            (second,) = lines(caplog)[1:]
            assert second == f"{second.partition(';')[0]}; 100 more since the last such line"
            await hooks.aclose(timeout=0)
    assert lines(caplog)[3:] == [
        "root: 5 more lost (drop_newest)",
        "closed with 1 events left: {'root': 1}",
    ]


async def test_each_target_and_reason_has_lines_of_its_own(
    caplog: pytest.LogCaptureFixture, clock: VirtualClock
) -> None:
    async with FaultReceiver({"/a": Answer(404), "/b": Answer(404)}) as receiver:
        webhooks = [webhook_to(receiver, path) for path in ("/a", "/b")]
        async with dispatcher(*webhooks, clock=clock) as hooks:
            for _ in range(3):
                await emit(hooks)
            await soon(hooks.join())
            assert len(lines(caplog)) == 2
    assert lines(caplog)[2:] == ["a: 2 more lost (rejected)", "b: 2 more lost (rejected)"]


def test_the_log_remembers_no_more_targets_than_it_needs() -> None:
    """Webhooks come and go for years; what has been quiet for long is forgotten."""
    now = 0.0
    observer = LoggingObserver(lambda: now)
    for number in range(5000):
        now += 1
        observer.dropped(f"webhook-{number}", "id", "room:join", "drop_oldest")
    assert len(observer._last) <= 1001


async def test_what_happens_is_logged_at_its_level(
    caplog: pytest.LogCaptureFixture, clock: VirtualClock, watch: Watch
) -> None:
    caplog.set_level(logging.INFO)
    async with FaultReceiver([Answer(503), Answer(410)]) as receiver:
        webhook = webhook_to(receiver, retry=STEADY, name="crm", breaker=BreakerPolicy(failures=1))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            hooks.add_subscriber("room:join", lambda event: 1 / 0, name="greet")
            event_id = await emit(hooks)
            await watch.attempted_times(1)
            await clock.advance(5)
            await soon(hooks.join())
    found = {record.getMessage(): record.levelname for record in caplog.records}
    retry = f"room:join {event_id}: attempt 1 at webhook crm failed (status 503), next in 0.5 s"
    letter = (
        f"dead letter: room:join {event_id} to root: "
        "rejected (status 410: the endpoint is gone for good, attempt 2)"
    )
    disabled = f"webhook crm ({receiver.url}) disabled: the endpoint answered 410 Gone"
    assert found == {
        retry: "INFO",
        letter: "WARNING",
        disabled: "WARNING",
        f"room:join {event_id}: subscriber greet failed": "ERROR",
        "webhook crm: breaker open, was closed": "WARNING",
        "webhook crm: breaker half-open, was open": "WARNING",
        "webhook crm: breaker closed, was half-open": "WARNING",
    }


ECHO = b"HTTP/1.1 200 t0psecret\x00t0psecret\r\nt0psecret\r\n\r\n"


@pytest.mark.parametrize(
    "fault",
    [
        Answer(503),
        Answer(302, {"Location": "http://x/?t0psecret"}, b"t0psecret"),
        Answer(410),
        ResetAfterRead(),
        Garbage(b"t0psecret\r\n\r\n"),
        Garbage(ECHO),
        Garbage(b"HTTP/1.1 200 OK\r\n" + b"t0psecret" * 2000 + b"\r\n\r\n"),
        Garbage(b"HTTP/1.1 200 OK\r\nt0psecret\r\n\r\n"),
        Garbage(b"HTTP/1.1 200 OK\r\nContent-Length: t0psecret\r\n\r\n"),
        Garbage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nt0psecret\r\n"),
        Hang(),
    ],
    ids=repr,
)
async def test_no_secret_is_logged_at_any_level(
    caplog: pytest.LogCaptureFixture, clock: VirtualClock, watch: Watch, fault: Any
) -> None:
    """Not the payload, session, key, headers or query, nor what an endpoint echoes of them."""
    caplog.set_level(logging.DEBUG)
    async with FaultReceiver(fault) as receiver:
        webhook = webhook_to(
            receiver,
            "/hook?token=t0psecret#t0psecret",
            id="root",
            headers={"Authorization": "Bearer t0psecret"},
            signing_key="t0psecret",
            retry=RetryPolicy(attempts=2, initial=0),
            timeouts=Timeouts(total=1),
        )
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks, room="t0psecret", connectionId="t0psecret")
            for number in (1, 2):
                if isinstance(fault, Hang):
                    await soon(receiver.wait_for(number))
                    await clock.advance(1)
                await watch.attempted_times(number)
                if not hooks.stats().pending:
                    break
                await clock.advance(0.001)  # until the retry
            await soon(hooks.join())
            await emit(hooks, room="t0psecret")
            await hooks.aclose(timeout=0)
            hooks_text = (
                f"{hooks!r} {hooks.webhooks!r} {hooks.stats()} {await hooks.dead_letters()!r}"
            )
        told = "".join(f"{letter}{letter!r}{letter.outcome!r}" for letter in watch.letters)
    assert "t0psecret" not in caplog.text
    assert "t0psecret" not in told
    assert "t0psecret" not in hooks_text.replace("token=t0psecret#t0psecret", "")


async def test_logging_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "relaybox_hooks")
    async with (
        FaultReceiver(Answer(404)) as receiver,
        dispatcher(webhook_to(receiver), logging=False) as hooks,
    ):
        hooks.add_subscriber("room:join", lambda event: 1 / 0)
        await emit(hooks)
        await soon(hooks.join())
        assert all(getattr(parts_of(hooks).runtime.notifier, method) == () for method in METHODS)
    assert lines(caplog, logging.DEBUG) == []
