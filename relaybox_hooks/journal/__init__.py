"""Where deliveries are kept so that a crash loses none: the protocol, in memory, SQLite."""

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
from relaybox_hooks.journal.memory import MemoryJournal
from relaybox_hooks.journal.protocol import (
    AttemptResult,
    Counts,
    DeliveryState,
    Journal,
    KnownWebhook,
    StoredDelivery,
    StoredOutcome,
    Targets,
)

if TYPE_CHECKING:
    from relaybox_hooks.journal.sqlite import SQLiteJournal

__all__ = [
    "AttemptResult",
    "Counts",
    "DeliveryState",
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
    "KnownWebhook",
    "MemoryJournal",
    "SQLiteJournal",
    "StoredDelivery",
    "StoredOutcome",
    "Targets",
]


def __getattr__(name: str) -> object:
    """Import the SQLite journal when it is first asked for: it needs an extra.

    Raises:
        JournalDependencyError: the extra is not installed.
    """
    if name != "SQLiteJournal":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from relaybox_hooks.journal.sqlite import SQLiteJournal  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "apsw":
            raise
        raise JournalDependencyError(None, "apsw", "sqlite") from error
    globals()[name] = SQLiteJournal
    return SQLiteJournal
