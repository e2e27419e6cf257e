"""State of a SQLite journal in the event loop: its counts, and the futures of what is queued."""

from __future__ import annotations

from asyncio import Future
from typing import Literal, TypeAlias

from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.sqlite.writer_thread import Committed, Opened

#: Stages of a journal's life.
Stage: TypeAlias = Literal["new", "opening", "open", "closing", "closed"]


class JournalState:
    """State shared by the journal and its thread; only the event loop's thread touches it.

    Apart from the journal, so that the thread does not keep an unreferenced journal alive.

    Attributes:
        stage: of the journal's life.
        pending: how many deliveries are, those being appended included.
        next_seq: the number of the next delivery.
        failing: why changes cannot be written, ``None`` if they can.
        opening: done when the file is open.
        closed: done when the thread has released it, with what could not be written.
    """

    __slots__ = ("closed", "failing", "next_seq", "opening", "pending", "stage")

    def __init__(self) -> None:
        self.stage: Stage = "new"
        self.pending: int = 0
        self.next_seq: int = 1
        self.failing: JournalError | None = None
        self.opening: Future[None]
        self.closed: Future[Exception | None]

    def opened(self, contents: Opened | Exception) -> None:
        """Note that the file is open, or why it is not."""
        if isinstance(contents, Exception):
            if not self.opening.done():
                self.opening.set_exception(contents)
            return
        self.next_seq, self.pending = contents
        if self.stage == "opening":  # else it is being closed already
            self.stage = "open"
        if not self.opening.done():
            self.opening.set_result(None)

    def committed(self, batch: Committed) -> None:
        """Complete the futures of the batch's appends."""
        self.failing = batch.failing
        error = batch.error
        for future, seqs, pending in batch.futures:
            if error is not None:
                self.pending -= pending
            if future.done():
                continue  # cancelled
            if error is None:
                future.set_result(seqs)
            else:
                future.set_exception(error)

    def ended(self, error: Exception | None) -> None:
        """Note that the thread has released the file."""
        self.stage = "closed"
        self.closed.set_result(error)
