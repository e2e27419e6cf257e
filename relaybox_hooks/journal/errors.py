"""Errors of a journal. Each names the file and says what to do.

::

    RelayboxHooksError
    └── JournalError
        ├── JournalFullError            as many deliveries are pending as max_pending allows
        ├── JournalClosedError          not opened yet, closing or closed
        ├── JournalDependencyError (ImportError)    the extra that brings the engine is missing
        ├── JournalLockedError          another journal has the file open
        ├── JournalFormatError          no database, or another application's
        ├── JournalVersionError         written by a newer release
        ├── JournalCorruptError         the file is damaged
        └── JournalIOError              the operating system refused to read or write
            ├── JournalReadOnlyError    the file, or its directory, cannot be written
            └── JournalDiskFullError    no room: disk, quota or file size limit
"""

from __future__ import annotations

from relaybox_hooks.errors import RelayboxHooksError


class JournalError(RelayboxHooksError):
    """The root of every error of a journal.

    Attributes:
        path: the journal's file; ``None`` where it has none.
    """

    path: str | None

    def __init__(self, path: str | None, message: str) -> None:
        super().__init__(f"journal {path}: {message}" if path else f"journal: {message}")
        self.path = path


class JournalFullError(JournalError):
    """An append would take the pending deliveries beyond ``max_pending``. Nothing was stored.

    Attributes:
        limit: ``max_pending``.
        pending: how many are pending.
    """

    def __init__(self, path: str | None, limit: int, pending: int) -> None:
        super().__init__(
            path,
            f"{pending} deliveries are pending and max_pending is {limit}: wait until some are "
            "settled, or raise max_pending",
        )
        self.limit = limit
        self.pending = pending


class JournalClosedError(JournalError):
    """The journal was used before ``open()`` or after ``aclose()`` began.

    Attributes:
        state: ``"new"``, ``"opening"``, ``"closing"`` or ``"closed"``.
    """

    def __init__(self, path: str | None, state: str) -> None:
        advice = (
            "await open() first"
            if state in {"new", "opening"}
            else "make a new one; a journal is opened once"
        )
        super().__init__(path, f"it is {state}: {advice}")
        self.state = state


class JournalDependencyError(JournalError, ImportError):
    """The package that a journal is built on is not installed.

    Attributes:
        extra: the extra of relaybox-hooks that brings it.
    """

    def __init__(self, path: str | None, package: str, extra: str) -> None:
        super().__init__(path, f"{package} is not installed: pip install 'relaybox-hooks[{extra}]'")
        self.extra = extra


class JournalLockedError(JournalError):
    """Another process, or another journal of this one, has the file open."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            "it is open elsewhere and belongs to one process at a time: end the other process, "
            "or give this one a file of its own",
        )


class JournalFormatError(JournalError):
    """The file is not a SQLite database, or one of another application. It was not changed."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, f"the file is {found}, not a journal: give another path")


class JournalVersionError(JournalError):
    """The file was written by a newer release of relaybox-hooks. It was not changed.

    Attributes:
        found: the file's schema version.
        supported: the newest version that this release reads.
    """

    def __init__(self, path: str, found: int, supported: int) -> None:
        super().__init__(
            path,
            f"its schema is version {found} and this release reads up to {supported}: "
            "upgrade relaybox-hooks, or give another path",
        )
        self.found = found
        self.supported = supported


class JournalCorruptError(JournalError):
    """A damaged page was met. What the file holds elsewhere can still be read and written."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(
            path,
            f"the file is damaged ({detail}): stop the process, keep a copy, and recover what "
            "is left with the '.recover' command of the sqlite3 shell",
        )


class JournalIOError(JournalError):
    """The operating system refused to open, read or write the file.

    Attributes:
        errno: the operating system's error number, 0 where it gave none.
    """

    def __init__(self, path: str, detail: str, errno: int = 0) -> None:
        super().__init__(path, detail)
        self.errno = errno


class JournalReadOnlyError(JournalIOError):
    """The file, or the directory that its write-ahead log goes to, cannot be written."""

    def __init__(self, path: str, errno: int = 0) -> None:
        super().__init__(
            path,
            "it cannot be written: let this user write the file and its directory",
            errno,
        )


class JournalDiskFullError(JournalIOError):
    """No room is left. The append that met it stored nothing; earlier ones are safe.

    Make room; nothing has to be restarted.
    """

    def __init__(self, path: str, errno: int = 0) -> None:
        super().__init__(
            path,
            "no room is left on the disk (or the quota or file size limit is reached): make "
            "room, appends succeed again as soon as there is some",
            errno,
        )
