"""Protocols of a journal, one for each role, and the records that pass through them.

An emitter needs an :class:`EventSink`, a lane a :class:`DeliverySource`, and queries go to
:class:`Records`. A :class:`Journal` is all three; one process uses it under one permanent grant. No
synchronous member reads the store.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.validation import Overflow
from relaybox_hooks.wire.envelope import Envelope

#: State of a stored delivery.
DeliveryState: TypeAlias = Literal["pending", "delivered", "dead"]

#: The webhooks an event goes to, each with the order key of its delivery (``None``: no order).
Targets: TypeAlias = Sequence[tuple[str, str | None]]


class AttemptResult(Protocol):
    """Result of an attempt, as far as a journal keeps it."""

    @property
    def status(self) -> int | None:
        """The HTTP status, ``None`` where there was none."""

    @property
    def error(self) -> str | None:
        """The class of the error, ``None`` where there was a status."""

    @property
    def detail(self) -> str:
        """The error's message."""


class StoredOutcome(NamedTuple):
    """Result of the last attempt, as it was stored."""

    status: int | None
    error: str | None
    detail: str


class StoredDelivery(NamedTuple):
    """A delivery as the journal has it.

    Attributes:
        seq: its number; those appended later have higher ones, and none is given twice.
        webhook_id: the webhook it goes to.
        key: deliveries of the same webhook and key leave in order; ``None``: no order.
        envelope: the encoded event.
        state: pending, delivered or dead.
        attempts: how many were made.
        due: when the next attempt may be made, seconds since the Unix epoch; in the past
            before the first one.
        outcome: result of the last attempt; ``None`` where none was made.
        reason: why it is a dead letter; ``None`` unless it is dead.
        at: when it was delivered or dead-lettered, seconds since the Unix epoch; ``None`` while
            it is pending.
    """

    seq: int
    webhook_id: str
    key: str | None
    envelope: Envelope
    state: DeliveryState
    attempts: int
    due: float
    outcome: StoredOutcome | None
    reason: str | None
    at: float | None


class Change(NamedTuple):
    """A new state of a stored delivery, to be committed.

    Attributes:
        seq: its number.
        state: ``"delivered"``, ``"dead"``, or ``"pending"``: another attempt is due.
        attempts: how many were made.
        outcome: result of the last one; ``None`` where none was made.
        at: when it was delivered, dead-lettered, or is due, seconds since the Unix epoch.
        reason: why it is a dead letter; ``None`` unless it is dead.
        before: the state that it leaves; a replay finds it ``"dead"``.
    """

    seq: int
    state: DeliveryState
    attempts: int
    outcome: AttemptResult | None
    at: float
    reason: str | None = None
    before: DeliveryState = "pending"


class Counts(NamedTuple):
    """Numbers of a webhook's deliveries in the journal, by state."""

    pending: int
    delivered: int
    dead: int


class Grant(NamedTuple):
    """The right to deliver what one partition holds.

    Attributes:
        partition: a part of the lanes.
        epoch: raised whenever the partition has a new owner, which fences the one before.
    """

    partition: int
    epoch: int


#: The grant of a journal that one process has to itself: everything, for as long as it is open.
PERMANENT: Final = Grant(0, 0)


class LaneHead(NamedTuple):
    """A lane that the journal knows: appended to, touched, or with a saved state.

    Attributes:
        webhook_id: the webhook.
        pending: how many of its deliveries are pending.
        last_seen: when it was registered last, seconds since the Unix epoch.
        state: the last argument of :meth:`DeliverySource.save_state`, ``None`` where there is none.
    """

    webhook_id: str
    pending: int
    last_seen: float
    state: dict[str, Any] | None


class Backlog(NamedTuple):
    """Counts of the journal, as kept in this process.

    Attributes:
        pending: deliveries pending, those that are being appended included.
        last_seq: the highest number given so far, to what is being appended too.
    """

    pending: int
    last_seq: int


class EventSink(Protocol):
    """The emitting side: events are appended once, with a delivery for each webhook."""

    @property
    def max_pending(self) -> int:
        """Bound on pending deliveries; the caller of ``append_nowait`` observes it."""

    @property
    def overflow(self) -> Overflow:
        """Policy for one more event where ``max_pending`` deliveries are pending."""

    def append_nowait(
        self, envelope: Envelope, targets: Targets, *, dead: str | None = None
    ) -> Future[Sequence[int]]:
        """Store an event and its deliveries, all of them or none.

        Futures are done in the order of the calls, and numbers are given in that order.

        Args:
            envelope: the encoded event.
            targets: the webhooks it goes to, with the order keys.
            dead: store the deliveries as dead letters, with this reason and the time of the
                emit. They are never pending.

        Returns:
            A future, done when they are durable, of the deliveries' ``seq``, in the order of
            ``targets``. It fails with a ``JournalError`` where they could not be stored. It is
            done before any ``read`` returns that shows them.

        Raises:
            JournalClosedError: the journal is not open.
            ConfigError: ``targets`` is empty.
            PayloadError: a key is no text that UTF-8 can carry.
        """

    def backlog(self) -> Backlog:
        """Return the counts of what is pending, without asking the store."""


class DeliverySource(Protocol):
    """The delivering side: pending deliveries are read in order and then settled.

    ``commit``, ``touch`` and ``save_state`` return at once and join the next transaction. Where
    that fails they are tried again with the next, for as long as the process lives;
    :attr:`Journal.failing` and :meth:`Journal.flush` report it. A crash before loses them, which
    costs a second delivery and never one. What :meth:`read` returns reflects all of them.
    """

    async def lanes(self, grant: Grant) -> list[LaneHead]:
        """Return every lane that the grant covers."""

    async def read(
        self,
        grant: Grant,
        webhook_id: str,
        *,
        limit: int,
        max_bytes: int,
        after: int = 0,
        key: str | None = None,
        skip_keys: Collection[str] = (),
    ) -> list[StoredDelivery]:
        """Return pending deliveries of a webhook, in the order of ``seq``, due or not.

        Fewer than ``limit`` are returned only where there are no more, or where the last one has
        reached ``max_bytes``.

        Args:
            grant: the right to deliver them.
            webhook_id: the webhook.
            limit: how many at most.
            max_bytes: bytes of events (``envelope.prefix``) after which no further one is read.
            after: only those with a higher ``seq``.
            key: only those of this key.
            skip_keys: none of these keys; those without a key are never skipped.
        """

    def commit(self, grant: Grant, changes: Iterable[Change]) -> None:
        """Let deliveries be delivered, dead, or due again.

        Raises:
            JournalClosedError: the journal is not open. Nothing else is raised.
        """

    def touch(self, webhook_ids: Iterable[str], at: float) -> None:
        """Note that these webhooks are registered at ``at``."""

    def save_state(self, webhook_id: str, state: Mapping[str, Any] | None) -> None:
        """Keep the state of a webhook's lane over a restart: any JSON object.

        It is encoded at once: later changes to ``state`` change nothing.
        """


class Records(Protocol):
    """The queries. They reflect what was queued before them, but for what
    could not be written yet."""

    async def dead_letters(
        self,
        *,
        event_id: str | None = None,
        webhook_id: str | None = None,
        event: str | None = None,
        reason: str | None = None,
        since: float | None = None,
        until: float | None = None,
        after: StoredDelivery | None = None,
        limit: int | None = None,
    ) -> list[StoredDelivery]:
        """Return dead letters that fit all of what is given, in the order they died.

        Args:
            event_id: the event's id.
            webhook_id: the webhook.
            event: the event's name.
            reason: why it is a dead letter.
            since: dead-lettered at this moment or later, seconds since the Unix epoch.
            until: dead-lettered before this moment.
            after: only those behind this one, as an earlier call returned it.
            limit: how many at most.
        """

    async def deliveries(
        self,
        *,
        event_id: str | None = None,
        webhook_id: str | None = None,
        event: str | None = None,
        status: DeliveryState | None = None,
        since: float | None = None,
        until: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[StoredDelivery]:
        """Return the deliveries that fit all of what is given, newest first.

        Args:
            event_id: the event's id.
            webhook_id: the webhook.
            event: the event's name.
            status: the delivery's state.
            since: emitted at this moment or later, seconds since the Unix epoch.
            until: emitted before this moment.
            before: only those with a lower ``seq``, to read on where another call ended.
            limit: how many at most.
        """

    async def counts(self) -> dict[str, Counts]:
        """Return the counts of every webhook that has deliveries."""

    async def purge(
        self,
        status: Literal["delivered", "dead"],
        *,
        before: float = 0.0,
        keep: int | None = None,
    ) -> int:
        """Delete settled deliveries, and events that have no deliveries left.

        Args:
            status: which ones.
            before: those delivered, or dead-lettered, before this moment.
            keep: the oldest ones beyond this many, whatever their age.

        Returns:
            How many deliveries were deleted.
        """


class Journal(EventSink, DeliverySource, Records, Protocol):
    """A store of deliveries, so that a crash loses none. Use it in one event loop."""

    @property
    def path(self) -> str | None:
        """The file that it is in, named in errors; ``None`` where there is none."""

    @property
    def failing(self) -> JournalError | None:
        """Why committed changes cannot be written; ``None`` if they can."""

    async def open(self) -> None:
        """Open it for use in the running event loop.

        Raises:
            JournalError: it cannot be opened; the subclasses say why.
        """

    async def aclose(self) -> None:
        """Write what is queued, and release everything. Harmless when it is closed already.

        Raises:
            JournalError: something could not be written. It is closed all the same.
        """

    async def flush(self) -> None:
        """Wait until everything that was queued so far is durable.

        Raises:
            JournalError: it could not be written. It stays queued.
        """


def escape_surrogates(text: str) -> str:
    """Return ``text`` with lone surrogates escaped: an error's message may hold anything."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def check_order_keys(targets: Targets) -> None:
    """Check that keys can be stored, before one fails a transaction that others share.

    Raises:
        PayloadError: a key holds a lone surrogate.
    """
    for _, key in targets:
        if key is not None and not key.isascii():
            try:
                key.encode()
            except UnicodeEncodeError as error:
                raise PayloadError("key", f"{key!r} holds a lone surrogate") from error
