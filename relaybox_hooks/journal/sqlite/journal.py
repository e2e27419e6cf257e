"""The journal in a SQLite file: the event loop's side. A thread of its own does the work."""

from __future__ import annotations

import asyncio
import os
from asyncio import Future
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Self, TypeVar
from warnings import warn

import orjson

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.journal.errors import JournalClosedError, JournalError
from relaybox_hooks.journal.protocol import (
    Backlog,
    Change,
    Counts,
    DeliveryState,
    Grant,
    Journal,
    LaneHead,
    StoredDelivery,
    Targets,
    check_order_keys,
)
from relaybox_hooks.journal.sqlite import queries
from relaybox_hooks.journal.sqlite.queries import Steps
from relaybox_hooks.journal.sqlite.rows import STATES, Note, Store
from relaybox_hooks.journal.sqlite.schema import Durability
from relaybox_hooks.journal.sqlite.state import JournalState
from relaybox_hooks.journal.sqlite.writer_thread import Job, WriterThread
from relaybox_hooks.validation import Overflow, check_int, check_overflow
from relaybox_hooks.wire.envelope import Envelope

T = TypeVar("T")

#: What a named tuple's own constructor calls, which is a Python function and takes twice as long.
_new: Final = tuple.__new__


class SQLiteJournal(Journal):
    """A :class:`~relaybox_hooks.journal.Journal` in one file, for one process at a time.

    Needs the extra ``relaybox-hooks[sqlite]``. What waits at the same time shares a transaction.
    Beside the file there is its write-ahead log (``-wal``) while it is open, and after a crash:
    the two belong together. Room of deleted rows is used again; the file never shrinks.

    Args:
        path: the file; it is made, for this user alone, where it is missing.
        durability: what an append survives: ``"process"`` the end of the process by any signal,
            and a power loss costs the last moments; ``"power"`` that too, and waits for the disk
            at each transaction.
        max_pending: how many deliveries may be pending.
        overflow: the policy of ``Hooks`` for one more event: ``"wait"``, ``"drop_oldest"``,
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
        self._state = JournalState()  # before anything that can fail: __del__ looks at it
        # Absolute, because the process may change its directory before open().
        self._path = os.path.abspath(os.fspath(path))
        if durability not in {"process", "power"}:
            raise ConfigError("durability", durability, 'give "process" or "power"')
        self._durability = durability
        self._max_pending = check_int("max_pending", max_pending)
        self._overflow = check_overflow("overflow", overflow)
        self._loop: asyncio.AbstractEventLoop
        self._writer: WriterThread

    def __repr__(self) -> str:
        return f"<SQLiteJournal {self._path!r} {self._state.stage}: {self._state.pending} pending>"

    def __del__(self) -> None:
        if self._state.stage in {"opening", "open"}:
            self._writer.request_close()
            warn(f"unclosed {self!r}; await aclose()", ResourceWarning, stacklevel=1, source=self)

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return self._path

    @property
    def max_pending(self) -> int:
        return self._max_pending

    @property
    def overflow(self) -> Overflow:
        return self._overflow

    @property
    def failing(self) -> JournalError | None:
        return self._state.failing

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
        state = self._state
        if state.stage != "new":
            raise JournalClosedError(self._path, state.stage)
        self._loop = asyncio.get_running_loop()
        state.opening = self._loop.create_future()
        state.closed = self._loop.create_future()
        self._writer = WriterThread(self._path, self._durability, self._loop, state)
        state.stage = "opening"
        self._writer.start()
        try:
            await state.opening
        except BaseException:
            # Cancelled, too: the thread releases the file as soon as it has it.
            state.stage = "closing"
            self._writer.request_close()
            raise

    async def aclose(self) -> None:
        state = self._state
        if state.stage == "new":
            state.stage = "closed"
        if state.stage == "closed":
            return
        state.stage = "closing"
        self._writer.request_close()
        # Unlike awaiting the future, this leaves it alone when the caller is cancelled.
        await asyncio.wait([state.closed])
        self._writer.join()
        error = state.closed.result()
        if error is not None:
            raise error

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def flush(self) -> None:
        self._check_open()
        writer = self._writer
        await self._query(lambda store: queries.flush(writer))

    # Emitting

    def append_nowait(
        self, envelope: Envelope, targets: Targets, *, dead: str | None = None
    ) -> Future[Sequence[int]]:
        state = self._state
        if state.stage != "open":
            raise JournalClosedError(self._path, state.stage)
        number = len(targets)
        if not number:
            raise ConfigError("targets", targets, "give one webhook or more")
        for _, key in targets:
            if key is not None and not key.isascii():
                check_order_keys(targets)
                break
        if dead is None:
            state.pending += number
        future: Future[Sequence[int]] = self._loop.create_future()
        seq = state.next_seq
        state.next_seq = seq + number
        writer = self._writer
        writer.appends.append((future, (seq, envelope, targets, dead)))
        writer.wake()
        return future

    def backlog(self) -> Backlog:
        state = self._state
        return _new(Backlog, (state.pending, state.next_seq - 1))

    # Delivering

    async def lanes(self, grant: Grant) -> list[LaneHead]:
        return await self._query(queries.lanes)

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
        self._check_open()
        wanted = queries.Wanted(webhook_id, limit, max_bytes, after, key, frozenset(skip_keys))
        writer = self._writer
        return await self._query(lambda store: queries.read(store, wanted, writer.unwritten))

    def commit(self, grant: Grant, changes: Iterable[Change]) -> None:
        state = self._state
        if state.stage != "open":
            raise JournalClosedError(self._path, state.stage)
        writer = self._writer
        for change in changes:
            state.pending += (change.state == "pending") - (change.before == "pending")
            writer.changes.append(change)
        writer.wake()

    def touch(self, webhook_ids: Iterable[str], at: float) -> None:
        self._note(Note(webhook_id, at, None) for webhook_id in webhook_ids)

    def save_state(self, webhook_id: str, state: Mapping[str, Any] | None) -> None:
        text = None if state is None else orjson.dumps(dict(state)).decode()
        self._note([Note(webhook_id, None, text)])

    # Looking

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
        filters = {
            "e.id = ?": event_id,
            "w.id = ?": webhook_id,
            "e.name = ?": event,
            "d.reason = ?": reason,
            "d.at >= ?": since,
            "d.at < ?": until,
        }
        return await self._query(lambda store: queries.dead_letters(store, filters, after, limit))

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
        filters = {
            "e.id = ?": event_id,
            "w.id = ?": webhook_id,
            "e.name = ?": event,
            "d.state = ?": None if status is None else STATES.index(status),
            "e.time >= ?": since,
            "e.time < ?": until,
        }
        return await self._query(lambda store: queries.deliveries(store, filters, before, limit))

    async def counts(self) -> dict[str, Counts]:
        return await self._query(queries.counts)

    async def purge(
        self,
        status: Literal["delivered", "dead"],
        *,
        before: float = 0.0,
        keep: int | None = None,
    ) -> int:
        return await self._query(lambda store: queries.purge(store, status, before, keep))

    def _note(self, notes: Iterable[Note]) -> None:
        self._check_open()
        self._writer.notes.extend(notes)
        self._writer.wake()

    async def _query(self, query: Callable[[Store], Steps[T]]) -> T:
        self._check_open()
        future: Future[T] = self._loop.create_future()
        self._writer.jobs.append(Job(query, future))
        self._writer.wake()
        return await future

    def _check_open(self) -> None:
        if self._state.stage != "open":
            raise JournalClosedError(self._path, self._state.stage)
