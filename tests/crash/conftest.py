"""Places for a journal where things go wrong."""

from __future__ import annotations

import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

#: Bytes of a disk, and of what is in the way there at first: most of them, as closing takes room
#: for what is in the log once more.
_DISK: Final = 1 << 20
_BALLAST: Final = 700_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """A directory with little room, and what makes room there.

    A file system of its own or, where mounting one is not permitted, a limit on files.
    """
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(mounted)]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_DISK - _BALLAST, before[1]))
        try:
            yield mounted, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    else:
        ballast = mounted / "ballast"
        ballast.write_bytes(bytes(_BALLAST))
        try:
            yield mounted, ballast.unlink
        finally:
            subprocess.run(["umount", str(mounted)], check=True)  # noqa: S603, S607


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a journal's thread running."""
    yield
    for thread in threading.enumerate():
        if thread.name == "relaybox-hooks journal":
            thread.join(10)  # it lets go of the file just after it was told to
            assert not thread.is_alive(), "the test left the journal's thread running"
