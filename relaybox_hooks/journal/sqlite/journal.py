"""The journal in a SQLite file: the event loop's side. A thread of its own does the work."""

from __future__ import annotations

import asyncio
import os
from asyncio import Future
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar
from warnings import warn

import orjson

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.journal.errors import (
    JournalClosedError,
    JournalError,
    JournalFullError,
)
from relaybox_hooks.journal.protocol import (
    AttemptResult,
    Counts,
    DeliveryState,
    KnownWebhook,
    StoredDelivery,
    Targets,
    check_order_keys,
    escape_surrogates,
)
from relaybox_hooks.journal.sqlite import queries
from relaybox_hooks.journal.sqlite.queries import Steps
from relaybox_hooks.journal.sqlite.rows import DEAD, DELIVERED, PENDING, STATES, Change, Note, Store
from relaybox_hooks.journal.sqlite.schema import Durability
from relaybox_hooks.journal.sqlite.state import JournalState
from relaybox_hooks.journal.sqlite.writer_thread import Job, Writer
from relaybox_hooks.validation import Overflow, check_int, check_overflow
from relaybox_hooks.wire.envelope import Envelope

T = TypeVar("T")


class SQLiteJournal:
    """A :class:`~relaybox_hooks.journal.Journal` in one file, for one process at a time.

    Needs the extra ``relaybox-hooks[sqlite]``. What waits at the same time shares a transaction.
    Beside the file there is its write-ahead log (``-wal``) while it is open, and after a crash:
    the two belong together. Room of what was forgotten is used again; the file never shrinks.

    Args:
        path: the file; it is made, for this user alone, where it is missing.
        durability: what is kept when ``append`` has returned: ``"process"`` survives the end of
            the process by any signal, and a power loss costs the last moments; ``"power"``
            survives that too, and waits for the disk at each transaction.
        max_pending: how many deliveries may be pending.
        overflow: what ``Hooks`` does with one more event: ``"wait"``, ``"drop_oldest"``,
            ``"drop_newest"`` or ``"raise"``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "process",
        max_pending: int = 1_000_000,
        overflow: Overflow = "wait",
    ) -> None:
        self._ledger = JournalState()  # before anything that can fail: __del__ looks at it
        # Absolute, because the process may change its directory before open().
        self._path = os.path.abspath(os.fspath(path))
        if durability not in {"process", "power"}:
            raise ConfigError("durability", durability, 'give "process" or "power"')
        self._durability = durability
        self._max_pending = check_int("max_pending", max_pending)
        self._overflow = check_overflow("overflow", overflow)
        self._loop: asyncio.AbstractEventLoop
        self._writer: Writer

    def __repr__(self) -> str:
        return (
            f"<SQLiteJournal {self._path!r} {self._ledger.state}: {self._ledger.pending} pending>"
        )

    def __del__(self) -> None:
        if self._ledger.state in {"opening", "open"}:
            self._writer.stop()
            warn(f"unclosed {self!r}; await aclose()", ResourceWarning, stacklevel=1, source=self)

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return self._path

    @property
    def max_pending(self) -> int:
        """How many deliveries may be pending."""
        return self._max_pending

    @property
    def overflow(self) -> Overflow:
        """What the dispatcher does with one more event where ``max_pending`` are pending."""
        return self._overflow

    @property
    def pending_total(self) -> int:
        """How many are, those that are being appended included."""
        return self._ledger.pending

    @property
    def last_seq(self) -> int:
        """The highest ``seq`` that was ever given, to what is being appended too."""
        return self._ledger.next_seq - 1

    @property
    def failing(self) -> JournalError | None:
        """Why what was settled, rescheduled or buried cannot be written; ``None`` if it can."""
        return self._ledger.failing

    # Lifecycle

    async def open(self) -> None:
        """Open or create the file, and lift it to the newest schema.

        Raises:
            JournalLockedError: another process has it open.
            JournalFormatError: it is no journal.
            JournalVersionError: a newer release wrote it.
            JournalReadOnlyError: it cannot be written.
            JournalDiskFullError: there is no room for it.
            JournalCorruptError: it is damaged.
            JournalIOError: it cannot be opened for another reason.
            JournalClosedError: it was opened before.
        """
        ledger = self._ledger
        if ledger.state != "new":
            raise JournalClosedError(self._path, ledger.state)
        self._loop = asyncio.get_running_loop()
        ledger.opening = self._loop.create_future()
        ledger.closed = self._loop.create_future()
        self._writer = Writer(self._path, self._durability, self._loop, ledger)
        ledger.state = "opening"
        self._writer.start()
        try:
            await ledger.opening
        except BaseException:
            # Cancelled, too: the thread lets go of the file as soon as it has got it.
            ledger.state = "closing"
            self._writer.stop()
            raise
        ledger.state = "open"

    async def aclose(self) -> None:
        """Write and answer what is queued, empty the log into the file, and release it.

        Raises:
            JournalError: something could not be written. It is closed all the same.
        """
        ledger = self._ledger
        if ledger.state == "new":
            ledger.state = "closed"
        if ledger.state == "closed":
            return
        ledger.state = "closing"
        self._writer.stop()
        # Unlike awaiting the future, this leaves it alone when the caller is cancelled.
        await asyncio.wait([ledger.closed])
        self._writer.join()
        error = ledger.closed.result()
        if error is not None:
            raise error

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    # Deliveries

    def append_nowait(
        self, envelope: Envelope, targets: Targets, *, dead: str | None = None
    ) -> Future[Sequence[int]]:
        """Store an event and its deliveries, all of them or none; see ``Journal``.

        Raises:
            JournalFullError: more than ``max_pending`` would be pending; nothing is stored.
            JournalClosedError: it is not open.
            ConfigError: ``targets`` is empty.
            PayloadError: a key is no text that UTF-8 can carry.
        """
        ledger = self._ledger
        if ledger.state != "open":
            raise JournalClosedError(self._path, ledger.state)
        number = len(targets)
        if not number:
            raise ConfigError("targets", targets, "give one webhook or more")
        check_order_keys(targets)
        if dead is None:
            if ledger.pending + number > self._max_pending:
                raise JournalFullError(self._path, self._max_pending, ledger.pending)
            ledger.pending += number
        future: Future[Sequence[int]] = self._loop.create_future()
        seq = ledger.next_seq
        ledger.next_seq = seq + number
        writer = self._writer
        writer.appends.append((future, (seq, envelope, targets, dead)))
        writer.wake()
        return future

    async def append(self, envelope: Envelope, targets: Targets) -> Sequence[int]:
        """Store an event and its deliveries; returns when they are committed.

        A cancellation does not take the append back: it may still be stored.

        Raises:
            JournalError: nothing was stored; the subclasses say why.
        """
        return await self.append_nowait(envelope, targets)

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
        """Pending deliveries of a webhook, in the order of ``seq``; see ``Journal.lease``.

        This process owns the file, so that ``until`` is neither kept nor needed.
        """
        skip = frozenset(skip_keys)
        writer = self._writer
        return await self._ask(
            lambda store: queries.lease(
                store, webhook_id, limit, after, key, skip, writer.unwritten
            )
        )

    def settle(self, seq: int, *, attempts: int, outcome: AttemptResult | None, at: float) -> None:
        """Delivered at ``at``; a dead letter that a replay delivered too."""
        self._change(seq, DELIVERED, attempts, None, outcome, None, at)

    def reschedule(
        self, seq: int, *, attempts: int, due: float, outcome: AttemptResult | None
    ) -> None:
        """Pending, with its next attempt at ``due``; a dead letter is pending again."""
        self._change(seq, PENDING, attempts, due, outcome, None, None)

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
        self._change(seq, DEAD, attempts, None, outcome, reason, at)

    def extend(self, seqs: Iterable[int], until: float) -> None:
        """Nothing to do: what this process has leased is nobody else's."""

    async def flush(self) -> None:
        """Wait until everything that was queued so far is committed.

        Raises:
            JournalError: it could not be written. It stays queued.
        """
        writer = self._writer
        await self._ask(lambda store: queries.flush(writer))

    # The books

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
        """Deliveries given up on, in the order they died; see ``Journal.dead_letters``."""
        filters = {
            "e.id = ?": event_id,
            "w.id = ?": webhook_id,
            "e.name = ?": event,
            "d.reason = ?": reason,
            "d.at >= ?": since,
            "d.at < ?": until,
        }
        return await self._ask(lambda store: queries.dead_letters(store, filters, after, limit))

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
        """The delivery log, newest first; see ``Journal.deliveries``."""
        filters = {
            "e.id = ?": event_id,
            "w.id = ?": webhook_id,
            "e.name = ?": event,
            "d.state = ?": None if status is None else STATES.index(status),
            "e.time >= ?": since,
            "e.time < ?": until,
        }
        return await self._ask(lambda store: queries.deliveries(store, filters, before, limit))

    async def counts(self) -> dict[str, Counts]:
        """The counts of every webhook that has deliveries."""
        return await self._ask(queries.counts)

    async def purge(
        self,
        status: Literal["delivered", "dead"],
        *,
        before: float = 0.0,
        keep: int | None = None,
    ) -> int:
        """Forget settled deliveries, and events that no delivery is left of.

        A few hundred at a time, with commits between.

        Args:
            before: those delivered, or given up on, before this moment.
            keep: the oldest ones beyond this many, whatever their age.

        Returns:
            How many deliveries were forgotten.
        """
        return await self._ask(lambda store: queries.purge(store, status, before, keep))

    # Webhooks

    def touch(self, webhook_ids: Iterable[str], at: float) -> None:
        """These webhooks are registered at ``at``."""
        self._note(Note(webhook_id, at, None) for webhook_id in webhook_ids)

    def save_state(self, webhook_id: str, state: Mapping[str, Any] | None) -> None:
        """Keep what a webhook must not forget over a restart: any JSON object.

        It is read out at once: later changes to ``state`` change nothing.
        """
        text = None if state is None else orjson.dumps(dict(state)).decode()
        self._note([Note(webhook_id, None, text)])

    async def load_states(self) -> dict[str, KnownWebhook]:
        """Every webhook the journal knows: appended to, touched, or with a state."""
        return await self._ask(queries.known)

    def _change(
        self,
        seq: int,
        state: int,
        attempts: int,
        due: float | None,
        outcome: AttemptResult | None,
        reason: str | None,
        at: float | None,
    ) -> None:
        self._refuse_unless_open()
        status = error = detail = None
        if outcome is not None:
            status, error, detail = outcome.status, outcome.error, escape_surrogates(outcome.detail)
        writer = self._writer
        writer.changes.append(Change(seq, state, attempts, due, status, error, detail, reason, at))
        writer.wake()

    def _note(self, notes: Iterable[Note]) -> None:
        self._refuse_unless_open()
        self._writer.notes.extend(notes)
        self._writer.wake()

    async def _ask(self, ask: Callable[[Store], Steps[T]]) -> T:
        self._refuse_unless_open()
        future: Future[T] = self._loop.create_future()
        self._writer.jobs.append(Job(ask, future))
        self._writer.wake()
        return await future

    def _refuse_unless_open(self) -> None:
        if self._ledger.state != "open":
            raise JournalClosedError(self._path, self._ledger.state)
