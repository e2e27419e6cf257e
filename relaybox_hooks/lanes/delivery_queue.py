"""The protocol of a delivery queue: what a webhook's lane is given to keep its deliveries in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Protocol

from relaybox_hooks.lanes.delivery import Delivery


class DeliveryQueue(Protocol):
    """Deliveries that one webhook has accepted and not settled.

    Of each key only the first is ever ready, in flight or waiting for a retry; the others are
    blocked until it has left the queue, whatever the reason. Iterated are those in memory, the
    longest there first; the current one may be removed on the way.
    """

    @property
    def oldest_first(self) -> bool:
        """True if deliveries are iterated in the order in which they were emitted."""

    @property
    def ready_count(self) -> int:
        """Number of deliveries that :meth:`next` would return one after the other."""

    def __iter__(self) -> Iterator[Delivery]: ...

    def put(self, delivery: Delivery) -> bool:
        """Add the newest delivery; return whether it is in memory now."""

    def next(self) -> Delivery | None:
        """Return the delivery that has been ready longest, now in flight; ``None`` if none is."""

    def complete(self, delivery: Delivery) -> None:
        """Take a delivery out that was delivered."""

    def retry_at(self, delivery: Delivery, due: float) -> None:
        """Let a delivery in flight, and its key with it, wait until ``due``, monotonic."""

    def requeue(self, delivery: Delivery) -> None:
        """Make a delivery ready again whose attempt was interrupted."""

    def discard(self, delivery: Delivery) -> None:
        """Take a delivery out that is given up."""

    def drop_oldest(self) -> Delivery | None:
        """Take out the oldest delivery that is not in flight, ``None`` where there is none."""

    def close(self) -> None:
        """Keep nothing more: all that is not in flight is given up, by the lane what is in memory.

        What is put later is given up too, until :meth:`reopen`.
        """

    def reopen(self) -> None:
        """Keep deliveries again, of those that are put from now on."""

    def clear(self) -> Iterable[Delivery]:
        """Take everything out, as the process ends; return what is kept nowhere else."""

    def suspend(self) -> None:
        """Start no task any more."""

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """Return the tasks that work for the queue now."""

    def cancel_timers(self) -> None:
        """Cancel every timer of the queue."""
