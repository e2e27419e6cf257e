"""Protocols of a journal queue: what it reads from, commits to, and reports to its lane."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from relaybox_hooks.journal.protocol import Change, StoredDelivery
from relaybox_hooks.lanes.delivery import Delivery


class LaneSource(Protocol):
    """Reads the pending deliveries of webhooks."""

    async def read(
        self,
        webhook_id: str,
        *,
        limit: int,
        max_bytes: int,
        after: int = 0,
        key: str | None = None,
        skip_keys: Collection[str] = (),
    ) -> list[StoredDelivery]:
        """Return pending deliveries of a webhook; see ``DeliverySource.read``.

        Raises:
            JournalError: they cannot be read.
        """


class CommitSink(Protocol):
    """Takes the changes of deliveries."""

    def commit(self, change: Change) -> None:
        """Let a delivery be delivered, dead, or due again; returns at once."""

    def last_seq(self) -> int:
        """Return the highest number given so far, to what is being appended too."""


class QueueCallbacks(NamedTuple):
    """Reports of a queue to its lane.

    Attributes:
        ready: deliveries have become ready, because their retry is due.
        entered: a delivery was read into the memory.
        dead_letter: a delivery was read only to be given up.
    """

    ready: Callable[[], object]
    entered: Callable[[Delivery], object]
    dead_letter: Callable[[Delivery], object]
