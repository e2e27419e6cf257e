"""What one target suffers costs no other anything, and a target without work nearly nothing."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest
from support import KEY

from relaybox_hooks import Event, Hooks, RetryPolicy, Timeouts, Webhook
from relaybox_hooks.testing import (
    Answer,
    Drip,
    EndlessBody,
    EndlessHeaders,
    Fault,
    FaultReceiver,
    Hang,
    Hold,
    ResetAfterRead,
)

EVENTS: Final = 1000
HEALTHY: Final = ("one", "two", "three")
#: DESIGN.md: ten thousand idle webhooks hold no task and at most 4 KB each.
MOST_BYTES: Final = 4096
#: What the next delivery finds prepared: URL, key and headers, and until it rings the alarm.
KEPT_BYTES: Final = 2048


def webhook(receiver: FaultReceiver, id: str, **options: Any) -> Webhook:
    options = {"events": ["room:join"], "url": receiver.url_for(f"/{id}"), **options}
    return Webhook(signing_key=KEY, id=id, **options)


async def emit(hooks: Hooks, number: int) -> str:
    session = {"connectionId": str(number % 50)}
    return (await hooks.emit("room:join", {"roomId": "r"}, session)).event_id


async def emit_to_the_healthy(hooks: Hooks, receiver: FaultReceiver, events: int) -> None:
    """Emit events and wait until every healthy webhook has all of them, once each."""
    emitted = [await emit(hooks, number) for number in range(events)]
    await receiver.wait_until(lambda: len(receiver.accepted) >= events * len(HEALTHY))
    for healthy in HEALTHY:
        got = [
            accepted.event_id for accepted in receiver.accepted if accepted.webhook_id == healthy
        ]
        assert Counter(got) == Counter(emitted)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_a_full_lane_of_held_requests_delays_no_other(overflow: str) -> None:
    async with asyncio.timeout(60), FaultReceiver({"/held": Hold()}) as receiver:
        webhooks = [webhook(receiver, healthy) for healthy in HEALTHY]
        policies: dict[str, Any] = {"overflow": overflow, "queue_size": 10, "concurrency": 4}
        webhooks.append(webhook(receiver, "held", **policies, timeouts=Timeouts(total=1000)))
        async with Hooks(webhooks, close_timeout=0, logging=False) as hooks:
            await emit_to_the_healthy(hooks, receiver, EVENTS)
            held = hooks.stats().targets["held"]
            assert (held.pending, held.in_flight, held.delivered) == (10, 4, 0)
            assert held.dropped == EVENTS - 10
            assert len(receiver.held) == 4


async def test_who_waits_for_a_full_lane_delays_no_other() -> None:
    """With back-pressure it is those who emit to the full lane that wait, and nobody else."""
    async with asyncio.timeout(60), FaultReceiver({"/held": Hold()}) as receiver:
        webhooks = [webhook(receiver, healthy) for healthy in HEALTHY]
        webhooks.append(webhook(receiver, "held", events=["room:leave"], queue_size=2))
        async with Hooks(
            webhooks, close_timeout=0, logging=False, timeouts=Timeouts(total=1000)
        ) as hooks:
            leaving = [
                asyncio.create_task(hooks.emit("room:leave", {"roomId": "r"})) for _ in range(10)
            ]
            await emit_to_the_healthy(hooks, receiver, EVENTS)
            assert sum(task.done() for task in leaving) == 2
            assert hooks.stats().targets["held"].pending == 2
            receiver.release()
        assert sum([(await task).dropped for task in leaving]) > 0


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine that refuses connections and that nobody else can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


SICK: Final[dict[str, Fault | None]] = {
    "refuses": None,
    "resets": ResetAfterRead(),
    "hangs": Hang(),
    "drips": Drip(Answer(body=b"x" * 1000), 0.005),
    "500 for ever": Answer(500),
    "endless body": EndlessBody(500),
    "endless headers": EndlessHeaders(),
}


@pytest.mark.parametrize("breaker", ["default", None], ids=["breaker", "no breaker"])
@pytest.mark.parametrize("sickness", list(SICK))
async def test_a_sick_endpoint_delays_no_other(sickness: str, breaker: Any, dead_port: int) -> None:
    """It fails, and is tried again, for as long as the others have something to do."""
    events = 300
    fault = SICK[sickness]
    script = {"/sick": fault} if fault else None
    url = {"url": f"http://127.0.0.1:{dead_port}/"} if fault is None else {}
    async with asyncio.timeout(60), FaultReceiver(script) as receiver:
        webhooks = [webhook(receiver, healthy) for healthy in HEALTHY]
        policies: dict[str, Any] = {"overflow": "drop_oldest", "queue_size": 20, "concurrency": 4}
        retry = RetryPolicy(attempts=1000, initial=0.01, maximum=0.01)
        timeouts = Timeouts(total=0.2)
        sick = webhook(
            receiver, "sick", **url, **policies, retry=retry, timeouts=timeouts, breaker=breaker
        )
        async with Hooks([sick, *webhooks], close_timeout=0, logging=False) as hooks:
            await emit_to_the_healthy(hooks, receiver, events)
            stats = hooks.stats().targets
            assert stats["sick"].pending == 20
            assert stats["sick"].accepted == events
            assert all(
                stats[healthy].delivered + stats[healthy].pending == events for healthy in HEALTHY
            )
            assert all(stats[healthy].retried == 0 for healthy in HEALTHY)


async def test_refused_addresses_do_not_stall_the_event_loop() -> None:
    """Such an attempt ends without a pause; a thousand of them must not run in one go."""
    blocked = Webhook("http://169.254.169.254/", ["room:join"], KEY, id="w", order_by="none")
    async with Hooks([blocked], concurrency=1, logging=False) as hooks:
        for number in range(100):
            await emit(hooks, number)
        seen = set()
        while hooks.stats().pending:
            seen.add(hooks.stats().pending)
            await asyncio.sleep(0)
        assert len(seen) >= 50
        assert {letter.reason for letter in await hooks.dead_letters()} == {"rejected"}


async def test_hung_threads_delay_no_other_subscriber() -> None:
    """More of them than anyio's default limit of 40 threads, which all of a process share."""
    release = threading.Event()
    hung = threading.Semaphore(0)
    told: Counter[str] = Counter()
    telling, all_told = threading.Lock(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(event: Event) -> None:
        hung.release()
        release.wait()

    def tell(kind: str) -> None:
        with telling:
            told[kind] += 1
            if told.total() == 300:
                loop.call_soon_threadsafe(all_told.set)

    async def asynchronous(event: Event) -> None:
        tell("async")

    async with asyncio.timeout(60), Hooks(logging=False) as hooks:
        for number in range(41):  # each a function of its own: one has but one lane
            hooks.add_subscriber("room:join", partial(hang), in_thread=True, name=f"hung {number}")
        hooks.add_subscriber("room:join", asynchronous)
        hooks.add_subscriber("room:join", lambda event: tell("inline"))
        hooks.add_subscriber("room:join", lambda event: tell("thread"), in_thread=True)
        for number in range(100):
            await emit(hooks, number)
        try:
            await all_told.wait()
            assert hooks.stats().failed == 0
            assert told == {"async": 100, "inline": 100, "thread": 100}
            await asyncio.to_thread(lambda: [hung.acquire() for _ in range(41)])
            assert hooks.stats().pending == 41 * 100
        finally:
            release.set()
        await hooks.join()


def idle_webhooks(receiver: FaultReceiver, count: int) -> list[Webhook]:
    """As a server would read them from its database: nothing is shared between them."""
    return [
        Webhook(
            receiver.url_for(f"/{number}"),
            [f"room:{what}" for what in ("join", "leave", "publish")],
            f"{number:032x}",
            id=f"webhook-{number}",
            name=f"customer {number}",
            headers={"X-Customer": str(number)},
            app_pid=f"app-{number}",
        )
        for number in range(count)
    ]


async def test_ten_thousand_idle_webhooks_hold_no_task_and_little_memory() -> None:
    count = 10_000
    async with FaultReceiver() as receiver, Hooks(logging=False) as hooks:
        tasks = len(asyncio.all_tasks())
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for each in idle_webhooks(receiver, count):
                hooks.add_webhook(each)
            gc.collect()
            each_costs = (tracemalloc.get_traced_memory()[0] - before) / count
        finally:
            tracemalloc.stop()
        print(f"\n{each_costs:.0f} bytes for each idle webhook")
        assert each_costs <= MOST_BYTES
        assert len(asyncio.all_tasks()) == tasks


async def test_webhooks_that_have_gone_idle_again_are_small() -> None:
    count = 2000
    hooks: Hooks = Hooks(logging=False, keepalive=0)  # a connection is not the webhook's
    async with asyncio.timeout(60), FaultReceiver() as receiver, hooks:
        tasks = len(asyncio.all_tasks())
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for each in idle_webhooks(receiver, count):
                hooks.add_webhook(each)
            for number in range(count):
                await hooks.emit("room:join", {"roomId": "r"}, {"appPid": f"app-{number}"})
                if number % 20 == 19:
                    await hooks.join()
            await hooks.join()
            assert hooks.stats().delivered == count
            receiver.requests.clear()
            receiver.accepted.clear()
            gc.collect()
            each_costs = (tracemalloc.get_traced_memory()[0] - before) / count
        finally:
            tracemalloc.stop()
        print(f"\n{each_costs:.0f} bytes for each webhook that has delivered once")
        assert each_costs <= MOST_BYTES + KEPT_BYTES
        assert len(asyncio.all_tasks()) == tasks
