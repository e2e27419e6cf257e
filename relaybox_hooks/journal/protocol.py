"""What a journal is to the dispatcher: the protocol, and the records that pass through it."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.validation import Overflow
from relaybox_hooks.wire.envelope import Envelope

#: What has become of a delivery.
DeliveryState: TypeAlias = Literal["pending", "delivered", "dead"]

#: The webhooks an event goes to, each with the order key of its delivery (``None``: no order).
Targets: TypeAlias = Sequence[tuple[str, str | None]]


class AttemptResult(Protocol):
    """What an attempt came to, as far as a journal keeps it."""

    @property
    def status(self) -> int | None:
        """The HTTP status, ``None`` where there was none."""

    @property
    def error(self) -> str | None:
        """The class of the error, ``None`` where there was a status."""

    @property
    def detail(self) -> str:
        """What the error said."""


class StoredOutcome(NamedTuple):
    """What the last attempt came to, as it was stored."""

    status: int | None
    error: str | None
    detail: str


class StoredDelivery(NamedTuple):
    """A delivery as the journal has it.

    Attributes:
        seq: its number; those appended later have higher ones, and none is given twice.
        webhook_id: where it goes.
        key: deliveries of the same webhook and key leave in order; ``None``: no order.
        envelope: the encoded event.
        state: what has become of it.
        attempts: how many were made.
        due: when the next attempt may be made, seconds since the Unix epoch; in the past
            before the first one.
        outcome: what the last attempt came to; ``None`` where none was made.
        reason: why it was given up on; ``None`` unless it is dead.
        at: when it was delivered or given up on, seconds since the Unix epoch; ``None`` while
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


class Counts(NamedTuple):
    """How many deliveries of a webhook the journal has, by what has become of them."""

    pending: int
    delivered: int
    dead: int


class KnownWebhook(NamedTuple):
    """What is remembered about a webhook.

    Attributes:
        last_seen: when it was registered last, seconds since the Unix epoch.
        state: what :meth:`Journal.save_state` was given last, ``None`` where nothing was.
    """

    last_seen: float
    state: dict[str, Any] | None


class Journal(Protocol):
    """Where deliveries are kept so that a crash loses none.

    An event is appended once, with a delivery for each webhook; deliveries are leased in order,
    attempted, and then settled, rescheduled or buried. Use it in one event loop.

    Engines that many processes share give each of them its own leases, with an end; what
    another live owner has leased is not handed out. An engine that only one process can have
    open owns everything, forgets leases at open, and hands out what it has leased itself
    again when asked: the ``after`` of :meth:`lease` tells them apart.

    ``settle``, ``reschedule``, ``bury``, ``extend``, ``touch`` and ``save_state`` return at
    once and join the next transaction. Where that fails they are tried again with the next,
    for as long as the process lives; :attr:`failing` and :meth:`flush` tell. A crash before
    loses them, which costs a second delivery and never one. All queries see what was queued
    before them, but for what could not be written yet; :meth:`lease` sees that too.
    """

    @property
    def max_pending(self) -> int:
        """How many deliveries may be pending."""

    @property
    def overflow(self) -> Overflow:
        """What the dispatcher does with one more event where ``max_pending`` are pending."""

    @property
    def pending_total(self) -> int:
        """How many are, those that are being appended included."""

    @property
    def last_seq(self) -> int:
        """The highest ``seq`` that was ever given, to what is being appended too."""

    @property
    def failing(self) -> JournalError | None:
        """Why what was settled, rescheduled or buried cannot be written; ``None`` if it can."""

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

    def append_nowait(
        self, envelope: Envelope, targets: Targets, *, dead: str | None = None
    ) -> Future[Sequence[int]]:
        """Store an event and its deliveries, all of them or none.

        Futures are done in the order of the calls, and numbers are given in that order.

        Args:
            targets: where it goes, with the order keys.
            dead: store the deliveries as dead letters that died of this reason when the event
                was emitted. They are never pending, so that ``max_pending`` allows any number.

        Returns:
            A future, done when they are durable, of the deliveries' ``seq``, in the order of
            ``targets``. It fails with a ``JournalError`` where they could not be stored.

        Raises:
            JournalFullError: more than ``max_pending`` would be pending; nothing is stored.
            JournalClosedError: it is not open.
            ConfigError: ``targets`` is empty.
            PayloadError: a key is no text that UTF-8 can carry.
        """

    async def append(self, envelope: Envelope, targets: Targets) -> Sequence[int]:
        """Store an event and its deliveries; returns when they are durable.

        A cancellation does not take the append back: it may still be stored.

        Raises:
            JournalError: nothing was stored; the subclasses say why.
        """

    async def lease(
        self,
        webhook_id: str,
        *,
        limit: int,
        until: float,
        after: int = 0,
        key: str | None = None,
        skip_keys: Collection[str] = (),
    ) -> list[StoredDelivery]:
        """Take pending deliveries of a webhook, in the order of ``seq``, due or not.

        Args:
            limit: how many at most. Fewer are returned only where there are no more.
            until: when the lease ends, seconds since the Unix epoch.
            after: only those with a higher ``seq``.
            key: only those of this key.
            skip_keys: none of these keys; those without a key are never skipped.
        """

    def settle(self, seq: int, *, attempts: int, outcome: AttemptResult | None, at: float) -> None:
        """Delivered at ``at``; a dead letter that a replay delivered too."""

    def reschedule(
        self, seq: int, *, attempts: int, due: float, outcome: AttemptResult | None
    ) -> None:
        """Pending, with its next attempt at ``due``; a dead letter is pending again."""

    def bury(
        self,
        seq: int,
        reason: str,
        *,
        attempts: int,
        outcome: AttemptResult | None,
        at: float,
    ) -> None:
        """Given up on at ``at``; a dead letter has its reason, outcome and time replaced."""

    def extend(self, seqs: Iterable[int], until: float) -> None:
        """Let the leases of these deliveries end at ``until`` instead."""

    async def flush(self) -> None:
        """Wait until everything that was queued so far is durable.

        Raises:
            JournalError: it could not be written. It stays queued.
        """

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
        """Deliveries given up on that fit all of what is given, in the order they died.

        Args:
            event: the event's name.
            since: died at this moment or later.
            until: died before this moment.
            after: only those behind this one, as an earlier call returned it.
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
        """The delivery log: what fits all of what is given, newest first.

        Args:
            event: the event's name.
            status: what has become of it.
            since: emitted at this moment or later.
            until: emitted before this moment.
            before: only those with a lower ``seq``, to read on where another call ended.
        """

    async def counts(self) -> dict[str, Counts]:
        """The counts of every webhook that has deliveries."""

    async def purge(
        self,
        status: Literal["delivered", "dead"],
        *,
        before: float = 0.0,
        keep: int | None = None,
    ) -> int:
        """Forget settled deliveries, and events that no delivery is left of.

        Args:
            before: those delivered, or given up on, before this moment.
            keep: the oldest ones beyond this many, whatever their age.

        Returns:
            How many deliveries were forgotten.
        """

    def touch(self, webhook_ids: Iterable[str], at: float) -> None:
        """These webhooks are registered at ``at``."""

    def save_state(self, webhook_id: str, state: Mapping[str, Any] | None) -> None:
        """Keep what a webhook must not forget over a restart: any JSON object.

        It is read out at once: later changes to ``state`` change nothing.
        """

    async def load_states(self) -> dict[str, KnownWebhook]:
        """Every webhook the journal knows: appended to, touched, or with a state."""


def escape_surrogates(text: str) -> str:
    """``text`` with what UTF-8 cannot carry escaped: an error's message may hold anything."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def check_order_keys(targets: Targets) -> None:
    """Refuse a key that cannot be stored, before it fails a transaction that others share.

    Raises:
        PayloadError: it holds a lone surrogate.
    """
    for _, key in targets:
        if key is not None and not key.isascii():
            try:
                key.encode()
            except UnicodeEncodeError as error:
                raise PayloadError("key", f"{key!r} holds a lone surrogate") from error
