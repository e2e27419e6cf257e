"""The budget of connections: never exceeded, shared out in order, and nothing idles for long."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from support import soon, turns

from relaybox_hooks.clock import Clock
from relaybox_hooks.testing.clock import VirtualClock, VirtualTimer
from relaybox_hooks.transport.budget import Budget, default_max_connections


class Owner:
    """Whoever has the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock: Clock = clock


class Connection:
    """A connection that was counted; its socket is closed in the next turn of the loop."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.aborted = False

    def abort(self) -> None:
        assert not self.aborted, "aborted twice"
        self.aborted = True
        self._budget.idle.pop(self, None)
        self._budget.closing()

    def put_back(self) -> None:
        """Idle, as the pool of a webhook has it."""
        budget = self._budget
        if not budget.keepalive or budget.waiters:
            self.abort()
            return
        budget.idle[self] = budget.owner.clock.monotonic()
        if not budget.timed:
            budget.set_timer()

    def take(self) -> None:
        """Serve another exchange."""
        del self._budget.idle[self]


@pytest.fixture
def budget(clock: VirtualClock) -> Budget:
    """Room for two."""
    return Budget(Owner(clock), 2, 15.0)


async def opened(budget: Budget) -> Connection:
    await soon(budget.reserve())
    return Connection(budget)


async def test_who_comes_when_all_are_in_use_waits_until_one_is_closed(budget: Budget) -> None:
    first, _ = [await opened(budget) for _ in range(2)]
    third = asyncio.create_task(budget.reserve())
    await turns()
    assert (third.done(), budget.used) == (False, 2)
    first.abort()
    await soon(third)
    assert budget.used == 2


async def test_the_room_of_a_connection_is_free_when_its_socket_is_closed(budget: Budget) -> None:
    """An aborted transport closes its socket in the next turn, and so is counted until then."""
    first, _ = [await opened(budget) for _ in range(2)]
    first.abort()
    assert budget.used == 2
    await asyncio.sleep(0)
    assert budget.used == 1


async def test_the_longest_idle_one_is_closed_for_who_needs_room(
    budget: Budget, clock: VirtualClock
) -> None:
    first, second = [await opened(budget) for _ in range(2)]
    second.put_back()
    await clock.advance(1)
    first.put_back()
    await soon(budget.reserve())
    assert (first.aborted, second.aborted) == (False, True)
    assert (budget.used, list(budget.idle)) == (2, [first])


async def test_one_that_was_used_again_has_idled_only_since(
    budget: Budget, clock: VirtualClock
) -> None:
    first, second = [await opened(budget) for _ in range(2)]
    for connection in (first, second):
        connection.put_back()
        await clock.advance(1)
    first.take()
    first.put_back()
    await soon(budget.reserve())
    assert (first.aborted, second.aborted) == (False, True)


async def test_who_waits_is_served_in_order(budget: Budget) -> None:
    held = [await opened(budget) for _ in range(2)]
    served: list[int] = []

    async def reserve(number: int) -> None:
        await budget.reserve()
        served.append(number)

    waiting = [asyncio.create_task(reserve(number)) for number in range(2)]
    await turns()
    held[0].abort()
    await asyncio.sleep(0)  # the room is there, and the first waiter has not taken it
    waiting.append(asyncio.create_task(reserve(2)))
    await turns()
    held[1].abort()
    await soon(asyncio.gather(*waiting[:2]))
    assert served == [0, 1]
    budget.closed()
    await soon(waiting[2])
    assert served == [0, 1, 2]


@pytest.mark.parametrize("handed_over", [False, True])
async def test_a_cancelled_waiter_takes_no_room_with_it(budget: Budget, handed_over: bool) -> None:
    """Also where it is cancelled in the turn in which it would have had it."""
    first, _ = [await opened(budget) for _ in range(2)]
    cancelled, next_one = [asyncio.create_task(budget.reserve()) for _ in range(2)]
    await turns()
    if handed_over:
        budget.closed()
        cancelled.cancel()
    else:
        cancelled.cancel()
        first.abort()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await soon(next_one)
    assert (budget.used, len(budget.waiters)) == (2, 0)


def noted_timers(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments that timers are set to from now on."""
    timers: list[float] = []
    call_at = clock.call_at

    def noted(when: float, callback: Callable[[], object]) -> VirtualTimer:
        timers.append(when)
        return call_at(when, callback)

    monkeypatch.setattr(clock, "call_at", noted)
    return timers


async def test_connections_that_idle_are_closed_in_time_by_one_timer(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where ``now - keepalive`` is less than the moment that it is to be, by rounding."""
    budget = Budget(Owner(clock), 10, 15.0)
    connections = [await opened(budget) for _ in range(3)]
    timers = noted_timers(clock, monkeypatch)
    await clock.advance(0.1)
    for connection in connections:
        connection.put_back()
        await clock.advance(1)
    assert timers == [15.1]
    for left in (2, 1, 0):
        wait = clock.next_timer
        assert wait is not None
        await clock.advance(wait)
        assert (budget.used, len(budget.idle)) == (left, left)
    assert clock.next_timer is None
    assert len(timers) == 3


async def test_a_used_connection_is_not_closed_by_the_timer(
    budget: Budget, clock: VirtualClock
) -> None:
    connection = await opened(budget)
    connection.put_back()
    await clock.advance(14)
    connection.take()
    await clock.advance(2)
    assert not connection.aborted
    connection.put_back()
    await clock.advance(14)
    assert not connection.aborted
    await clock.advance(1)
    assert connection.aborted


async def test_closing_closes_what_idles_and_what_would(
    budget: Budget, clock: VirtualClock
) -> None:
    """A replay may outlast closing, and puts back a connection that no timer would close."""
    idle, busy = [await opened(budget) for _ in range(2)]
    idle.put_back()
    budget.close()
    assert (idle.aborted, busy.aborted) == (True, False)
    busy.put_back()
    await turns()
    assert busy.aborted
    assert (budget.used, clock.next_timer) == (0, None)


async def test_the_end_of_a_connection_after_that_of_its_loop_is_harmless(
    clock: VirtualClock,
) -> None:
    budget = Budget(Owner(clock), 1, 15.0)
    await asyncio.to_thread(asyncio.run, budget.reserve())
    Connection(budget).abort()
    assert budget.used == 1


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(1024, 512), (65_536, 512), (256, 128), (3, 1), (1, 1), (resource.RLIM_INFINITY, 512)],
)
def test_by_default_half_of_the_files_may_be_connections(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: int
) -> None:
    limits = {resource.RLIMIT_NOFILE: (limit, resource.RLIM_INFINITY)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    assert default_max_connections() == expected


def test_without_such_a_limit_there_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "resource", None)
    assert default_max_connections() == 512


class BudgetWalk(RuleBasedStateMachine):
    """Reserve, cancel, idle, use again and close, in any order and at any turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.asked = 0
        self.waiting: dict[int, asyncio.Task[None]] = {}
        #: Those who had to wait, in the order in which they were served.
        self.served: list[int] = []
        self.held: list[Connection] = []

    @initialize(maximum=st.integers(1, 3), keepalive=st.sampled_from([0.0, 0.1, 1.5]))
    def made(self, maximum: int, keepalive: float) -> None:
        self.budget = Budget(Owner(self.clock), maximum, keepalive)

    @property
    def idle(self) -> list[Connection]:
        return [each for each in self.budget.idle if isinstance(each, Connection)]

    async def _reserve(self, number: int) -> None:
        others_wait = any(not waiter.done() for waiter in self.budget.waiters)
        later: list[bool] = []
        self.loop.call_soon(later.append, True)
        await self.budget.reserve()
        self.held.append(Connection(self.budget))
        if later:
            self.served.append(number)
        else:
            assert not others_wait, f"{number} was served before those who waited"

    @rule()
    def reserve(self) -> None:
        self.asked += 1
        self.waiting[self.asked] = self.loop.create_task(self._reserve(self.asked))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))].cancel()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["put_back", "abort"]))
    def finish(self, data: st.DataObject, how: str) -> None:
        connection = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        getattr(connection, how)()

    @precondition(lambda self: self.idle)
    @rule(data=st.data(), how=st.sampled_from(["take", "abort"]))
    def use(self, data: st.DataObject, how: str) -> None:
        connection = data.draw(st.sampled_from(self.idle))
        getattr(connection, how)()
        if how == "take":
            self.held.append(connection)

    @rule()
    def turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        for number, task in list(self.waiting.items()):
            if task.done():
                del self.waiting[number]
                with suppress(asyncio.CancelledError):
                    task.result()

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.7, 1.5]))
    def advance(self, seconds: float) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))
        self.turn()
        for connection, since in self.budget.idle.items():
            assert since + self.budget.keepalive > self.clock.monotonic(), connection
        assert not self.waiting or len(self.held) == self.budget.maximum, "somebody waits in vain"

    @invariant()
    def never_more_than_the_maximum(self) -> None:
        if hasattr(self, "budget"):
            connections = len(self.held) + len(self.idle)
            assert connections <= self.budget.used <= self.budget.maximum

    @invariant()
    def served_in_order(self) -> None:
        assert self.served == sorted(self.served)

    @invariant()
    def timed_while_any_idles(self) -> None:
        if hasattr(self, "budget") and self.idle:
            assert self.clock.next_timer is not None

    def teardown(self) -> None:
        """Cancel the rest, close the rest: then all room is free."""
        if hasattr(self, "budget"):
            for task in self.waiting.values():
                task.cancel()
            with suppress(asyncio.CancelledError):
                self.loop.run_until_complete(turns())
            for connection in (*self.held, *self.idle):
                connection.abort()
            self.loop.run_until_complete(turns())
            assert (self.budget.used, len(self.budget.waiters)) == (0, 0)
        self.loop.close()


BudgetWalk.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestBudgetWalk = BudgetWalk.TestCase
