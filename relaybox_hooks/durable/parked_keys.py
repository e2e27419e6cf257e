"""Which keys of a webhook are left in the journal for now, and when each is read again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import heappop, heappush
from typing import Final

from relaybox_hooks.clock import Alarm, Clocked

_NEVER: Final = float("inf")


class ParkedKey:
    """A key, or a single delivery without one, that is left in the journal.

    Attributes:
        key: whose deliveries are meant; ``None``: only the one that follows ``after``.
        after: those with a higher ``seq`` are not in memory.
        due: when to read on, monotonic; ``inf``: once those in memory are settled.
        missed: more of the key was appended since it was last looked for.
    """

    __slots__ = ("after", "due", "key", "missed")

    def __init__(self, key: str | None, after: int, due: float) -> None:
        self.key = key
        self.after = after
        self.due = due
        self.missed = False


class ParkedKeys:
    """What is left in the journal although it lies before what has been read.

    An entry leaves the set of keys only when it is discarded: while it is being read, new
    deliveries of its key must still be kept from overtaking.
    """

    __slots__ = ("_alarm", "_entries", "_heap", "_keys", "_number")

    def __init__(self, owner: Clocked, when_due: Callable[[], object]) -> None:
        self._alarm = Alarm(owner, when_due)
        self._entries: set[ParkedKey] = set()
        self._keys: dict[str, ParkedKey] = {}
        self._heap: list[tuple[float, int, ParkedKey]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def keys(self) -> Collection[str]:
        """The keys that are left in the journal."""
        return self._keys.keys()

    def get(self, key: str | None) -> ParkedKey | None:
        """The entry of ``key``, if it is left in the journal."""
        return None if key is None else self._keys.get(key)

    def add(self, key: str | None, after: int, due: float) -> None:
        """Leave what follows ``after`` in the journal until ``due``; of a key one entry holds."""
        before = self.get(key)
        if before is not None:
            self.discard(before)
        entry = ParkedKey(key, after, due)
        self._entries.add(entry)
        if key is not None:
            self._keys[key] = entry
        self._push(entry)

    def drained(self, key: str) -> None:
        """Nothing of ``key`` is in memory any more: read on, unless it waits for its time."""
        entry = self._keys.get(key)
        if entry is not None and entry.due == _NEVER:
            entry.due = self._alarm.now()
            self._push(entry)

    def first_due(self) -> ParkedKey | None:
        """The entry that has been due longest; ``None``, and an alarm for the next, if none is."""
        while self._heap:
            due, _, entry = self._heap[0]
            if entry not in self._entries or entry.due != due:
                heappop(self._heap)
            elif due <= self._alarm.now():
                return entry
            else:
                self._alarm.set(due)
                break
        return None

    def discard(self, entry: ParkedKey) -> None:
        """Its deliveries are in memory, or settled."""
        self._entries.discard(entry)
        if entry.key is not None and self._keys.get(entry.key) is entry:
            del self._keys[entry.key]

    def clear(self) -> None:
        """Forget everything and ring no more."""
        self._alarm.cancel()
        self._entries.clear()
        self._keys.clear()
        self._heap.clear()

    def _push(self, entry: ParkedKey) -> None:
        if entry.due != _NEVER:
            self._number += 1
            heappush(self._heap, (entry.due, self._number, entry))
            self._alarm.set(entry.due)
