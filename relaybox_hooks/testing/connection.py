"""One client's connection: reads its requests, lets their faults play, tells the receiver."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol, cast

from relaybox_hooks.testing.faults import Answer, Fault
from relaybox_hooks.testing.request import (
    CONNECTION,
    WEBHOOK_ID,
    ReceivedRequest,
    event_id_of,
    header_field,
    split_request,
)

_LINGER_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST
_MALFORMED: Final = Answer(400, {"Connection": "close"}, b"not an HTTP/1.1 request")


class Receiver(Protocol):
    """What a connection needs of the receiver that accepted it.

    Its methods are underscored because users see the class that has them.
    """

    requests: list[ReceivedRequest]

    def _opened(self, connection: Connection) -> None:
        """A client connected: give the connection its number."""

    def _began(self, connection: Connection) -> Fault | None:
        """The first bytes of a request came; returns a fault that strikes it unread."""

    def _received(self, connection: Connection, request: ReceivedRequest) -> None:
        """A request was read whole: let it meet its fault, now or once released."""

    def _keep(self, connection: Connection, fault: Fault) -> None:
        """Hold the connection's request until ``release()``, then play ``fault``."""

    def _answered(self, request: ReceivedRequest, status: int) -> None:
        """The operating system took the last byte of the request's response."""

    def _lost(self, connection: Connection) -> None:
        """The connection ended, from either side."""

    def _script_failed(self, error: Exception) -> None:
        """The script, or a fault it chose, raised; the connection is about to be reset."""


class Connection(asyncio.Protocol):
    """One client's connection, and the exchange on which its current fault plays."""

    transport: asyncio.Transport
    request: ReceivedRequest  # the latest one read whole

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._begun = False  # the buffer's first request was counted as an attempt
        self._busy = False  # a fault plays, or nothing is read any more
        self._paused = False  # the operating system has not taken all that was written
        self._when_drained: Callable[[], None] | None = None
        self._timer: asyncio.Handle | None = None
        self._keep_alive = True
        self.number: int = 0
        self.turn: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(0)  # so that pause_writing tells of any rest
        self._receiver._opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def eof_received(self) -> None:
        if self._busy:  # the client left: whatever plays has to stop
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._busy = True
        self._when_drained = None
        if self._timer is not None:
            self._timer.cancel()
        self._receiver._lost(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        then, self._when_drained = self._when_drained, None
        if then is not None:
            then()

    def _advance(self) -> None:
        if self._buffer and not self._busy:
            try:
                self._serve_next()
            except Exception as error:  # the script's own
                self._receiver._script_failed(error)
                self.reset()

    def _serve_next(self) -> None:
        if not self._begun:
            self._begun = True
            self.turn += 1
            fault = self._receiver._began(self)
            if fault is not None:
                self._busy = True
                fault.play(self)
                return
        try:
            whole = split_request(self._buffer)
            if whole is None:
                return
            head, body, size = whole
            method, target, version = head[: head.index(b"\r\n")].decode("latin-1").split(" ")
        except ValueError:
            self._busy = True
            self.write(_MALFORMED.wire)
            self.close()
            return
        del self._buffer[:size]
        self._begun = False
        self._busy = True
        self._keep_alive = (
            version == "HTTP/1.1" and b"close" not in header_field(head, CONNECTION).lower()
        )
        path, _, query = target.partition("?")
        self.request = ReceivedRequest(
            method=method,
            path=path,
            query=query,
            order=len(self._receiver.requests) + 1,
            connection=self.number,
            turn=self.turn,
            webhook_id=header_field(head, WEBHOOK_ID).decode("latin-1") or None,
            event_id=event_id_of(body),
            head=head,
            body=body,
        )
        self._receiver._received(self, self.request)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def stream(self, chunks: Iterator[bytes], interval: float, status: int) -> None:
        if self._paused:
            self._when_drained = partial(self.stream, chunks, interval, status)
            return
        chunk = next(chunks, None)
        if chunk is None:
            self.finish(status)
            return
        self.transport.write(chunk)
        self._timer = self._loop.call_later(interval, self.stream, chunks, interval, status)

    def finish(self, status: int, *, close: bool = False) -> None:
        if self._paused:
            self._when_drained = partial(self.finish, status, close=close)
            return
        if self.transport.is_closing():  # the write found the client gone
            return
        self._receiver._answered(self.request, status)
        if close or not self._keep_alive:
            self.transport.close()
            return
        self._busy = False
        if self._buffer:
            self._loop.call_soon(self._advance)  # not a call: pipelined requests would nest

    def later(self, seconds: float, fault: Fault) -> None:
        self._timer = self._loop.call_later(seconds, self.play, fault)

    def play(self, fault: Fault) -> None:
        """Play ``fault`` from a callback; an error in it is the script's own."""
        try:
            fault.play(self)
        except Exception as error:
            self._receiver._script_failed(error)
            self.reset()

    def hold(self, fault: Fault) -> None:
        self._receiver._keep(self, fault)

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self.transport.abort()
