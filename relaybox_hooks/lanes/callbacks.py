"""Callbacks by which webhook lanes report to the dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.targets.webhook import Webhook


@dataclass(frozen=True, slots=True)
class LaneCallbacks:
    """Shared by all webhook lanes of one ``Hooks``.

    Attributes:
        dead_letter: a delivery to this webhook was given up, for this reason; whether that was on
            arrival, so that it was never pending.
        endpoint_gone: the endpoint answered 410; no more is to be sent to it.
        state_changed: the breaker of the lane of this webhook, named by id, has changed.
    """

    dead_letter: Callable[[Webhook, Delivery, Reason, bool], None]
    endpoint_gone: Callable[[Webhook], None]
    state_changed: Callable[[str], None]
