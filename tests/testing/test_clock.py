"""Virtual time stands still, fires timers at their own moments, and never skips one."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import turns

from relaybox_hooks.testing.clock import VirtualClock


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(start=1000.0)
    await turns(5)
    assert (clock.time(), clock.monotonic()) == (1000.0, 0.0)
    await clock.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (1002.5, 2.5)


async def test_timers_fire_in_order_each_at_its_own_moment() -> None:
    clock, fired = VirtualClock(), list[tuple[str, float]]()
    for name, when in (("late", 3.0), ("first", 1.0), ("second", 1.0), ("beyond", 3.5)):
        clock.call_at(when, partial(lambda name: fired.append((name, clock.monotonic())), name))
    await clock.advance(3.0)
    assert fired == [("first", 1.0), ("second", 1.0), ("late", 3.0)]
    assert clock.next_timer == 0.5


async def test_a_timer_does_not_fire_early() -> None:
    clock, fired = VirtualClock(), list[str]()
    clock.call_at(1.0, lambda: fired.append("one"))
    await clock.advance(0.999)
    assert fired == []
    await clock.advance(0.001)
    assert fired == ["one"]


async def test_a_cancelled_timer_never_fires_and_is_not_next() -> None:
    clock, fired = VirtualClock(), list[str]()
    timer = clock.call_at(1.0, lambda: fired.append("never"))
    clock.call_at(2.0, lambda: None)
    due = clock.call_at(0.0, lambda: fired.append("never"))
    timer.cancel()
    due.cancel()
    assert clock.next_timer == 2.0
    await clock.advance(5)
    assert fired == []
    assert clock.next_timer is None


async def test_a_timer_that_is_due_when_set_fires_without_an_advance() -> None:
    """A time-out of 0 seconds ends by itself, as on the event loop's own clock."""
    clock, fired = VirtualClock(), list[float]()
    clock.call_at(-1.0, lambda: fired.append(clock.monotonic()))
    clock.call_at(0.0, lambda: fired.append(clock.monotonic()))
    assert fired == []
    await turns(1)
    assert fired == [0.0, 0.0]
    await clock.advance(1)
    assert fired == [0.0, 0.0]


async def test_what_a_timer_sets_off_runs_before_the_next_timer() -> None:
    """A chain of wake-ups, and a timer set on the way, are part of the same advance."""
    clock, seen = VirtualClock(), list[object]()
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def sleeper() -> None:
        await woken
        await turns(5)
        seen.append(("woken", clock.monotonic()))
        clock.call_at(clock.monotonic() + 0.5, lambda: seen.append(("chained", clock.monotonic())))

    task = asyncio.create_task(sleeper())
    clock.call_at(1.0, lambda: woken.set_result(None))
    clock.call_at(2.0, lambda: seen.append(("next", clock.monotonic())))
    await clock.advance(2.0)
    await task
    assert seen == [("woken", 1.0), ("chained", 1.5), ("next", 2.0)]


async def test_time_does_not_go_back() -> None:
    clock = VirtualClock()
    for seconds in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="does not go back"):
            await clock.advance(seconds)


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=8))
async def test_many_small_steps_arrive_where_one_step_does(steps: list[float]) -> None:
    """Rounding of sums does not leave a timer behind at its very moment."""
    clock, fired = VirtualClock(), list[str]()
    clock.call_at(sum(reversed(steps)), lambda: fired.append("rang"))
    for step in steps[:-1]:
        await clock.advance(step)
    assert fired == []
    await clock.advance(steps[-1])
    assert fired == ["rang"]
