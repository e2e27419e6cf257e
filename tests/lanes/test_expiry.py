"""What is too old is found, wherever it waits, and a timer fires when the next one is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from support.manual_clock import Clocked

from relaybox_hooks.lanes.delivery import IN_FLIGHT, READY, WAITING_RETRY, Delivery
from relaybox_hooks.lanes.delivery_queue import DeliveryQueue
from relaybox_hooks.lanes.expiry import Expiry
from relaybox_hooks.lanes.memory_queue import MemoryQueue
from relaybox_hooks.wire.envelope import Envelope

MAX_AGE = 60


class Listed:
    """A queue, as far as an expiry looks at it: its deliveries, in this order."""

    def __init__(self, *deliveries: Delivery, oldest_first: bool = False) -> None:
        self.deliveries = deliveries
        self.oldest_first = oldest_first

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self.deliveries)


class Lane(Clocked):
    """The owner, and how often its timer has fired."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0

    def delivery(self, age: float) -> Delivery:
        return Delivery(Envelope("id", "room:join", b"", self.manual.now - age), None)

    def expiry(self, *deliveries: Delivery, oldest_first: bool = False) -> Expiry:
        queue = Listed(*deliveries, oldest_first=oldest_first)
        return self.expiry_of(cast("DeliveryQueue", queue))

    def expiry_of(self, queue: DeliveryQueue) -> Expiry:
        return Expiry(self, queue, MAX_AGE, self.wake)

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def lane() -> Lane:
    return Lane()


def test_a_delivery_is_too_old_from_the_moment_it_has_the_age(lane: Lane) -> None:
    delivery = lane.delivery(age=0)
    expiry = lane.expiry(delivery)
    lane.manual.advance(MAX_AGE - 0.5)
    assert expiry.find() == []
    lane.manual.advance(0.5)
    assert expiry.find() == [delivery]


def test_the_timer_fires_when_a_watched_delivery_becomes_too_old(lane: Lane) -> None:
    delivery = lane.delivery(age=20)
    expiry = lane.expiry(delivery)
    expiry.watch(delivery)
    lane.manual.advance(39.5)
    assert lane.woken == 0
    lane.manual.advance(0.5)
    assert lane.woken == 1


def test_the_timer_fires_at_once_for_what_is_too_old_already(lane: Lane) -> None:
    """Say it waited for its retry in the journal while the process was down."""
    delivery = lane.delivery(age=1000)
    lane.expiry(delivery).watch(delivery)
    lane.manual.advance(0)
    assert lane.woken == 1


def test_one_timer_does_for_many_and_fires_for_the_oldest(lane: Lane) -> None:
    deliveries = [lane.delivery(age) for age in (10, 30, 20)]
    expiry = lane.expiry(*deliveries)
    for delivery in deliveries:
        expiry.watch(delivery)
    lane.manual.advance(30)
    assert lane.woken == 1
    lane.manual.advance(100)  # the search sets it anew, and none was made
    assert lane.woken == 1


def test_a_search_sets_the_timer_for_the_oldest_that_is_left(lane: Lane) -> None:
    old, middle, young = (lane.delivery(age) for age in (70, 30, 10))
    assert lane.expiry(young, old, middle).find() == [old]
    lane.manual.advance(29.5)
    assert lane.woken == 0
    lane.manual.advance(0.5)
    assert lane.woken == 1


@pytest.mark.parametrize("oldest_first", [True, False])
def test_only_a_queue_in_the_order_of_emits_is_searched_no_further_than_the_first_young_one(
    lane: Lane, oldest_first: bool
) -> None:
    """In others an old one may stand behind it: read from the journal later, say."""
    first, young, last = (lane.delivery(age) for age in (70, 10, 80))
    expiry = lane.expiry(first, young, last, oldest_first=oldest_first)
    assert expiry.find() == ([first] if oldest_first else [first, last])
    lane.manual.advance(50)
    assert lane.woken == 1


@pytest.mark.parametrize("oldest_first", [True, False])
def test_what_is_in_flight_is_passed_over_and_ends_no_search(
    lane: Lane, oldest_first: bool
) -> None:
    in_flight, old = lane.delivery(age=80), lane.delivery(age=70)
    in_flight.state = IN_FLIGHT
    expiry = lane.expiry(in_flight, old, oldest_first=oldest_first)
    assert expiry.find() == [old]
    lane.manual.advance(1000)
    assert lane.woken == 0, "no timer is set for what is in flight"


@pytest.mark.parametrize("state", [READY, WAITING_RETRY])
def test_what_was_in_flight_is_too_old_once_it_waits_again(lane: Lane, state: str) -> None:
    """In the queue of a real lane: interrupted, or waiting for its retry."""
    queue = MemoryQueue(lane, lambda: None)
    expiry = lane.expiry_of(queue)
    delivery = lane.delivery(age=0)
    queue.put(delivery)
    assert queue.next() is delivery
    lane.manual.advance(MAX_AGE + 10)
    assert expiry.find() == []
    if state == READY:
        queue.requeue(delivery)
    else:
        queue.retry_at(delivery, lane.manual.now + 1)
    assert delivery.state == state
    assert expiry.find() == [delivery]


def test_once_cancelled_the_timer_fires_no_more(lane: Lane) -> None:
    delivery = lane.delivery(age=0)
    expiry = lane.expiry(delivery)
    expiry.watch(delivery)
    expiry.cancel()
    lane.manual.advance(1000)
    assert lane.woken == 0
