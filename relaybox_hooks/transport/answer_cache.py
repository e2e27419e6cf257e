"""Addresses that names had: fresh for a moment, and stale for an hour."""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from relaybox_hooks.transport.lookups import Address

#: Host and address family.
NameKey: TypeAlias = tuple[str, socket.AddressFamily]

#: Seconds for which an answer is used without asking again: as aiohttp's own cache has it.
FRESH: Final = 10.0

#: Seconds for which the last answer is used while lookups fail. RFC 8767 §5 has a day or more;
#: an address that was given up may belong to someone else by then.
STALE: Final = 3_600.0

#: Names that are remembered; the one unused for longest makes room.
_SIZE: Final = 10_000


class Answer:
    """Addresses of a name, when they were found, and whether lookups have failed since."""

    __slots__ = ("_addresses", "_used", "failing", "found_at")

    def __init__(self, addresses: list[Address], found_at: float) -> None:
        self._addresses = addresses
        self._used = 0
        self.found_at: float = found_at
        self.failing: bool = False

    def take(self) -> list[Address]:
        """Return the addresses, beginning with another one each time, to share out the load."""
        first = self._used % len(self._addresses)
        self._used += 1
        return self._addresses[first:] + self._addresses[:first]


class AnswerCache:
    """The latest answer of each name, for an hour.

    Args:
        now: a clock in seconds that never goes back.
        size: names that are remembered.
    """

    def __init__(self, now: Callable[[], float], *, size: int = _SIZE) -> None:
        self._now = now
        self._size = size
        self._answers: OrderedDict[NameKey, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def put(self, key: NameKey, addresses: list[Address]) -> Answer:
        """Remember what was found just now; returns it."""
        answer = self._answers[key] = Answer(addresses, self._now())
        self._answers.move_to_end(key)
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)
        return answer

    def get(self, key: NameKey) -> Answer | None:
        """Return the latest answer, unless it is more than an hour old."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        if self._now() - answer.found_at > STALE:
            del self._answers[key]
            return None
        self._answers.move_to_end(key)
        return answer

    def is_fresh(self, answer: Answer) -> bool:
        """Return whether it can be used without asking again."""
        return self._now() - answer.found_at <= FRESH

    def drop(self, key: NameKey) -> None:
        """Remove what is known of a name: it has no address any more."""
        self._answers.pop(key, None)
