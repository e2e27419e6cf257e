"""Sockets opened while a connection is made: where that ends without one, none is left open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from relaybox_hooks.transport.unsent import reset_on_close

#: Those of the connection that the current context is making; happy eyeballs open several.
_opened: ContextVar[list[socket.socket] | None] = ContextVar("opened sockets", default=None)


def note(opened: socket.socket) -> socket.socket:
    """Note a socket that is to be connected, and return it."""
    noted = _opened.get()
    if noted is not None:
        noted.append(opened)
    return opened


@contextmanager
def closing_on_error() -> Iterator[None]:
    """Shut down the sockets noted in the block, if it ends with an exception.

    A connection cancelled as its TLS handshake ends is closed by asyncio: it waits for half a
    minute until its peer closes it too. Once its socket is shut down it waits for nothing.
    """
    noted: list[socket.socket] = []
    token = _opened.set(noted)
    try:
        yield
    except BaseException:
        for opened in noted:
            if opened.fileno() >= 0:
                with suppress(OSError):  # not connected yet: then it is closed without waiting
                    reset_on_close(opened)
                    opened.shutdown(socket.SHUT_RDWR)
        raise
    finally:
        _opened.reset(token)
