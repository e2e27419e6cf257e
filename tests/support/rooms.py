"""A small room: parcels of several sizes on a shelf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.errors import RelayboxHooksError
from relaybox_hooks.lanes.room import Room
from relaybox_hooks.validation import Overflow


class Parcel(NamedTuple):
    """An item: its number, and how much room it needs."""

    number: int
    size: int = 1


class FullError(RelayboxHooksError):
    """The shelf is full."""


#: What became of a parcel, with the reason where it was rejected.
Entry: TypeAlias = tuple[Literal["taken", "dropped", "rejected"], int, Reason | None]


class Shelf(Room[Parcel]):
    """Room for parcels of so much size together.

    Attributes:
        parcels: those on the shelf, oldest first.
        fixed: those that ``drop_oldest`` may not drop, as it may not drop what is in flight.
        log: what became of each parcel, in the order in which it did.
        on_drop: called after each drop, as an observer would be.
        on_reject: called after each rejection, likewise.
    """

    def __init__(self, size: int, overflow: Overflow = "wait", name: str = "shelf") -> None:
        super().__init__(overflow)
        self.size = size
        self.name = name
        self.parcels: list[Parcel] = []
        self.fixed: set[Parcel] = set()
        self.log: list[Entry] = []
        self.on_drop: Callable[[], Any] = lambda: None
        self.on_reject: Callable[[], Any] = lambda: None

    def __str__(self) -> str:
        return self.name

    @property
    def waiting(self) -> list[int]:
        """The numbers of the parcels that wait, in order."""
        return [waiter.item.number for waiter in self.waiters or ()]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the parcels on the shelf, oldest first."""
        return [parcel.number for parcel in self.parcels]

    @property
    def rejected(self) -> list[tuple[int, Reason | None]]:
        """The numbers of the parcels that were rejected, with the reasons, in order."""
        return [(number, reason) for what, number, reason in self.log if what == "rejected"]

    def settle(self, parcel: Parcel) -> None:
        """Take a parcel from the shelf; its room goes to whoever waits."""
        self.parcels.remove(parcel)
        self.serve_waiters()

    def has_room(self, item: Parcel) -> bool:
        return sum(parcel.size for parcel in self.parcels) + item.size <= self.size

    def enqueue(self, item: Parcel) -> None:
        assert self.has_room(item)
        self.parcels.append(item)
        self.log.append(("taken", item.number, None))

    def drop_oldest(self, item: Parcel) -> None:
        for parcel in [parcel for parcel in self.parcels if parcel not in self.fixed]:
            if self.has_room(item):
                break
            self.parcels.remove(parcel)
            self.log.append(("dropped", parcel.number, None))
            self.on_drop()

    def reject(self, item: Parcel, reason: Reason) -> None:
        self.log.append(("rejected", item.number, reason))
        self.on_reject()

    def full_error(self, advice: str) -> FullError:
        return FullError(f"{self.name} is full: {advice}")
