"""Bytes that the kernel holds for a socket, because its peer has not acknowledged them."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Final

#: Whether the kernel tells. Elsewhere nothing is known to be unsent.
_TELLS: Final = sys.platform == "linux"
#: Linger for no second: closing resets the connection (POSIX.1, SO_LINGER).
_RESET: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


def count_unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes written to ``transport`` its peer's kernel has not acknowledged.

    A transport of TLS counts what waits in its own layer and not what waits below. A response
    acknowledges the request that it answers, so that after one nothing is left of a request
    that was read.
    """
    if not _TELLS:
        return 0
    import fcntl  # noqa: PLC0415 - there is none on Windows
    import termios  # noqa: PLC0415

    bare = transport.get_extra_info("socket")
    if bare is None or bare.fileno() < 0:
        return 0
    count = fcntl.ioctl(bare.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return int.from_bytes(count, sys.byteorder)


def discard_unsent(transport: asyncio.Transport) -> None:
    """Let the kernel keep nothing of what was written once the connection is aborted.

    Else it would go on offering that to a peer that does not read, for minutes, and the peer
    would not learn that the connection has ended.
    """
    bare = transport.get_extra_info("socket")
    if bare is not None and bare.fileno() >= 0:
        reset_on_close(bare)


def reset_on_close(bare: socket.socket) -> None:
    """Let closing a socket reset its connection, whatever its peer has not read."""
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
