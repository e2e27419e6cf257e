"""Dead letters: deliveries given up on, with the reason, kept for replay."""

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

#: Why a delivery was given up on.
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
    """Which dead letters are meant: those that fit all of what is given.

    Attributes:
        event_id: only this event's.
        webhook_id: only those for this webhook.
        event: only events of this name.
        reason: only those that died of it.
        since: died at this moment or later (aware).
        until: died before this moment (aware).
    """

    event_id: str | None
    webhook_id: str | None
    event: str | None
    reason: Reason | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class DeadLetter:
    """A delivery given up on.

    Attributes:
        webhook_id: where it should have gone.
        reason: ``exhausted`` (attempts used up), ``rejected`` (a final answer or a refused
            address), ``overflow`` (no room), ``expired`` (too old), ``disabled``,
            ``removed`` (the webhook was), ``unregistered`` (the journal had it, and its webhook
            did not come back), ``shutdown`` (left at closing).
        outcome: what the last attempt came to; ``None`` where none was made.
        attempts: how many were made.
        died_at: when it was given up on (UTC).
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
    """Where dead letters are kept."""

    def add(self, letter: DeadLetter) -> object:
        """Keep ``letter``."""

    def free(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is still kept and no replay is sending it."""

    def replaying(self) -> AbstractContextManager[None]:
        """A replay is under way."""

    def claim(self, letter: DeadLetter) -> AbstractContextManager[None]:
        """Keep other replays from sending ``letter``."""

    def discard(self, letter: DeadLetter, outcome: Outcome) -> None:
        """``letter`` was delivered: it is a dead letter no longer."""

    def replace(self, letter: DeadLetter, newer: DeadLetter) -> None:
        """Keep ``newer`` instead of ``letter``, as the newest."""

    def foreign(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is in the counts of no lane of this process."""

    async def select(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        """The letters, oldest first, that fit all of what is given."""


class MemoryDeadLetters:
    """The newest dead letters, up to a limit; what is pushed out is counted.

    Attributes:
        evicted: how many letters the limit has cost so far.
    """

    __slots__ = ("_claimed", "_letters", "_limit", "evicted")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._letters: OrderedDict[DeadLetter, None] = OrderedDict()
        #: The letters that a replay is sending now.
        self._claimed: set[DeadLetter] = set()
        self.evicted: int = 0

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(self._letters)

    def __len__(self) -> int:
        return len(self._letters)

    def add(self, letter: DeadLetter) -> DeadLetter | None:
        """Keep ``letter``; returns the oldest one if it had to make room."""
        self._letters[letter] = None
        if len(self._letters) <= self._limit:
            return None
        self.evicted += 1
        return self._letters.popitem(last=False)[0]

    def free(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is still kept and no replay is sending it."""
        return letter in self._letters and letter not in self._claimed

    def replaying(self) -> AbstractContextManager[None]:
        """A replay is under way: nothing to note, as what it sends is no longer here."""
        return nullcontext()

    @contextmanager
    def claim(self, letter: DeadLetter) -> Iterator[None]:
        """Keep other replays from sending ``letter``."""
        self._claimed.add(letter)
        try:
            yield
        finally:
            self._claimed.discard(letter)

    def discard(self, letter: DeadLetter, outcome: Outcome) -> None:
        """``letter`` was delivered: forget it, if it is still there."""
        self._letters.pop(letter, None)

    def replace(self, letter: DeadLetter, newer: DeadLetter) -> None:
        """Keep ``newer``, as the newest letter, if ``letter`` is still there."""
        if letter in self._letters:
            del self._letters[letter]
            self._letters[newer] = None

    def foreign(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is in the counts of no lane of this process."""
        return False

    async def select(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        """The letters, oldest first, that fit all of what is given.

        Raises:
            ConfigError: a moment without a time zone.
        """
        event_id, webhook_id = criteria.get("event_id"), criteria.get("webhook_id")
        event, reason = criteria.get("event"), criteria.get("reason")
        since, until = moments(criteria.get("since"), criteria.get("until"))
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


def moments(since: datetime | None, until: datetime | None) -> tuple[float | None, float | None]:
    """Both as seconds since the Unix epoch.

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
