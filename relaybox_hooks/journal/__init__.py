"""Where deliveries are kept so that a crash loses none: the protocol, in memory, SQLite."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

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
    from relaybox_hooks.journal.memory import MemoryJournal
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

_MODULES: Final = {"MemoryJournal": "memory", "SQLiteJournal": "sqlite"}


def __getattr__(name: str) -> object:
    """Import an implementation when it is first asked for: one of them needs an extra.

    Raises:
        JournalDependencyError: the extra is not installed.
    """
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name != "apsw":
            raise
        raise JournalDependencyError(None, "apsw", "sqlite") from error
    globals()[name] = found
    return found
