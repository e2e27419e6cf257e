"""Transport of a connection of which nothing is ever read."""

from __future__ import annotations

import asyncio
import socket

from relaybox_hooks.testing.connection import Connection


class UnreadSocket:
    """Non-blocking socket that is only written to.

    Not a transport of the event loop, because uvloop's begins to read whatever its protocol says.

    Implements :class:`relaybox_hooks.testing.connection.Transport`.

    Args:
        sock: accepted socket; closed with the transport.
        connection: receives the callbacks of a protocol, ``connection_made`` at once.
    """

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self._sock = sock
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._closing = False
        self._ended = False
        connection.connection_made(self)

    def set_write_buffer_limits(self, high: int) -> None:
        """Do nothing: writing pauses at the first byte that has to be buffered."""

    def get_extra_info(self, name: str) -> socket.socket:
        """Return the socket, whatever the ``name``."""
        return self._sock

    def pause_reading(self) -> None:
        """Do nothing: nothing is read."""

    def is_closing(self) -> bool:
        """Return True once the transport was closed or a write has failed."""
        return self._closing

    def write(self, data: bytes) -> None:
        """Send ``data``, or buffer what the client has no room for."""
        if self._closing:
            return
        waiting = bool(self._buffer)
        self._buffer += data
        if waiting:
            return
        self._send()
        if self._buffer:
            self._loop.add_writer(self._sock, self._send_more)
            self._connection.pause_writing()

    def close(self) -> None:
        """Close after all written data."""
        self._closing = True
        if not self._buffer:
            self.abort()

    def abort(self) -> None:
        """Close without the buffered data, in the next iteration of the event loop."""
        self._closing = True
        self._buffer.clear()
        if not self._ended:
            self._ended = True
            self._loop.remove_writer(self._sock)
            self._loop.call_soon(self._report_loss)

    def _send(self) -> None:
        try:
            del self._buffer[: self._sock.send(self._buffer)]
        except BlockingIOError:
            pass
        except OSError:  # the client has disconnected
            self.abort()

    def _send_more(self) -> None:
        self._send()
        if self._buffer:
            return
        self._loop.remove_writer(self._sock)
        if self._closing:
            self.abort()
        else:
            self._connection.resume_writing()

    def _report_loss(self) -> None:
        self._connection.connection_lost(None)
        self._sock.close()
