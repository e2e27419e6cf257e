"""What a webhook's lane needs of the dispatcher that it belongs to, and of its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import ClientSession

from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.lanes.lane import Hub
from relaybox_hooks.stats import Totals
from relaybox_hooks.targets.webhook import Webhook

if TYPE_CHECKING:
    from relaybox_hooks.journal.protocol import Journal


class RemoteHub(Hub, Protocol):
    """What a webhook's lane needs of the dispatcher besides what every lane does."""

    session: ClientSession
    totals: Totals

    def random(self) -> float:
        """From [0, 1), for jitter."""

    def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter and tell the observers."""

    def endpoint_gone(self, webhook: Webhook) -> None:
        """The endpoint answered 410: disable it."""


class Keeping(Protocol):
    """What a lane needs of whoever keeps the journal."""

    journal: Journal

    def lease_end(self) -> float:
        """Until when what is read now is leased, seconds since the Unix epoch."""

    def freed(self) -> None:
        """A delivery is pending no longer."""

    def save(self, webhook_id: str) -> None:
        """Write down what a webhook's lane must not forget over a restart."""
