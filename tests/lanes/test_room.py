"""A full room follows its policy, and serves those who wait in the order in which they came."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from support import soon, turns
from support.manual_clock import ManualClock
from support.rooms import FullError, Parcel, Shelf

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.lanes.room import Waiter, wait_for_room
from relaybox_hooks.validation import Overflow

FOREVER = float("inf")


def filled(size: int = 1, overflow: Overflow = "wait", name: str = "shelf") -> Shelf:
    """A shelf with parcels 0 to ``size - 1``, which fill it."""
    shelf = Shelf(size, overflow, name)
    for number in range(size):
        assert shelf.offer(Parcel(number), wait=True) is True
    return shelf


def wait_with(shelf: Shelf, parcel: Parcel, origin: Shelf | None = None) -> Waiter[Parcel]:
    """Offer a parcel that has to wait."""
    outcome = shelf.offer(parcel, wait=True, origin=origin)
    assert isinstance(outcome, Waiter)
    return outcome


def waiting_for(
    shelf: Shelf, *waiters: Waiter[Parcel], timeout: float = FOREVER, clock: ManualClock
) -> asyncio.Task[None]:
    """The task of an emit that waits for room."""
    waiting = [(shelf, waiter) for waiter in waiters]
    return asyncio.create_task(wait_for_room(waiting, clock, timeout))


def timers(clock: ManualClock) -> int:
    """How many timers are set."""
    return sum(not timer.cancelled for _, _, timer in clock._timers)


# The policies


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest", "drop_newest", "raise"])
@pytest.mark.parametrize("wait", [True, False])
def test_where_there_is_room_every_policy_takes_the_item(overflow: Overflow, wait: bool) -> None:
    shelf = Shelf(2, overflow)
    assert shelf.offer(Parcel(0), wait=wait) is True
    assert shelf.offer(Parcel(1), wait=wait) is True
    assert shelf.log == [("taken", 0, None), ("taken", 1, None)]


async def test_wait_returns_a_waiter_that_is_taken_once_there_is_room() -> None:
    shelf = filled()
    waiter = wait_with(shelf, Parcel(1))
    assert (waiter.taken, waiter.future.done(), shelf.numbers) == (None, False, [0])
    shelf.settle(Parcel(0))
    assert (waiter.taken, waiter.future.result(), shelf.numbers) == (True, True, [1])


def test_wait_rejects_the_item_of_a_caller_that_does_not_wait() -> None:
    shelf = filled()
    assert shelf.offer(Parcel(1), wait=False) is False
    assert (shelf.numbers, shelf.rejected) == ([0], [(1, "overflow")])


def test_drop_oldest_takes_the_item_in_place_of_the_oldest() -> None:
    shelf = filled(3, "drop_oldest")
    assert shelf.offer(Parcel(3, size=2), wait=True) is True
    assert shelf.log[3:] == [("dropped", 0, None), ("dropped", 1, None), ("taken", 3, None)]
    assert shelf.numbers == [2, 3]


def test_drop_oldest_rejects_the_item_where_nothing_may_be_dropped() -> None:
    shelf = filled(2, "drop_oldest")
    shelf.fixed = set(shelf.parcels)
    assert shelf.offer(Parcel(2), wait=True) is False
    assert (shelf.numbers, shelf.rejected) == ([0, 1], [(2, "overflow")])


def test_drop_oldest_rejects_the_item_where_an_observer_of_the_drop_took_its_room() -> None:
    """And the shelf does not hold more than it has room for: ``enqueue`` would fail."""
    shelf = filled(1, "drop_oldest")
    shelf.on_drop = lambda: shelf.offer(Parcel(7), wait=False)
    assert shelf.offer(Parcel(1), wait=True) is False
    assert (shelf.numbers, shelf.rejected) == ([7], [(1, "overflow")])


def test_drop_newest_rejects_the_item_and_drops_nothing() -> None:
    shelf = filled(2, "drop_newest")
    assert shelf.offer(Parcel(2), wait=True) is False
    assert shelf.log[2:] == [("rejected", 2, "overflow")]


# What check_policy says of a full room, before anything is offered


async def test_raise_is_an_error_whether_the_caller_waits_or_not() -> None:
    shelf = filled(2, "raise")
    for wait in (True, False):
        with pytest.raises(FullError, match=r'overflow="raise"; slow down, or raise queue_size'):
            shelf.check_policy(wait=wait, origin=None)
    assert (shelf.numbers, shelf.waiters, len(shelf.log)) == ([0, 1], None, 2)


async def test_wait_is_an_error_where_the_caller_does_not_wait() -> None:
    shelf = filled()
    with pytest.raises(FullError, match="emit_nowait does not wait; await emit"):
        shelf.check_policy(wait=False, origin=None)
    shelf.check_policy(wait=True, origin=None)
    assert (shelf.numbers, shelf.waiters, len(shelf.log)) == ([0], None, 1)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_a_dropping_policy_is_no_error_for_anyone(overflow: Overflow) -> None:
    """Nor does it close a cycle, for it never waits."""
    shelf = filled(1, overflow)
    shelf.check_policy(wait=False, origin=None)
    shelf.check_policy(wait=True, origin=shelf)


# First come, first served


async def test_waiters_are_served_in_the_order_in_which_they_came() -> None:
    shelf = filled(2)
    waiters = [wait_with(shelf, Parcel(number)) for number in (2, 3, 4)]
    shelf.settle(Parcel(1))
    assert [waiter.taken for waiter in waiters] == [True, None, None]
    shelf.settle(Parcel(0))
    shelf.settle(Parcel(2))
    assert shelf.numbers == [3, 4]
    assert (shelf.waiters, shelf.rejected) == (None, [])


async def test_room_for_several_serves_several_at_once() -> None:
    shelf = Shelf(3)
    shelf.offer(Parcel(0, size=3), wait=True)
    for number in (1, 2, 3, 4):
        wait_with(shelf, Parcel(number))
    shelf.settle(Parcel(0, size=3))
    assert (shelf.numbers, shelf.waiting) == ([1, 2, 3], [4])


async def test_while_anyone_waits_a_smaller_item_does_not_overtake() -> None:
    shelf = Shelf(3)
    shelf.offer(Parcel(0, size=2), wait=True)
    wait_with(shelf, Parcel(1, size=2))
    wait_with(shelf, Parcel(2, size=1))  # which would fit
    assert shelf.has_room(Parcel(2, size=1))
    shelf.serve_waiters()
    assert (shelf.numbers, shelf.waiting) == ([0], [1, 2])
    shelf.settle(Parcel(0, size=2))
    assert shelf.numbers == [1, 2]


async def test_while_anyone_waits_a_caller_that_does_not_wait_gets_no_room_either() -> None:
    shelf = Shelf(3)
    shelf.offer(Parcel(0, size=2), wait=True)
    wait_with(shelf, Parcel(1, size=2))
    assert shelf.offer(Parcel(2, size=1), wait=False) is False
    assert (shelf.numbers, shelf.rejected) == ([0], [(2, "overflow")])


async def test_a_waiter_that_leaves_from_the_middle_changes_nothing_for_the_others() -> None:
    shelf = filled()
    _, leaving, _ = (wait_with(shelf, Parcel(number)) for number in (1, 2, 3))
    shelf.reject_waiter(leaving)
    assert (leaving.taken, leaving.future.result()) == (False, False)
    assert (shelf.waiting, shelf.rejected) == ([1, 3], [(2, "overflow")])
    shelf.settle(Parcel(0))
    shelf.settle(Parcel(1))
    assert (shelf.numbers, shelf.waiters) == ([3], None)


async def test_a_first_waiter_that_leaves_lets_those_behind_it_into_the_room_there_is() -> None:
    """The first one needed more than there was; for the next it is enough."""
    shelf = Shelf(3)
    shelf.offer(Parcel(0, size=2), wait=True)
    leaving, staying = wait_with(shelf, Parcel(1, size=2)), wait_with(shelf, Parcel(2, size=1))
    shelf.reject_waiter(leaving)
    assert (staying.taken, shelf.numbers) == (True, [0, 2])


async def test_a_cancelled_waiter_is_rejected_and_its_room_goes_to_the_next() -> None:
    """Room comes before the cancelled emit has run again."""
    shelf = filled()
    cancelled, following = wait_with(shelf, Parcel(1)), wait_with(shelf, Parcel(2))
    cancelled.future.cancel()
    shelf.settle(Parcel(0))
    assert (cancelled.taken, following.taken) == (False, True)
    assert (shelf.numbers, shelf.rejected) == ([2], [(1, "overflow")])


async def test_a_waiter_that_was_served_or_rejected_is_rejected_no_more() -> None:
    shelf = filled()
    served, rejected = wait_with(shelf, Parcel(1)), wait_with(shelf, Parcel(2))
    shelf.settle(Parcel(0))
    shelf.reject_waiter(rejected)
    for waiter in (served, rejected):
        shelf.reject_waiter(waiter)
    shelf.reject_waiters("shutdown")
    assert (shelf.numbers, shelf.rejected) == ([1], [(2, "overflow")])


@pytest.mark.parametrize("reason", ["shutdown", "removed"])
async def test_all_waiters_are_rejected_with_the_reason_in_order(reason: Reason) -> None:
    shelf = filled()
    waiters = [wait_with(shelf, Parcel(number)) for number in (1, 2, 3)]
    shelf.reject_waiters(reason)
    assert [waiter.future.result() for waiter in waiters] == [False] * 3
    assert shelf.rejected == [(1, reason), (2, reason), (3, reason)]
    assert (shelf.waiters, shelf.numbers) == (None, [0])


async def test_a_waiter_that_an_observer_of_a_rejection_rejects_is_rejected_once() -> None:
    """Say it removes the webhook, while all that wait for it are rejected at closing."""
    shelf = filled()
    first, second = wait_with(shelf, Parcel(1)), wait_with(shelf, Parcel(2))
    shelf.on_reject = lambda: shelf.reject_waiters("removed")
    shelf.reject_waiters("shutdown")
    assert (first.taken, second.taken) == (False, False)
    assert shelf.rejected == [(1, "shutdown"), (2, "removed")]


# Subscribers that would wait for each other


async def test_a_subscriber_that_would_wait_for_its_own_lane_is_an_error() -> None:
    shelf = filled(name="greet")
    with pytest.raises(FullError, match="greet is full: greet would wait for itself"):
        shelf.check_policy(wait=True, origin=shelf)


@pytest.mark.parametrize("length", [2, 3, 5])
async def test_a_chain_of_waits_that_would_close_is_an_error(length: int) -> None:
    """The subscriber of each room waits for the next room; the last may not for the first."""
    rooms = [filled(name=f"room {number}") for number in range(length)]
    for room, following in pairwise(rooms):
        following.check_policy(wait=True, origin=room)
        wait_with(following, Parcel(9), origin=room)
    first, last = rooms[0], rooms[-1]
    with pytest.raises(FullError, match=f"room {length - 1} would wait for itself"):
        first.check_policy(wait=True, origin=last)
    first.check_policy(wait=True, origin=filled(name="another"))
    first.check_policy(wait=True, origin=None)
    assert first.waiters is None


async def test_a_chain_of_waits_that_closes_elsewhere_is_followed_to_its_end() -> None:
    """Two others wait for each other all the same, say from tasks: the search ends."""
    one, other, third = filled(name="one"), filled(name="other"), filled(name="third")
    wait_with(one, Parcel(8), origin=other)
    wait_with(other, Parcel(8), origin=one)
    one.check_policy(wait=True, origin=third)


@pytest.mark.parametrize("ending", ["served", "rejected", "cancelled"])
async def test_a_wait_that_has_ended_closes_no_chain(ending: str) -> None:
    one, other = filled(name="one"), filled(name="other")
    waiter = wait_with(other, Parcel(1), origin=one)
    if ending == "cancelled":
        waiter.future.cancel()
    if ending == "rejected":
        other.reject_waiter(waiter)
    else:
        other.settle(Parcel(0))
    one.check_policy(wait=True, origin=other)
    assert not one.waits_for


async def test_of_two_waits_for_the_same_room_the_second_still_counts() -> None:
    one, other = filled(name="one"), filled(name="other")
    first, second = (wait_with(other, Parcel(number), origin=one) for number in (1, 2))
    other.reject_waiter(first)
    with pytest.raises(FullError, match="would wait for itself"):
        one.check_policy(wait=True, origin=other)
    other.reject_waiter(second)
    one.check_policy(wait=True, origin=other)


# wait_for_room


async def test_waiting_ends_as_soon_as_every_waiter_has_its_result() -> None:
    shelf, clock = filled(2), ManualClock()
    waiters = [wait_with(shelf, Parcel(number)) for number in (2, 3)]
    task = waiting_for(shelf, *waiters, timeout=5, clock=clock)
    await turns()
    shelf.settle(Parcel(0))
    await turns()
    assert not task.done()
    shelf.reject_waiter(waiters[1])
    assert timers(clock) == 1
    await soon(task)
    assert timers(clock) == 0
    assert (shelf.numbers, shelf.rejected) == ([1, 2], [(3, "overflow")])


async def test_after_the_timeout_those_that_still_wait_are_rejected() -> None:
    shelf, clock = filled(2), ManualClock()
    waiters = [wait_with(shelf, Parcel(number)) for number in (2, 3)]
    task = waiting_for(shelf, *waiters, timeout=5, clock=clock)
    await turns()
    shelf.settle(Parcel(0))
    clock.advance(4.5)
    await turns()
    assert (task.done(), shelf.waiting) == (False, [3])
    clock.advance(0.5)
    await soon(task)
    assert [waiter.taken for waiter in waiters] == [True, False]
    assert (shelf.waiters, shelf.rejected) == (None, [(3, "overflow")])


async def test_without_a_timeout_no_timer_ends_the_wait() -> None:
    shelf, clock = filled(), ManualClock()
    waiter = wait_with(shelf, Parcel(1))
    task = waiting_for(shelf, waiter, clock=clock)
    await turns()
    assert timers(clock) == 0
    clock.advance(1e9)
    await turns()
    assert (task.done(), shelf.waiting) == (False, [1])
    shelf.settle(Parcel(0))
    await soon(task)
    assert waiter.taken is True


async def test_a_cancelled_wait_rejects_what_was_not_served_and_keeps_what_was() -> None:
    shelf, clock = filled(2), ManualClock()
    waiters = [wait_with(shelf, Parcel(number)) for number in (2, 3, 4)]
    task = waiting_for(shelf, *waiters, timeout=5, clock=clock)
    await turns()
    shelf.settle(Parcel(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)
    assert [waiter.taken for waiter in waiters] == [True, False, False]
    assert (shelf.numbers, shelf.rejected) == ([1, 2], [(3, "overflow"), (4, "overflow")])
    assert timers(clock) == 0


async def test_a_wait_cancelled_before_it_began_rejects_nothing_twice() -> None:
    """It was rejected at closing, in the same pass through the event loop."""
    shelf, clock = filled(), ManualClock()
    waiter = wait_with(shelf, Parcel(1))
    task = waiting_for(shelf, waiter, timeout=5, clock=clock)
    await turns()
    shelf.reject_waiters("shutdown")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)
    assert shelf.rejected == [(1, "shutdown")]
