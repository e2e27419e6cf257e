"""Order keys whose deliveries wait in the journal, and when each is read again."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from relaybox_hooks.clock import Alarm, Clocked

_NEVER: Final = float("inf")


class ParkedKey:
    """A key, or a single delivery without one, that waits in the journal.

    Attributes:
        key: the key; ``None``: only the delivery that follows ``after``.
        after: deliveries with a higher ``seq`` are not in memory.
        due: when to read on, monotonic; ``inf``: once those in memory are settled.
        append_missed: more of the key was appended since it was last read.
    """

    __slots__ = ("after", "append_missed", "due", "key")

    def __init__(self, key: str | None, after: int, due: float) -> None:
        self.key: str | None = key
        self.after: int = after
        self.due: float = due
        self.append_missed: bool = False


class ParkedKeys:
    """Keys left in the journal although what lies behind them has been read.

    A key is no longer parked only when it is discarded: while it is being read, new deliveries of
    its key must still be kept from overtaking.

    Attributes:
        by_key: the entries of keys; only this object adds and removes any.
        entries: all of them, those of single deliveries included; likewise.
    """

    __slots__ = ("_alarm", "_heap", "_number", "by_key", "entries")

    def __init__(self, clocked: Clocked, when_due: Callable[[], object]) -> None:
        self._alarm = Alarm(clocked, when_due)
        self.entries: set[ParkedKey] = set()
        self.by_key: dict[str, ParkedKey] = {}
        self._heap: list[tuple[float, int, ParkedKey]] = []
        self._number = 0

    def add(self, key: str | None, after: int, due: float) -> None:
        """Park what follows ``after`` until ``due``, in place of an earlier entry of the key."""
        before = None if key is None else self.by_key.get(key)
        if before is not None:
            self.discard(before)
        entry = ParkedKey(key, after, due)
        self.entries.add(entry)
        if key is not None:
            self.by_key[key] = entry
        self._push(entry)

    def drained(self, key: str) -> None:
        """Let ``key`` be read on, as none of it is in memory now, unless it waits for its time."""
        entry = self.by_key.get(key)
        if entry is not None and entry.due == _NEVER:
            entry.due = self._alarm.now()
            self._push(entry)

    def first_due(self) -> ParkedKey | None:
        """Return the entry that has been due longest; set a timer for the next if none is."""
        while self._heap:
            due, _, entry = self._heap[0]
            if entry not in self.entries or entry.due != due:
                heappop(self._heap)
            elif due <= self._alarm.now():
                return entry
            else:
                self._alarm.set(due)
                break
        return None

    def discard(self, entry: ParkedKey) -> None:
        """Park no longer: the deliveries are in memory, or settled."""
        self.entries.discard(entry)
        if entry.key is not None and self.by_key.get(entry.key) is entry:
            del self.by_key[entry.key]

    def clear(self) -> None:
        """Park nothing, and cancel the timer."""
        self._alarm.cancel()
        self.entries.clear()
        self.by_key.clear()
        self._heap.clear()

    def _push(self, entry: ParkedKey) -> None:
        if entry.due != _NEVER:
            self._number += 1
            heappush(self._heap, (entry.due, self._number, entry))
            self._alarm.set(entry.due)
