"""A delivery is small, and begins ready and alone."""

from __future__ import annotations

from typing import get_args

import pytest

from relaybox_hooks.lanes.delivery import (
    BLOCKED,
    IN_FLIGHT,
    READY,
    REMOVED,
    WAITING_RETRY,
    Delivery,
    DeliveryState,
)
from relaybox_hooks.wire.envelope import Envelope

ENVELOPE = Envelope("id", "room:join", b"", 0.0)


@pytest.mark.parametrize("key", ["c-1", None])
def test_it_begins_ready_without_an_attempt_and_without_neighbours(key: str | None) -> None:
    delivery = Delivery(ENVELOPE, key)
    assert delivery.envelope is ENVELOPE
    assert (delivery.key, delivery.state) == (key, READY)
    assert (delivery.attempts, delivery.outcome, delivery.seq) == (0, None, 0)
    links = (delivery.older, delivery.newer, delivery.before, delivery.after)
    assert links == (None, None, None, None)


def test_it_has_slots_and_no_dict() -> None:
    """A million may be pending: a dict for each would cost more than all the rest."""
    delivery = Delivery(ENVELOPE, None)
    assert not hasattr(delivery, "__dict__")
    with pytest.raises(AttributeError):
        delivery.another = 1  # type: ignore[attr-defined]


def test_deliveries_of_one_event_are_told_apart() -> None:
    """Sets and dicts hold them by identity."""
    assert len({Delivery(ENVELOPE, "k"), Delivery(ENVELOPE, "k")}) == 2


def test_the_constants_are_the_states() -> None:
    states = (BLOCKED, READY, IN_FLIGHT, WAITING_RETRY, REMOVED)
    assert states == get_args(DeliveryState)
