"""TLS of a connection to a fault receiver."""

from __future__ import annotations

import asyncio
from ssl import MemoryBIO, SSLContext, SSLError, SSLWantReadError
from typing import Any, Final, cast

from relaybox_hooks.testing.connection import Connection
from relaybox_hooks.testing.faults import Fault

_HEADER: Final = 5  # bytes of a record's header, the last two its length: RFC 8446 §5.1
_BUFFER: Final = 0x10000  # bytes; holds the longest record


class TLSLayer(asyncio.BufferedProtocol):
    """TLS between a socket's transport and its connection.

    asyncio's is not used, because it reads up to 256 KiB for a protocol that has paused reading,
    and its ``close()`` waits for the client. Until the handshake is complete this one reads record
    by record, never beyond the handshake.

    Implements :class:`relaybox_hooks.testing.connection.Transport`.

    Args:
        context: context of the server.
        connection: connection to serve once the handshake is complete.
        fault: fault to play then, instead of reading; ``None`` for reading.
    """

    def __init__(self, context: SSLContext, connection: Connection, fault: Fault | None) -> None:
        self._connection = connection
        self._fault = fault
        self._incoming, self._outgoing = MemoryBIO(), MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._buffer = memoryview(bytearray(_BUFFER))
        self._header = bytearray()
        self._missing: int = _HEADER  # bytes of the current header or record
        self._established = False
        self._reading = True

    # Callbacks of the socket's transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connection.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer if self._established else self._buffer[: self._missing]

    def buffer_updated(self, nbytes: int) -> None:
        data = self._buffer[:nbytes]
        self._incoming.write(data)
        if self._established:
            self._decrypt()
        else:
            self._count_record(data)
            self._shake_hands()

    def eof_received(self) -> None:
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def _count_record(self, data: memoryview) -> None:
        self._missing -= len(data)
        if len(self._header) < _HEADER:
            self._header += data
            if len(self._header) == _HEADER:
                self._missing = int.from_bytes(self._header[3:])
        if not self._missing:
            self._header.clear()
            self._missing = _HEADER

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except SSLWantReadError:
            self._flush()
        except SSLError:
            self._flush()  # the alert
            self._transport.close()
        else:
            self._established = True
            self._flush()
            if self._fault is not None:
                self._connection.play_unread(self._fault)

    def _decrypt(self) -> None:
        try:
            while self._reading and not self._transport.is_closing():
                data = self._tls.read(_BUFFER)
                if not data:  # close_notify
                    self._connection.eof_received()
                    self.close()
                    return
                self._connection.data_received(data)
        except SSLWantReadError:
            pass
        except SSLError:
            self._transport.abort()

    def _flush(self) -> None:
        self._transport.write(self._outgoing.read())

    # Operations of the connection

    def set_write_buffer_limits(self, high: int) -> None:
        """Pause writing while more than ``high`` encrypted bytes are buffered."""
        self._transport.set_write_buffer_limits(high)

    def get_extra_info(self, name: str) -> Any:
        """Return what the socket's transport has of that ``name``."""
        return self._transport.get_extra_info(name)

    def pause_reading(self) -> None:
        """Read nothing further of the socket, and decrypt nothing further."""
        self._reading = False
        self._transport.pause_reading()

    def is_closing(self) -> bool:
        """Return True once the transport was closed or its client has disconnected."""
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Encrypt and send ``data``, unless the transport is closing."""
        if not self.is_closing():
            self._tls.write(data)
            self._flush()

    def close(self) -> None:
        """Close after all written data and a close_notify; does not wait for the client's."""
        try:
            self._tls.unwrap()
        except SSLError:  # SSLWantReadError, as the client's has not arrived
            pass
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
