"""The thread that owns the file: what waits at the same time shares a transaction.

The event loop's side only appends to deques and, where the thread sleeps, wakes it. The thread
answers with one ``call_soon_threadsafe`` a batch. Neither takes a lock.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any, Final, NamedTuple, Protocol

import apsw

from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import Change
from relaybox_hooks.journal.sqlite.queries import Steps
from relaybox_hooks.journal.sqlite.rows import Append, Note, Store
from relaybox_hooks.journal.sqlite.schema import Durability, connect, translate

#: The most that a transaction takes in, in deliveries and in bytes of events: a bound on memory,
#: on the log, and on what one failing transaction rejects.
_BATCH_DELIVERIES: Final = 1024
_BATCH_BYTES: Final = 8 << 20
#: Pages of 4 KiB in the log that bring a checkpoint about. SQLite's own default; with four times
#: as many the rate stays and the pauses are three times as long.
_CHECKPOINT_PAGES: Final = 1000
#: Seconds until changes that could not be written are tried again without any other cause.
_RETRY_SECONDS: Final = 1.0


class Opened(NamedTuple):
    """Contents of the file as it is opened."""

    next_seq: int
    pending: int


class Committed(NamedTuple):
    """Result of a batch.

    Attributes:
        futures: those of its appends, each with the seqs of its deliveries and how many of these
            are pending: all or none.
        error: why none of the appends was stored, ``None`` where all were.
        failing: why changes could not be written, ``None`` where none is left over.
    """

    futures: Sequence[tuple[Future[Sequence[int]], range, int]]
    error: JournalError | None
    failing: JournalError | None


class Listener(Protocol):
    """The event loop's side; all of it is called there."""

    def opened(self, contents: Opened | Exception) -> None:
        """The file is open, or why it is not."""

    def committed(self, batch: Committed) -> None:
        """A batch is durable, or could not be written."""

    def ended(self, error: Exception | None) -> None:
        """The thread has released the file and ends; what could not be written, if anything."""


class Job(NamedTuple):
    """A query, and the future of its result."""

    ask: Callable[[Store], Steps[Any]]
    future: Future[Any]


class WriterThread:
    """Writes appends and changes of the event loop's thread, and answers its queries.

    Mutable state shared by the two threads: the four deques, which one side fills and the other
    empties; ``_stopping``, which only ever becomes true. All else belongs to the thread.
    """

    def __init__(
        self, path: str, durability: Durability, loop: AbstractEventLoop, listener: Listener
    ) -> None:
        self.appends: deque[tuple[Future[Sequence[int]], Append]] = deque()
        self.changes: deque[Change] = deque()
        self.notes: deque[Note] = deque()
        self.jobs: deque[Job] = deque()
        #: Changes and notes of a transaction that failed; the next one takes them along.
        self.unwritten: dict[int, Change] = {}
        self.failing: JournalError | None = None
        self._unwritten_notes: list[Note] = []
        self._path = path
        self._durability = durability
        self._loop = loop
        self._listener = listener
        self._running: deque[tuple[Steps[Any], Future[Any]]] = deque()
        self._stopping = False
        self._awake = Event()
        self._thread = Thread(target=self._run, name="relaybox-hooks journal", daemon=True)

    def start(self) -> None:
        """Start the thread. A daemon: it never keeps the process alive."""
        self._thread.start()

    def wake(self) -> None:
        """Something was put into a deque."""
        # Not locked: the thread clears the flag first and looks into the deques after.
        if not self._awake.is_set():
            self._awake.set()

    def request_close(self) -> None:
        """Write and answer what is queued, then release the file and end."""
        self._stopping = True
        self._awake.set()

    def join(self) -> None:
        """Wait for the thread, which ends right after it has called ``ended``."""
        self._thread.join()

    # The thread

    def _run(self) -> None:
        try:
            connection = connect(self._path, self._durability)
            try:
                store = Store(connection, self._path)
            except apsw.Error as error:
                journal_error = translate(self._path, error, connection)
                connection.close(True)
                raise journal_error from error
        except Exception as error:
            self._report(self._listener.opened, error)
            self._report(self._listener.ended, None)
            return
        self._report(self._listener.opened, Opened(store.next_seq, store.pending))
        while not self._stopping or self._queued():
            self._iterate(store)
        if self.unwritten or self._unwritten_notes:
            self._batch(store, 0, 0, 0)
        failure: Exception | None = self.failing
        try:
            store.close()
        except apsw.Error as error:
            failure = translate(self._path, error, store.connection)
        self._report(self._listener.ended, failure)

    def _queued(self) -> bool:
        return bool(self.appends or self.changes or self.notes or self.jobs or self._running)

    def _iterate(self, store: Store) -> None:
        """Commit what is queued, begin the queries that were queued with it, or sleep."""
        if not self._queued():
            self._awake.clear()
            if not self._queued() and not self._stopping:
                left_over = self.unwritten or self._unwritten_notes
                self._awake.wait(_RETRY_SECONDS if left_over else None)
        # Taken before the rest is counted: whatever was queued before a query is counted too.
        arrived = [self.jobs.popleft() for _ in range(len(self.jobs))]
        appends, changes, notes = len(self.appends), len(self.changes), len(self.notes)
        left_over = self.unwritten or self._unwritten_notes
        if appends or changes or notes or (left_over and (arrived or not self._running)):
            appends -= self._batch(store, appends, changes, notes)
            while appends:
                appends -= self._batch(store, appends, 0, 0)
        self._running.extend((job.ask(store), job.future) for job in arrived)
        if self._running:
            self._step(store)
        if store.log_pages >= _CHECKPOINT_PAGES:
            try:
                store.checkpoint()
            except apsw.Error:
                pass  # the log only grows; an error follows where that becomes a problem

    def _batch(self, store: Store, appends: int, changes: int, notes: int) -> int:
        """Write a transaction of what is queued, up to the bounds, and report to the event loop.

        Returns:
            How many of the appends it took.
        """
        taken: list[tuple[Future[Sequence[int]], Append]] = []
        deliveries = size = 0
        while len(taken) < appends and deliveries < _BATCH_DELIVERIES and size < _BATCH_BYTES:
            item = self.appends.popleft()
            taken.append(item)
            deliveries += len(item[1][2])
            size += len(item[1][1].prefix)
        for _ in range(changes):
            change = self.changes.popleft()
            self.unwritten[change.seq] = change
        self._unwritten_notes += (self.notes.popleft() for _ in range(notes))
        new = [append for _, append in taken]
        error = self._write(store, new, also_changes=True)
        if error is not None and new and (self.unwritten or self._unwritten_notes):
            # One of the two may be what cannot be written: the other need not suffer.
            self._write(store, [], also_changes=True)
            error = self._write(store, new, also_changes=False)
        futures = [
            (future, range(seq, seq + len(targets)), len(targets) if dead is None else 0)
            for future, (seq, _, targets, dead) in taken
        ]
        self._report(
            self._listener.committed,
            Committed(
                futures,
                error if new else None,
                self.failing,
            ),
        )
        return len(taken)

    def _write(
        self, store: Store, appends: Sequence[Append], *, also_changes: bool
    ) -> JournalError | None:
        """Write a transaction; return why it could not be, and note that for the changes."""
        changes = self.unwritten.values() if also_changes else ()
        notes = self._unwritten_notes if also_changes else ()
        error: JournalError | None = None
        try:
            store.write(appends, changes, notes)
        except Exception as failure:  # the thread must live on, whatever it was given to write
            error = self._explain(store, failure)
        if also_changes:
            if error is None:
                self.unwritten.clear()
                self._unwritten_notes.clear()
                self.failing = None
            elif self.unwritten or self._unwritten_notes:
                self.failing = error
        return error

    def _step(self, store: Store) -> None:
        """Go on with the query that has waited longest."""
        steps, future = self._running.popleft()
        try:
            if not future.cancelled():
                next(steps)
                self._running.append((steps, future))
        except StopIteration as stop:
            self._report(_resolve, future, stop.value, None)
        except Exception as error:
            self._report(_resolve, future, None, self._explain(store, error))

    def _explain(self, store: Store, error: Exception) -> JournalError:
        if isinstance(error, JournalError):
            return error
        if isinstance(error, apsw.Error):
            journal_error = translate(self._path, error, store.connection)
        else:
            journal_error = JournalError(self._path, f"it cannot be stored: {error!r}")
        journal_error.__cause__ = error
        return journal_error

    def _report(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop was closed without aclose(): no result is awaited any more.
            self._stopping = True


def _resolve(future: Future[Any], answer: object, error: JournalError | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)
