"""One event on its way: the lanes it is offered to, and what they make of it."""

from __future__ import annotations

import pytest
from support import KEY, ROOM

from relaybox_hooks import ConfigError, Event, Hooks, Session, Webhook
from relaybox_hooks.dispatch.emission import Emission, add_deliveries
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.session import NO_SESSION
from relaybox_hooks.testing.memory_journal import MemoryJournal
from relaybox_hooks.wire.envelope import Envelope

NOWHERE = "http://127.0.0.1:9/"
SESSION = Session(client_id="ada", connection_id="c-1")


def envelope(session: Session = SESSION) -> Envelope:
    return Envelope.encode("e-1", "room:join", ROOM, session, 10_000, time=1.0)


def lane_of(hooks: Hooks, webhook_id: str) -> WebhookLane:
    lane = parts_of(hooks).registry.find_lane(webhook_id)
    assert lane is not None
    return lane


@pytest.mark.parametrize(
    ("session", "key"),
    [
        (SESSION, "c-1"),
        (Session(client_id="ada"), "ada"),
        (NO_SESSION, None),
    ],
)
def test_a_delivery_is_ordered_by_connection_or_else_client(
    session: Session, key: str | None
) -> None:
    hooks: Hooks = Hooks([Webhook(NOWHERE, ["*"], KEY, id="w")])
    deliveries: list[tuple[WebhookLane, Delivery]] = []
    add_deliveries([lane_of(hooks, "w")], envelope(session), ROOM, session, deliveries)
    ((lane, delivery),) = deliveries
    assert (lane.target, delivery.key) == ("w", key)


def test_an_order_key_is_a_text_or_none() -> None:
    def order(event: Event) -> str:
        return event.data["key"]  # type: ignore[no-any-return]

    hooks: Hooks = Hooks([Webhook(NOWHERE, ["*"], KEY, id="w", order_by=order)])
    lanes, deliveries = [lane_of(hooks, "w")], list[tuple[WebhookLane, Delivery]]()
    for key in ("k", None):
        add_deliveries(lanes, envelope(), {"key": key}, SESSION, deliveries)
    assert [delivery.key for _, delivery in deliveries] == ["k", None]
    with pytest.raises(ConfigError, match="order_by=5"):
        add_deliveries(lanes, envelope(), {"key": 5}, SESSION, deliveries)


async def test_what_a_full_lane_makes_of_an_offer_is_counted() -> None:
    policies = {"fits": "wait", "waits": "wait", "drops": "drop_newest"}
    webhooks = [
        Webhook(NOWHERE, ["*"], KEY, id=name, queue_size=1, overflow=overflow)  # type: ignore[arg-type]
        for name, overflow in policies.items()
    ]
    async with Hooks(webhooks, close_timeout=0, logging=False) as hooks:
        for name in ("waits", "drops"):
            lane_of(hooks, name).enqueue(Delivery(envelope(), None))
        emission = Emission("e-1", "room:join", envelope())
        emission.items = [(lane_of(hooks, name), Delivery(envelope(), None)) for name in policies]
        emission.offer(wait=True)
        assert (emission.accepted, emission.dropped) == (1, 1)
        ((room, waiter),) = emission.waiting
        assert room is lane_of(hooks, "waits")
        room.reject_waiter(waiter)


async def test_a_webhook_that_was_disabled_or_removed_meanwhile_rejects_the_event() -> None:
    webhooks = [Webhook(NOWHERE, ["*"], KEY, id=name) for name in ("on", "off", "removed")]
    async with Hooks(webhooks, close_timeout=0, logging=False) as hooks:
        lanes = [lane_of(hooks, webhook.id) for webhook in webhooks]
        emission = Emission("e-1", "room:join", envelope())
        emission.items = [(lane, Delivery(envelope(), None)) for lane in lanes]
        hooks.disable_webhook("off")
        hooks.remove_webhook("removed")
        emission.reject_closed()
        assert [lane.target for lane, _ in emission.items] == ["on"]
        assert emission.dropped == 2
        letters = await hooks.dead_letters()
        assert [(letter.webhook_id, letter.reason) for letter in letters] == [
            ("off", "disabled"),
            ("removed", "removed"),
        ]


@pytest.mark.parametrize("pending", [True, False])
async def test_what_the_journal_has_stored_is_handed_to_the_lanes(pending: bool) -> None:
    """And they know no longer that an emit is about to hand them something."""
    async with Hooks(
        [Webhook(NOWHERE, ["*"], KEY, id="w")],
        journal=MemoryJournal(),
        close_timeout=0,
        logging=False,
    ) as hooks:
        lane, delivery = lane_of(hooks, "w"), Delivery(envelope(), None)
        emission = Emission("e-1", "room:join", envelope())
        emission.stored = [(lane, delivery)]
        emission.committing = [(lane, delivery)]
        lane.committing += 1
        emission.append_done([7], pending)
        assert delivery.seq == 7
        assert (emission.accepted, emission.dropped) == (int(pending), int(not pending))
        assert (lane.pending, lane.dropped) == (int(pending), int(not pending))
        assert lane.committing == 0
