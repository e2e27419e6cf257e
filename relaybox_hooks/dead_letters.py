"""Dead letters: deliveries that were given up, with the reason, kept for replay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias, TypedDict, Unpack

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Event
from relaybox_hooks.outcome import Outcome
from relaybox_hooks.wire.envelope import Envelope

#: Why a delivery was given up.
Reason: TypeAlias = Literal[
    "exhausted",
    "rejected",
    "overflow",
    "expired",
    "disabled",
    "removed",
    "unregistered",
    "shutdown",
]


class Criteria(TypedDict, total=False):
    """Criteria for dead letters: those that fit all of what is given.

    Attributes:
        event_id: only this event's.
        webhook_id: only those for this webhook.
        event: only events of this name.
        reason: only those with this reason.
        since: dead-lettered at this moment or later (aware).
        until: dead-lettered before this moment (aware).
    """

    event_id: str | None
    webhook_id: str | None
    event: str | None
    reason: Reason | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class DeadLetter:
    """A delivery that was given up.

    Attributes:
        webhook_id: the webhook it was to go to.
        reason: ``exhausted`` (attempts used up), ``rejected`` (a final answer or a refused
            address), ``overflow`` (no room), ``expired`` (too old), ``disabled``,
            ``removed`` (the webhook was), ``unregistered`` (the journal had it, and its webhook
            did not come back), ``shutdown`` (left at closing).
        outcome: of the last attempt; ``None`` where none was made.
        attempts: how many were made.
        died_at: when it was given up (UTC).
        envelope: the event as it is encoded.
        seq: its number in the journal; 0 where there is none.
    """

    webhook_id: str
    reason: Reason
    outcome: Outcome | None
    attempts: int
    died_at: datetime
    envelope: Envelope = field(repr=False)
    seq: int = field(default=0, repr=False)

    @property
    def event(self) -> Event:
        """The event as it would have been sent, decoded anew at each access."""
        return self.envelope.to_event()

    @property
    def event_id(self) -> str:
        """The event's id, under which it is replayed."""
        return self.envelope.id

    @property
    def event_name(self) -> str:
        """The event's name."""
        return self.envelope.name

    @property
    def status(self) -> int | None:
        """The last attempt's HTTP status, ``None`` where it had none."""
        return self.outcome.status if self.outcome else None

    @property
    def error(self) -> str | None:
        """The class of the last attempt's error, ``None`` where it had none."""
        return self.outcome.error if self.outcome else None

    @property
    def emitted_at(self) -> datetime:
        """When the event was emitted (UTC)."""
        return datetime.fromtimestamp(self.envelope.time, UTC)

    def __str__(self) -> str:
        cause = "never attempted"
        if self.outcome is not None:
            cause = f"{self.outcome}, attempt {self.attempts}"
        return f"{self.event_name} {self.event_id} to {self.webhook_id}: {self.reason} ({cause})"


class DeadLetterStore(Protocol):
    """Keeps dead letters, for queries and for replays."""

    def add(self, letter: DeadLetter, *, rejected: bool) -> None:
        """Keep a dead letter; ``rejected``: its delivery was never pending."""

    def is_free(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is still kept, and no replay is sending it."""

    def replaying(self) -> AbstractContextManager[None]:
        """Return a context in which a replay is under way."""

    def claim(self, letter: DeadLetter) -> AbstractContextManager[None]:
        """Return a context in which no other replay sends ``letter``."""

    def remove(self, letter: DeadLetter, outcome: Outcome) -> None:
        """Remove a dead letter that a replay delivered, if it is still there."""

    def replace(self, letter: DeadLetter, newer: DeadLetter) -> None:
        """Keep ``newer``, as the newest, in place of ``letter``, if that is still there."""

    async def select(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        """Return the dead letters that fit all of what is given, oldest first.

        Raises:
            ConfigError: a moment without a time zone.
            JournalError: they are in a journal and cannot be read.
        """


class MemoryDeadLetters:
    """A :class:`DeadLetterStore` of the newest ones, up to two limits; what they cost is counted.

    Args:
        limit: how many are kept.
        max_bytes: bytes of their events that are kept, the newest one's in any case.

    Attributes:
        evicted: how many dead letters the limits have cost so far.
    """

    __slots__ = ("_bytes", "_claimed", "_letters", "_limit", "_max_bytes", "evicted")

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._letters: OrderedDict[DeadLetter, None] = OrderedDict()
        #: Those that a replay is sending now.
        self._claimed: set[DeadLetter] = set()
        self.evicted: int = 0

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(self._letters)

    def __len__(self) -> int:
        return len(self._letters)

    def add(self, letter: DeadLetter, *, rejected: bool = False) -> None:
        self._letters[letter] = None
        self._bytes += len(letter.envelope.prefix)
        while len(self._letters) > self._limit or (
            self._bytes > self._max_bytes and len(self._letters) > 1
        ):
            self.evicted += 1
            oldest, _ = self._letters.popitem(last=False)
            self._bytes -= len(oldest.envelope.prefix)

    def is_free(self, letter: DeadLetter) -> bool:
        return letter in self._letters and letter not in self._claimed

    def replaying(self) -> AbstractContextManager[None]:
        """Return a context without effect: what a replay has sent is no longer kept here."""
        return nullcontext()

    @contextmanager
    def claim(self, letter: DeadLetter) -> Iterator[None]:
        self._claimed.add(letter)
        try:
            yield
        finally:
            self._claimed.discard(letter)

    def remove(self, letter: DeadLetter, outcome: Outcome) -> None:
        if letter in self._letters:
            del self._letters[letter]
            self._bytes -= len(letter.envelope.prefix)

    def replace(self, letter: DeadLetter, newer: DeadLetter) -> None:
        if letter in self._letters:
            del self._letters[letter]
            self._letters[newer] = None

    async def select(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        event_id, webhook_id = criteria.get("event_id"), criteria.get("webhook_id")
        event, reason = criteria.get("event"), criteria.get("reason")
        since, until = to_timestamps(criteria.get("since"), criteria.get("until"))
        return [
            letter
            for letter in self._letters
            if (event_id is None or letter.event_id == event_id)
            and (webhook_id is None or letter.webhook_id == webhook_id)
            and (event is None or letter.event_name == event)
            and (reason is None or letter.reason == reason)
            and (since is None or letter.died_at.timestamp() >= since)
            and (until is None or letter.died_at.timestamp() < until)
        ]


def to_timestamps(
    since: datetime | None, until: datetime | None
) -> tuple[float | None, float | None]:
    """Return both as seconds since the Unix epoch.

    Raises:
        ConfigError: one of them has no time zone.
    """
    for option, moment in (("since", since), ("until", until)):
        if moment is not None and moment.tzinfo is None:
            raise ConfigError(option, moment, "give it a time zone: datetime.now(UTC)")
    return (
        None if since is None else since.timestamp(),
        None if until is None else until.timestamp(),
    )
