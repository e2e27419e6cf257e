"""Journals keep deliveries so that a crash loses none: the protocols, and SQLite."""

from importlib import import_module
from typing import TYPE_CHECKING

from relaybox_hooks.journal.errors import (
    JournalClosedError,
    JournalCorruptError,
    JournalDependencyError,
    JournalDiskFullError,
    JournalError,
    JournalFormatError,
    JournalFullError,
    JournalIOError,
    JournalLockedError,
    JournalReadOnlyError,
    JournalVersionError,
)
from relaybox_hooks.journal.protocol import (
    PERMANENT,
    AttemptResult,
    Backlog,
    Change,
    Counts,
    DeliverySource,
    DeliveryState,
    EventSink,
    Grant,
    Journal,
    LaneHead,
    Records,
    StoredDelivery,
    StoredOutcome,
    Targets,
)

if TYPE_CHECKING:
    from relaybox_hooks.journal.sqlite.journal import SQLiteJournal

__all__ = [
    "PERMANENT",
    "AttemptResult",
    "Backlog",
    "Change",
    "Counts",
    "DeliverySource",
    "DeliveryState",
    "EventSink",
    "Grant",
    "Journal",
    "JournalClosedError",
    "JournalCorruptError",
    "JournalDependencyError",
    "JournalDiskFullError",
    "JournalError",
    "JournalFormatError",
    "JournalFullError",
    "JournalIOError",
    "JournalLockedError",
    "JournalReadOnlyError",
    "JournalVersionError",
    "LaneHead",
    "Records",
    "SQLiteJournal",
    "StoredDelivery",
    "StoredOutcome",
    "Targets",
]


def __getattr__(name: str) -> object:
    """Import ``SQLiteJournal`` when it is first asked for: it needs an extra.

    Raises:
        JournalDependencyError: the extra is not installed.
    """
    if name != "SQLiteJournal":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = import_module(f"{__name__}.sqlite.journal").SQLiteJournal
    except ModuleNotFoundError as error:
        if error.name != "apsw":
            raise
        raise JournalDependencyError(None, "apsw", "sqlite") from error
    globals()[name] = found
    return found
