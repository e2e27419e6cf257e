"""Where a process can die while its journal writes: it kills itself in the writer's thread.

``os.kill`` with SIGKILL on oneself does not return: nothing after it is executed by any thread.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import apsw
from crash.child import say

from relaybox_hooks.journal.sqlite.rows import Append, Store

Point: TypeAlias = Literal["written", "committed", "deleted", "purged", "write"]


class Death:
    """Kills the process when it comes to ``point`` for the ``after``-th time.

    Args:
        point: ``"written"``: a transaction of appends is written and not committed;
            ``"committed"``: it is, and the event loop does not know it yet; ``"deleted"`` and
            ``"purged"``: the same for what a purge deletes; ``"write"``: half of the bytes
            that SQLite writes to a file are.
        after: how often that point is come to.
        file: the end of that file's name.
    """

    def __init__(self, point: Point, after: int, file: str = "") -> None:
        self._point = point
        self._left = after
        self._file = file

    def arm(self) -> None:
        """From now on."""
        if self._point == "write":
            self._layer = Layer(self._file, self._dies)
            return
        method = {
            "written": "_append",
            "committed": "write",
            "deleted": "_delete",
            "purged": "delete_settled",
        }[self._point]
        original: Callable[..., Any] = getattr(Store, method)

        def dying(store: Store, first: Any, *rest: Any) -> Any:
            result = original(store, first, *rest)
            # A transaction without appends and a purge that deletes nothing are not meant.
            if (result if self._point == "purged" else first) and self._dies():
                if self._point in ("written", "committed"):
                    tell(first)
                die()
            return result

        setattr(Store, method, dying)

    def _dies(self) -> bool:
        self._left -= 1
        return self._left == 0


def tell(appends: Sequence[Append]) -> None:
    """Report which events are in the transaction in which the process dies."""
    say(f"doomed {' '.join(envelope.id for _, envelope, _, _ in appends)}")


def die() -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


class Layer(apsw.VFS):
    """The system's files. Each write to one whose name ends in ``file`` may be the last."""

    def __init__(self, file: str, dies: Callable[[], bool]) -> None:
        super().__init__("dying", "unix", makedefault=True)
        self._file = file
        self._dies = dies

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        if path.endswith(self._file):
            return File(self._dies, name, flags)
        return apsw.VFSFile("unix", name, flags)


class File(apsw.VFSFile):
    """A file whose writes may be the last."""

    def __init__(
        self, dies: Callable[[], bool], name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__("unix", name, flags)
        self._dies = dies

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write all of it, or half of it and die."""
        if self._dies():
            super().xWrite(data[: len(data) // 2], offset)
            die()
        super().xWrite(data, offset)
