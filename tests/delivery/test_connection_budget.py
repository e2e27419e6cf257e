"""However many webhooks there are: no more connections than there may be, and shared fairly."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from support import ONCE, Mood, Watch, dispatcher, emit, soon, turns, webhook_to

from relaybox_hooks import ConfigError, Hooks, RetryPolicy, Timeouts
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, VirtualClock
from relaybox_hooks.transport.runtime import Runtime


@asynccontextmanager
async def watched(receiver: FaultReceiver) -> AsyncIterator[Callable[[], int]]:
    """Look at a receiver's connections in each turn of the loop; yields the most that it had."""
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, receiver.connected)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    try:
        yield lambda: most
    finally:
        looking.cancel()


def runtime_of(hooks: Hooks[Any]) -> Runtime:
    return parts_of(hooks).runtime


def used(hooks: Hooks[Any]) -> int:
    """The connections that the budget counts."""
    budget = runtime_of(hooks).budget
    assert budget is not None
    return budget.used


async def test_hanging_endpoints_leave_connections_to_the_healthy_ones(
    clock: VirtualClock, watch: Watch
) -> None:
    """70 of them, of which each would take all that there are; 10 others have had one before."""
    async with FaultReceiver(Hang()) as hanging, FaultReceiver() as healthy:
        sick = [
            webhook_to(
                hanging,
                f"/{number}",
                id=f"sick-{number}",
                events=["room:leave"],
                timeouts=Timeouts(total=5),
                retry=RetryPolicy(attempts=100, initial=1, factor=1, jitter=0),
                breaker=None,
                order_by="none",
            )
            for number in range(70)
        ]
        well = [
            webhook_to(healthy, f"/{number}", id=f"well-{number}", events=["room:join"])
            for number in range(10)
        ]
        options: dict[str, Any] = {"max_connections": 16, "observers": [watch]}
        async with (
            dispatcher(*sick, *well, clock=clock, logging=False, **options) as hooks,
            watched(hanging) as most,
        ):
            for _ in range(3):
                await soon(hooks.emit("room:leave", {"roomId": "r"}))
            await soon(hanging.wait_until(lambda: hanging.connected == 16))
            # Nobody knows yet that they hang. Then each lane has been found out once.
            for _ in range(5):
                await clock.advance(5)
                await turns(100)
            tried = {attempt.webhook.id for attempt in watch.attempts}
            assert len(tried) == 70
            for number in range(1, 21):
                before = len(watch.attempts)
                await emit(hooks)
                await watch.until(delivered_by(watch, 10 * number))
                # Without the time of a single time-out.
                assert len(watch.attempts) - before <= 20
            assert most() <= 16
            assert used(hooks) <= 16
            assert runtime_of(hooks).starts.slow_running <= 8
            assert len(healthy.accepted) == 200
            # And those that hang are tried on, all of them.
            for _ in range(40):
                await clock.advance(5)
                await turns(50)
            assert min(retries_of(hooks, "sick")) >= 2


def delivered_by(watch: Watch, count: int) -> Callable[[], bool]:
    """Whether so many deliveries were observed."""
    return lambda: len(watch.all("delivered")) >= count


def retries_of(hooks: Hooks[Any], kind: str) -> list[int]:
    """How often each of the webhooks of a kind was tried again."""
    return [each.retried for name, each in hooks.stats().targets.items() if name.startswith(kind)]


async def test_one_event_to_a_thousand_webhooks_takes_no_more_connections_than_there_may_be() -> (
    None
):
    count, sockets = 1000, 0
    opened: list[socket.socket] = []

    def open_socket(address: Any) -> socket.socket:
        nonlocal sockets
        opened[:] = [each for each in opened if each.fileno() != -1]
        opened.append(socket.socket(*address[:3]))
        sockets = max(sockets, len(opened))
        return opened[-1]

    async with (
        FaultReceiver() as receiver,
        TCPConnector(socket_factory=open_socket, limit=0) as connector,
        watched(receiver) as most,
    ):
        webhooks = [webhook_to(receiver, f"/{number}") for number in range(count)]
        options: dict[str, Any] = {"max_connections": 64, "connector": connector}
        async with dispatcher(*webhooks, logging=False, **options) as hooks:
            for events in (1, 2):
                await emit(hooks)
                await soon(hooks.join())
                assert hooks.stats().delivered == count * events
                assert hooks.stats().retried == 0
            assert sockets == 64
            assert max(most(), used(hooks)) <= 64
        paths = {request.path for request in receiver.requests}
        assert len(paths) == count


# Idle connections


async def test_an_idle_connection_is_closed_after_keepalive(
    clock: VirtualClock, receiver: FaultReceiver
) -> None:
    async with dispatcher(webhook_to(receiver), clock=clock, keepalive=30) as hooks:
        await emit(hooks)
        await soon(hooks.join())
        await clock.advance(29)
        await emit(hooks)
        await soon(hooks.join())
        await clock.advance(29.9)
        assert (receiver.connections, receiver.connected) == (1, 1)
        await clock.advance(0.1)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert used(hooks) == 0
        await emit(hooks)
        await soon(hooks.join())
        assert receiver.connections == 2


async def test_without_keepalive_each_request_has_a_connection_of_its_own(
    receiver: FaultReceiver,
) -> None:
    async with dispatcher(webhook_to(receiver), keepalive=0) as hooks:
        for _ in range(3):
            await emit(hooks)
            await soon(hooks.join())
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert (receiver.connections, used(hooks)) == (3, 0)


async def test_an_idle_connection_is_closed_when_another_webhook_needs_room(
    receiver: FaultReceiver,
) -> None:
    """The one that has idled longest; the other is used again."""
    webhooks = [webhook_to(receiver, f"/{name}", events=[name]) for name in EVENTS_OF_THREE]
    async with dispatcher(*webhooks, max_connections=2, logging=False) as hooks:
        for name, connections in zip(
            (*EVENTS_OF_THREE, EVENTS_OF_THREE[1], EVENTS_OF_THREE[0]), (1, 2, 3, 3, 4), strict=True
        ):
            await soon(hooks.emit(name, {"roomId": "r"}))
            await soon(hooks.join())
            assert (receiver.connections, used(hooks)) == (connections, min(connections, 2))
        await soon(receiver.wait_until(lambda: receiver.connected == 2))


EVENTS_OF_THREE = ("room:join", "room:leave", "room:create")


async def test_closing_closes_idle_connections_before_keepalive_is_over(
    receiver: FaultReceiver,
) -> None:
    async with dispatcher(webhook_to(receiver)) as hooks:
        await emit(hooks)
        await soon(hooks.join())
        assert receiver.connected == 1
    await soon(receiver.wait_until(lambda: receiver.connected == 0))


# The host's connector


async def test_a_host_s_connector_dials_and_is_left_open(receiver: FaultReceiver) -> None:
    dialled = []

    def open_socket(address: Any) -> socket.socket:
        dialled.append(address[4])
        return socket.socket(*address[:3])

    async with TCPConnector(socket_factory=open_socket) as connector:
        async with dispatcher(webhook_to(receiver), connector=connector) as hooks:
            for _ in range(3):
                await emit(hooks)
                await soon(hooks.join())
        assert not connector.closed
        assert [address[0] for address in dialled] == ["127.0.0.1"]
    await soon(receiver.wait_until(lambda: receiver.connected == 0))


async def test_a_host_s_connector_has_no_say_in_what_idles(receiver: FaultReceiver) -> None:
    """Its limit is of those it is making: webhooks would wait for idle ones of others for ever."""
    async with TCPConnector(limit=1, limit_per_host=1) as connector:
        webhooks = [webhook_to(receiver, f"/{number}") for number in range(5)]
        async with dispatcher(*webhooks, connector=connector) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            assert (hooks.stats().delivered, used(hooks)) == (5, 5)


async def test_a_host_s_connector_and_a_host_s_session_exclude_each_other() -> None:
    async with TCPConnector() as connector, ClientSession() as session:
        with pytest.raises(ConfigError, match="the http_session has one of its own") as caught:
            Hooks(connector=connector, http_session=session)
        assert caught.value.option == "connector"
    with pytest.raises(ConfigError, match="connector='tcp'"):
        Hooks(connector="tcp")  # type: ignore[arg-type]


# Replays


async def test_a_replay_counts_too(clock: VirtualClock, mood: Mood) -> None:
    """It waits for room as any attempt does, and gives it back."""
    mood.fault = Answer(503)
    async with FaultReceiver(mood) as receiver, FaultReceiver(Hang()) as hanging:
        long, short = Timeouts(total=60), Timeouts(total=5)
        failing = webhook_to(receiver, "/failing", events=["room:join"], retry=ONCE, timeouts=long)
        busy = webhook_to(hanging, "/busy", events=["room:leave"], retry=ONCE, timeouts=short)
        async with dispatcher(
            failing, busy, clock=clock, max_connections=1, logging=False
        ) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            await soon(hooks.emit("room:leave", {"roomId": "r"}))
            await soon(hanging.wait_for(1))
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
            mood.fault = Answer()
            replaying = asyncio.create_task(hooks.replay(webhook_id="failing"))
            await turns(50)
            assert (len(receiver.requests), used(hooks)) == (1, 1)
            await clock.advance(5)
            assert await soon(replaying) == (1, 0, 0)
            assert used(hooks) == 1


async def test_closing_does_not_wait_for_the_connection_of_a_replay(
    clock: VirtualClock, mood: Mood
) -> None:
    mood.fault = Answer(503)
    async with FaultReceiver(mood) as receiver:
        hooks: Hooks = Hooks([webhook_to(receiver, retry=ONCE)], clock=clock)
        await hooks.start()
        await emit(hooks)
        await soon(hooks.join())
        mood.fault = Hang()
        replaying = asyncio.create_task(hooks.replay())
        await soon(receiver.wait_for(2))
        await soon(hooks.aclose(timeout=0))
        assert not replaying.done()
        await clock.advance(5)
        assert await soon(replaying) == (0, 1, 0)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        await turns()
        assert used(hooks) == 0
        assert clock.next_timer is None


# Too few


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


async def test_more_webhooks_than_connections_are_warned_of_once_per_start(
    receiver: FaultReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    webhooks = [webhook_to(receiver, f"/{number}") for number in range(3)]
    async with Hooks(webhooks, max_connections=2) as hooks:
        (warning,) = warnings_in(caplog)
        assert warning.startswith("3 webhooks are registered and max_connections is 2: ")
        await hooks.start()
        hooks.add_webhook(webhook_to(receiver, "/another"))
        await emit(hooks)
        await soon(hooks.join())
    assert len(warnings_in(caplog)) == 1
    async with Hooks(webhooks, max_connections=2):
        assert len(warnings_in(caplog)) == 2


@pytest.mark.parametrize("options", [{"max_connections": 3}, {"logging": False}], ids=str)
async def test_enough_connections_are_not_warned_of(
    receiver: FaultReceiver, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    webhooks = [webhook_to(receiver, f"/{number}") for number in range(3)]
    async with Hooks(webhooks, **({"max_connections": 2} | options)):
        assert warnings_in(caplog) == []


async def test_a_host_s_session_has_no_budget_to_warn_of(
    receiver: FaultReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    webhooks = [webhook_to(receiver, f"/{number}") for number in range(3)]
    async with (
        ClientSession() as session,
        Hooks(webhooks, max_connections=2, http_session=session) as hooks,
    ):
        await emit(hooks)
        await soon(hooks.join())
        assert (hooks.stats().delivered, runtime_of(hooks).budget) == (3, None)
    assert warnings_in(caplog) == []
