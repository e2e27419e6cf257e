"""Connection of one client to a fault receiver: parses requests and plays faults."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, Protocol, cast

from relaybox_hooks.testing.faults import Answer, Fault
from relaybox_hooks.testing.hangups import Hangups
from relaybox_hooks.testing.request import (
    CONNECTION,
    WEBHOOK_ID,
    ReceivedRequest,
    event_id_of,
    header_field,
    split_request,
)

#: ``SO_LINGER`` of 0 s: ``close()`` sends RST.
LINGER_RESET: Final = struct.pack("ii", 1, 0)
_MALFORMED: Final = Answer(400, {"Connection": "close"}, b"not an HTTP/1.1 request")


class Transport(Protocol):
    """Operations of a connection on its transport: an asyncio one, or one of this package."""

    def set_write_buffer_limits(self, high: int) -> None:
        """Pause writing while more than ``high`` bytes are buffered."""

    def get_extra_info(self, name: str) -> Any:
        """Return the ``"socket"``."""

    def pause_reading(self) -> None:
        """Read nothing further."""

    def is_closing(self) -> bool:
        """Return True once the transport was closed or its client has disconnected."""

    def write(self, data: bytes) -> None:
        """Send ``data``; buffers what the client does not read yet."""

    def close(self) -> None:
        """Close after all written data."""

    def abort(self) -> None:
        """Close at once."""


class ConnectionHandler(Protocol):
    """Callbacks of a connection to its receiver."""

    requests: list[ReceivedRequest]
    hangups: Hangups

    def connection_opened(self, connection: Connection) -> None:
        """Handle a connection that has its transport."""

    def connection_lost(self, connection: Connection) -> None:
        """Handle the end of a connection, by either side."""

    def bytes_received(self, connection: Connection, size: int) -> None:
        """Handle ``size`` more bytes that were read of the connection's requests."""

    def request_started(self, connection: Connection, *, scripted: bool) -> Fault | None:
        """Handle the first bytes of a request; return a fault to play before reading it.

        Args:
            connection: connection of the request.
            scripted: let the script choose; False if the fault is known already.
        """

    def request_received(
        self, connection: Connection, request: ReceivedRequest, fault: Fault | None
    ) -> None:
        """Handle a completely read request: play ``fault``, else the script's, or hold it."""

    def request_held(self, connection: Connection, fault: Fault) -> None:
        """Hold the connection's request until it is released, then play ``fault``."""

    def response_sent(self, request: ReceivedRequest | None, status: int, responses: int) -> None:
        """Handle complete responses that the operating system has accepted.

        Args:
            request: request of the first one; ``None`` if it was not asked for.
            status: its status.
            responses: number of responses.
        """

    def script_failed(self, error: Exception) -> None:
        """Handle an exception of the script or a fault; the connection is reset afterwards."""


class Connection(asyncio.Protocol):
    """Server side of one connection; the :class:`Exchange` of its current request.

    Args:
        handler: receives the callbacks.

    Attributes:
        number: number of the connection, from 1.
        position: position of the current request on the connection, from 1.
    """

    transport: Transport
    request: ReceivedRequest  # the latest one read whole

    def __init__(self, handler: ConnectionHandler) -> None:
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._started = False  # request_started() was called for the request in the buffer
        self._busy = False  # a fault is playing, or the connection has ended
        self._paused = False  # written data is still in the transport's buffer
        self._unanswered: ReceivedRequest | None = None
        self._next_fault: Fault | None = None  # overrides the script for the next request
        self._unread: int | None = None  # file descriptor, once reading has stopped
        self._when_drained: Callable[[], None] | None = None
        self._timer: asyncio.Handle | None = None
        self._keep_alive = True
        self.number = 0
        self.position: int = 0

    def connection_made(self, transport: asyncio.BaseTransport | Transport) -> None:
        self.transport = cast("Transport", transport)
        self.transport.set_write_buffer_limits(0)  # so that any buffered byte calls pause_writing
        self._handler.connection_opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._handler.bytes_received(self, len(data))
        self._advance()

    def eof_received(self) -> None:
        if self._busy:  # the client disconnected: stop the fault
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._busy = True
        self._when_drained = None
        if self._timer is not None:
            self._timer.cancel()
        if self._unread is not None:
            self._handler.hangups.unwatch(self._unread)
        self._handler.connection_lost(self)

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
            except Exception as error:  # raised by the script
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._handler.script_failed(error)
        self.reset()

    def _serve_next(self) -> None:
        if not self._started:
            self._started = True
            self.position += 1
            fault = self._handler.request_started(self, scripted=self._next_fault is None)
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
        self._started = False
        self._busy = True
        self._keep_alive = (
            version == "HTTP/1.1" and b"close" not in header_field(head, CONNECTION).lower()
        )
        path, _, query = target.partition("?")
        self.request = ReceivedRequest(
            method=method,
            path=path,
            query=query,
            order=len(self._handler.requests) + 1,
            connection=self.number,
            position=self.position,
            webhook_id=header_field(head, WEBHOOK_ID).decode("latin-1") or None,
            event_id=event_id_of(body),
            head=head,
            body=body,
        )
        self._unanswered = self.request
        fault, self._next_fault = self._next_fault, None
        self._handler.request_received(self, self.request, fault)

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

    def finish(
        self, status: int, *, responses: int = 1, close: bool = False, then: Fault | None = None
    ) -> None:
        if self._paused:
            self._when_drained = partial(
                self.finish, status, responses=responses, close=close, then=then
            )
            return
        if self.transport.is_closing():  # the client has disconnected
            return
        request, self._unanswered = self._unanswered, None
        self._handler.response_sent(request, status, responses)
        if then is not None:
            self.play(then)
        elif close or not self._keep_alive:
            self.transport.close()
        else:
            self._busy = False
            if self._buffer:
                self._loop.call_soon(
                    self._advance
                )  # not a direct call, which would recurse for pipelined requests

    def next_request(self, fault: Fault) -> None:
        self._next_fault = fault

    def stop_reading(self) -> None:
        self.transport.pause_reading()
        if self._unread is None:
            self._unread = self.transport.get_extra_info("socket").fileno()
            self._handler.hangups.watch(self._unread, self.transport.abort)

    def later(self, seconds: float, fault: Fault) -> None:
        self._timer = self._loop.call_later(seconds, self.play, fault)

    def play(self, fault: Fault) -> None:
        """Play ``fault`` from a callback; report its exceptions as the script's."""
        try:
            fault.play(self)
        except Exception as error:
            self._fail(error)

    def play_unread(self, fault: Fault) -> None:
        """Play ``fault`` before any request, and read none."""
        self.stop_reading()
        self.play(fault)

    def hold(self, fault: Fault) -> None:
        self._handler.request_held(self, fault)

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self.transport.abort()
