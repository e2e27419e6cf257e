"""An exchange without a socket: its transport, and a connection as it was dialled."""

from __future__ import annotations

import asyncio
from typing import Any

from relaybox_hooks.transport.exchange import Exchange

#: Who answers, as a socket has it.
PEER = ("127.0.0.1", 8080)


class FakeTransport(asyncio.Transport):
    """Keeps what is written. It speaks to its protocol only when a test does so in its place.

    Attributes:
        written: each piece, as it was written.
        slow: the socket takes nothing until :meth:`drain` is called.
        buffered: bytes that wait for the socket.
        aborted: how often it was aborted.
        closing: it is closed, or on the way to it.
    """

    def __init__(self, **extra: Any) -> None:
        super().__init__({"peername": PEER, **extra})
        self.written: list[bytes] = []
        self.slow = False
        self.buffered = 0
        self.aborted = 0
        self.closing = False
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        if self.slow:
            self.buffered += len(data)
            self._speaker.pause_writing()

    def drain(self) -> None:
        """Let the socket take all that waits."""
        self.buffered = 0
        self._speaker.resume_writing()

    @property
    def _speaker(self) -> asyncio.BaseProtocol:
        assert self.protocol is not None
        return self.protocol

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def abort(self) -> None:
        """Forget what waits, as real ones do; ``connection_lost`` is for the test to call."""
        self.aborted += 1
        self.buffered = 0
        self.closing = True


class FakeDialled:
    """A connection as the connector returns it; counts how often it was closed."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.transport = transport
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Line:
    """An exchange with both its ends.

    Attributes:
        closed: the exchanges that said that they have ended; one, once.
    """

    def __init__(self, **extra: Any) -> None:
        self.transport = FakeTransport(**extra)
        self.dialled = FakeDialled(self.transport)
        self.closed: list[Exchange] = []
        self.exchange = Exchange(self.dialled, self.closed.append)

    def feed(self, *parts: bytes) -> None:
        """Let the endpoint's bytes arrive."""
        for part in parts:
            self.exchange.data_received(part)

    @property
    def ended(self) -> bool:
        """Whether the connection was aborted, closed and reported, each of them once."""
        counts = (self.transport.aborted, self.dialled.closed, len(self.closed))
        assert counts in ((0, 0, 0), (1, 1, 1)), f"aborted, closed, reported: {counts}"
        assert (self.exchange.state == "closed") == (counts == (1, 1, 1))
        return counts == (1, 1, 1)
