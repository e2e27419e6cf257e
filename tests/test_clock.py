"""The event loop's clock, an alarm for the earliest of several moments, and sleep."""

from __future__ import annotations

import asyncio
import time

import pytest
from support import turns

from relaybox_hooks.clock import Alarm, Clock, LoopClock, sleep
from relaybox_hooks.testing import VirtualClock


class Owner:
    """Somebody with a clock, and the moments at which the alarm rang."""

    def __init__(self) -> None:
        self.time = VirtualClock()
        self.clock: Clock = self.time
        self.rung: list[float] = []
        self.alarm = Alarm(self, lambda: self.rung.append(self.clock.monotonic()))


@pytest.fixture
def owner() -> Owner:
    return Owner()


async def test_the_loop_clock_is_the_loops_and_the_machines() -> None:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    assert loop.time() <= clock.monotonic() <= loop.time()
    assert abs(clock.time() - time.time()) < 1
    fired = asyncio.Event()
    clock.call_at(clock.monotonic(), fired.set)
    await fired.wait()


async def test_a_timer_that_was_cancelled_does_not_fire() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    fired: list[str] = []
    clock.call_at(clock.monotonic(), lambda: fired.append("cancelled")).cancel()
    clock.call_at(clock.monotonic(), lambda: fired.append("kept"))
    await turns()
    assert fired == ["kept"]


async def test_an_alarm_rings_once_at_the_earliest_of_its_moments(owner: Owner) -> None:
    for when in (30.0, 10.0, 20.0):
        owner.alarm.set(when)
    await owner.time.advance(60)
    assert owner.rung == [10.0]


async def test_an_alarm_can_be_set_again_when_it_has_rung(owner: Owner) -> None:
    owner.alarm.set(10)
    await owner.time.advance(15)
    owner.alarm.set(40)
    await owner.time.advance(60)
    assert owner.rung == [10.0, 40.0]
    assert owner.alarm.now() == 75.0


async def test_a_cancelled_alarm_does_not_ring_and_can_be_set_later(owner: Owner) -> None:
    """Also later than the moment that was called off."""
    owner.alarm.set(10)
    owner.alarm.cancel()
    owner.alarm.cancel()
    assert owner.time.next_timer is None
    owner.alarm.set(20)
    await owner.time.advance(60)
    assert owner.rung == [20.0]


async def test_sleep_lasts_as_long_as_its_clock_says() -> None:
    clock = VirtualClock()
    sleeping = asyncio.create_task(sleep(clock, 5))
    await turns()
    await clock.advance(4.9)
    assert not sleeping.done()
    await clock.advance(0.1)
    await sleeping


async def test_a_sleep_that_is_cancelled_leaves_no_timer() -> None:
    clock = VirtualClock()
    sleeping = asyncio.create_task(sleep(clock, 5))
    await turns()
    assert clock.next_timer == 5
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert clock.next_timer is None
