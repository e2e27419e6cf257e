"""A journal's errors name its file and say what to do."""

from __future__ import annotations

import pytest

from relaybox_hooks import RelayboxHooksError
from relaybox_hooks.journal import errors
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

PATH = "/srv/hooks.db"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (JournalFullError(PATH, 10, 9), "wait until some are settled, or raise max_pending"),
        (JournalClosedError(PATH, "new"), "await open() first"),
        (JournalClosedError(PATH, "closed"), "make a new one"),
        (JournalDependencyError(PATH, "apsw", "sqlite"), "pip install 'relaybox-hooks[sqlite]'"),
        (JournalLockedError(PATH), "give this one a file of its own"),
        (JournalFormatError(PATH, "no database"), "give another path"),
        (JournalVersionError(PATH, 9, 1), "upgrade relaybox-hooks"),
        (JournalCorruptError(PATH, "malformed"), ".recover"),
        (JournalReadOnlyError(PATH), "let this user write the file and its directory"),
        (JournalDiskFullError(PATH), "make room"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_names_the_file_and_says_what_to_do(error: JournalError, advice: str) -> None:
    assert error.path == PATH
    assert str(error).startswith(f"journal {PATH}: ")
    assert advice in str(error)


def test_a_journal_without_a_file_is_named_as_such() -> None:
    error = JournalError(None, "it is broken")
    assert (error.path, str(error)) == (None, "journal: it is broken")


def test_errors_carry_their_numbers() -> None:
    full = JournalFullError(PATH, limit=10, pending=9)
    assert (full.limit, full.pending) == (10, 9)
    version = JournalVersionError(PATH, 9, 1)
    assert (version.found, version.supported) == (9, 1)
    assert JournalDiskFullError(PATH, 28).errno == 28
    assert JournalDependencyError(PATH, "apsw", "sqlite").extra == "sqlite"


def test_every_error_is_a_journal_error_and_the_systems_are_io_errors() -> None:
    kinds = [kind for name, kind in vars(errors).items() if name.startswith("Journal")]
    assert all(issubclass(kind, JournalError) for kind in kinds)
    assert issubclass(JournalError, RelayboxHooksError)
    assert {JournalReadOnlyError, JournalDiskFullError} <= set(JournalIOError.__subclasses__())
    assert issubclass(JournalDependencyError, ImportError)
