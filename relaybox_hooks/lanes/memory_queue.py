"""The deliveries one webhook still owes: in order per key, side by side across keys. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Final

from relaybox_hooks.outcome import Outcome
from relaybox_hooks.wire.envelope import Envelope


class State(Enum):
    """Where a delivery stands in its lane."""

    BEHIND = "behind"  # another delivery of its key goes first
    READY = "ready"
    BUSY = "busy"  # an attempt is under way
    HELD = "held"  # its next attempt is not due yet
    GONE = "gone"


_BEHIND: Final = State.BEHIND
_READY: Final = State.READY
_BUSY: Final = State.BUSY
_HELD: Final = State.HELD
_GONE: Final = State.GONE

#: Forgotten entries a deque may hold beyond half its length before it is swept.
_SLACK: Final = 32


class Delivery:
    """One event on its way to one webhook.

    Attributes:
        envelope: the encoded event, shared by all the webhooks it goes to.
        key: deliveries of the same key leave in order; ``None`` is in order with nobody.
        attempts: how many were made.
        outcome: what the last attempt came to; ``None`` before the first.
        seq: its number in the journal; 0 where there is none.
        state: where it stands; only :class:`Backlog` changes it.
    """

    # The four links make two intrusive lists: of all deliveries by age, and of each key's.
    # A deque for every key would cost more than the event itself.
    __slots__ = (
        "_after",
        "_before",
        "_newer",
        "_older",
        "attempts",
        "envelope",
        "key",
        "outcome",
        "seq",
        "state",
    )

    def __init__(self, envelope: Envelope, key: str | None) -> None:
        self.envelope = envelope
        self.key = key
        self.attempts = 0
        self.outcome: Outcome | None = None
        self.seq = 0
        self.state = _READY
        self._older: Delivery | None = None
        self._newer: Delivery | None = None
        self._before: Delivery | None = None
        self._after: Delivery | None = None


class Backlog:
    """Every delivery a webhook has accepted and not settled. All operations cost O(1).

    Of each key only the first delivery is ever ready, held or busy; the others wait behind
    it until :meth:`remove` takes it away, whatever the reason.
    """

    __slots__ = ("_newest", "_oldest", "_ready", "_swept", "_tails")

    def __init__(self) -> None:
        self._oldest: Delivery | None = None
        self._newest: Delivery | None = None
        self._tails: dict[str, Delivery] = {}
        # No deque while nothing is ready: an empty one would cost each idle webhook 700 bytes.
        self._ready: deque[Delivery] | tuple[()] = ()
        # Entries of _ready that were removed while they waited there, since the last sweep.
        self._swept = 0

    def __iter__(self) -> Iterator[Delivery]:
        """Oldest first. The current one may be removed on the way."""
        delivery = self._oldest
        while delivery is not None:
            newer = delivery._newer
            yield delivery
            delivery = newer

    def push(self, delivery: Delivery) -> None:
        """Add the newest delivery."""
        newest = self._newest
        if newest is None:
            self._oldest = delivery
        else:
            newest._newer = delivery
            delivery._older = newest
        self._newest = delivery
        key = delivery.key
        if key is not None:
            tail = self._tails.get(key)
            self._tails[key] = delivery
            if tail is not None:
                tail._after = delivery
                delivery._before = tail
                delivery.state = _BEHIND
                return
        self._enqueue(delivery)

    def pop(self) -> Delivery | None:
        """The delivery that has been ready longest, now busy; ``None`` where none is ready."""
        ready = self._ready
        while ready:
            delivery = ready.popleft()
            if delivery.state is _READY:
                delivery.state = _BUSY
                return delivery
            self._swept -= 1
        self._ready = ()
        return None

    @property
    def ready_count(self) -> int:
        """How many deliveries :meth:`pop` would return one after the other."""
        return len(self._ready) - self._swept

    def hold(self, delivery: Delivery) -> None:
        """A busy delivery waits for its next attempt, and its key with it."""
        delivery.state = _HELD

    def release(self, delivery: Delivery) -> bool:
        """Make a held or busy delivery ready again; false where it was removed meanwhile."""
        if delivery.state is _GONE:
            return False
        delivery.state = _READY
        self._enqueue(delivery)
        return True

    def remove(self, delivery: Delivery) -> None:
        """Take a delivery away, settled or given up; the next of its key becomes ready."""
        state = delivery.state
        delivery.state = _GONE
        older, newer = delivery._older, delivery._newer
        if older is None:
            self._oldest = newer
        else:
            older._newer = newer
        if newer is None:
            self._newest = older
        else:
            newer._older = older
        delivery._older = delivery._newer = None
        if state is _READY:
            self._forget_ready()
        if delivery.key is not None:
            self._unchain(delivery, delivery.key)

    def remove_with_followers(self, delivery: Delivery) -> list[Delivery]:
        """Take a delivery and all that wait behind it away; none becomes ready for that."""
        chain = [delivery]
        while (after := chain[-1]._after) is not None:
            chain.append(after)
        for each in reversed(chain):
            self.remove(each)
        return chain

    def oldest_idle(self) -> Delivery | None:
        """The oldest delivery that no attempt is under way for: what ``drop_oldest`` drops."""
        for delivery in self:
            if delivery.state is not _BUSY:
                return delivery
        return None

    def _unchain(self, delivery: Delivery, key: str) -> None:
        before, after = delivery._before, delivery._after
        if after is not None:
            after._before = before
        elif before is not None:
            self._tails[key] = before
        else:
            del self._tails[key]
            if not self._tails:
                self._tails = {}  # an emptied dict keeps the room it grew to
        if before is not None:
            before._after = after
        elif after is not None:
            after.state = _READY
            self._enqueue(after)
        delivery._before = delivery._after = None

    def _enqueue(self, delivery: Delivery) -> None:
        if isinstance(self._ready, tuple):
            self._ready = deque()
        self._ready.append(delivery)

    def _forget_ready(self) -> None:
        self._swept += 1
        if self._swept > len(self._ready) // 2 + _SLACK:
            self._ready = deque(d for d in self._ready if d.state is _READY)
            self._swept = 0
