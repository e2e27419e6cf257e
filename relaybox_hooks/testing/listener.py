"""Listening socket of a fault receiver."""

from __future__ import annotations

import asyncio
import os
import socket
from ssl import SSLContext
from typing import Final

from relaybox_hooks.testing.connection import LINGER_RESET, Connection
from relaybox_hooks.testing.tls import TLSLayer
from relaybox_hooks.testing.traffic import Traffic
from relaybox_hooks.testing.unread_socket import UnreadSocket

_BACKLOG: Final = 4096  # with a full accept queue a client waits 1 s per dropped SYN


class Listener:
    """Accepts connections; plays the faults for which nothing may be read.

    Listens from its construction until :meth:`aclose`.

    Args:
        traffic: handler of the connections.
        host: IPv4 or IPv6 address.
        port: port; 0 for a free one.
        ssl: context of a server, for TLS; ``None`` for plain TCP.
        receive_buffer: size of each connection's receive buffer, bytes; ``None`` for the default.

    Attributes:
        port: port that it listens on.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        traffic: Traffic,
        host: str,
        port: int,
        *,
        ssl: SSLContext | None,
        receive_buffer: int | None,
    ) -> None:
        self._traffic = traffic
        self._ssl = ssl
        self._loop = asyncio.get_running_loop()
        self._accepting: set[asyncio.Task[object]] = set()
        self._socket = _listening_socket(host, port, receive_buffer)
        self.port: int = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket, self._accept)

    async def aclose(self) -> None:
        """Reject new connections; those accepted so far are known to the traffic afterwards."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        await asyncio.gather(*self._accepting)

    def _accept(self) -> None:
        # Not asyncio.start_server(), which leaks connections that it accepts while closing.
        while True:
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):  # the loop calls again if needed
                return
            sock.setblocking(False)
            connection = Connection(self._traffic)
            try:
                fault = self._traffic.connection_accepted(connection)
            except Exception as error:  # raised by the script
                self._traffic.script_failed(error)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
                sock.close()
                continue
            if fault is not None and (self._ssl is None or fault.stage == "accepted"):
                UnreadSocket(sock, connection)
                connection.play_unread(fault)
            elif self._ssl is None:
                self._serve(sock, connection)
            else:
                self._serve(sock, TLSLayer(self._ssl, connection, fault))

    def _serve(self, sock: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: protocol, sock))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)


def _listening_socket(host: str, port: int, receive_buffer: int | None) -> socket.socket:
    """Return a socket whose receive buffer is set before the first handshake can begin."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
