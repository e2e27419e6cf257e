"""Parked workers: who is ended when, and that one timer does for all."""

from __future__ import annotations

import asyncio

import pytest
from support import soon, turns

from relaybox_hooks.lanes.parked_workers import INTERVAL, ParkedWorkers
from relaybox_hooks.observer import Notifier
from relaybox_hooks.testing.clock import VirtualClock
from relaybox_hooks.transport.runtime import Runtime


class Lane:
    """A lane that parks workers as a subscriber's does."""

    def __init__(self) -> None:
        self.parked: list[asyncio.Future[bool]] = []
        self.watched = False


@pytest.fixture
async def workers(clock: VirtualClock) -> ParkedWorkers:
    runtime = Runtime(Notifier(()), lambda: 0.5, clock=clock)
    runtime.loop = asyncio.get_running_loop()
    return ParkedWorkers(runtime)


def timer(clock: VirtualClock) -> float | None:
    """Seconds until the next timer fires."""
    return clock.next_timer


def park(workers: ParkedWorkers, lane: Lane) -> asyncio.Future[bool]:
    assert lane.watched or workers.watch(lane)
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    lane.parked.append(future)
    return future


async def test_a_worker_is_ended_once_it_was_parked_for_an_interval(
    workers: ParkedWorkers, clock: VirtualClock
) -> None:
    lane = Lane()
    first = park(workers, lane)
    await clock.advance(INTERVAL * 0.9)
    second = park(workers, lane)
    await clock.advance(INTERVAL * 0.2)
    assert not first.done()
    await clock.advance(INTERVAL)
    assert first.result() is second.result() is False
    assert lane.parked == []


async def test_a_worker_that_was_at_work_meanwhile_is_as_new(
    workers: ParkedWorkers, clock: VirtualClock
) -> None:
    lane = Lane()
    idle, busy = park(workers, lane), park(workers, lane)
    for _ in range(2):
        lane.parked.remove(busy)
        busy = park(workers, lane)
        await clock.advance(INTERVAL)
    assert idle.result() is False
    assert not busy.done()
    assert lane.parked == [busy]


async def test_one_timer_does_for_all_and_stops_when_no_worker_is_parked(
    workers: ParkedWorkers, clock: VirtualClock
) -> None:
    lanes = [Lane() for _ in range(3)]
    for lane in lanes:
        park(workers, lane)
    assert timer(clock) == INTERVAL
    await clock.advance(3 * INTERVAL)
    assert not any(lane.parked for lane in lanes)
    assert timer(clock) is None
    assert not any(lane.watched for lane in lanes)
    again = park(workers, lanes[0])
    assert timer(clock) == INTERVAL
    await clock.advance(2 * INTERVAL)
    assert again.result() is False


async def test_many_are_ended_in_several_turns_of_the_loop(
    workers: ParkedWorkers, clock: VirtualClock
) -> None:
    """And one that is woken in between stays."""
    lane = Lane()
    futures = [park(workers, lane) for _ in range(1000)]
    most = 0

    async def look() -> None:
        nonlocal most
        before = 0
        while not all(future.done() for future in futures):
            now = sum(future.done() for future in futures)
            most, before = max(most, now - before), now
            if before and not woken:
                woken.update(lane.parked[-1:])  # the next one to be ended
                del lane.parked[-1:]
                futures[:] = [future for future in futures if future not in woken]
            await asyncio.sleep(0)

    woken: set[asyncio.Future[bool]] = set()
    looking = asyncio.create_task(look())
    await clock.advance(2 * INTERVAL)
    await soon(looking)
    assert 0 < most <= 200
    assert woken
    assert not any(future.done() for future in woken)


async def test_closing_ends_all_at_once_and_for_good(
    workers: ParkedWorkers, clock: VirtualClock
) -> None:
    lanes = [Lane(), Lane()]
    futures = [park(workers, lane) for lane in lanes for _ in range(2)]
    futures[0].cancel()  # from outside
    workers.close()
    assert [future.done() and future.cancelled() for future in futures] == [True] + 3 * [False]
    assert all(future.result() is False for future in futures[1:])
    assert timer(clock) is None
    assert not lanes[0].watched
    assert not workers.watch(lanes[0])
    assert timer(clock) is None


async def test_a_worker_that_was_cancelled_from_outside_is_forgotten(
    workers: ParkedWorkers, clock: VirtualClock
) -> None:
    lane = Lane()
    park(workers, lane).cancel()
    await clock.advance(3 * INTERVAL)
    assert lane.parked == []
    assert timer(clock) is None


async def test_the_next_worker_to_be_parked_can_be_waited_for(workers: ParkedWorkers) -> None:
    """Also one of a lane that has parked some before, and by several."""
    lane = Lane()
    park(workers, lane)
    waits = [asyncio.create_task(workers.wait_for_next()) for _ in range(3)]
    await turns()
    waits.pop().cancel()
    await turns()
    assert not any(wait.done() for wait in waits)
    park(workers, lane)
    await turns()
    assert all(wait.done() for wait in waits)
    last = asyncio.create_task(workers.wait_for_next())
    await turns()
    workers.close()
    await last
    await workers.wait_for_next()
