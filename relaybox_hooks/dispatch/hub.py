"""What a webhook's lane needs of the dispatcher that it belongs to."""

from __future__ import annotations

from typing import Protocol

from aiohttp import ClientSession

from relaybox_hooks.dispatch.lane import Hub
from relaybox_hooks.dispatch.letters import DeadLetter
from relaybox_hooks.dispatch.stats import Totals
from relaybox_hooks.targets.webhook import Webhook


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
