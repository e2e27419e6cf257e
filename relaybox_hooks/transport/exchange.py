"""One HTTP/1.1 connection, and the exchange under way on it: a request and its response."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from aiohttp import ClientError, ClientOSError, ServerDisconnectedError
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from relaybox_hooks.transport import framing
from relaybox_hooks.transport.unsent import count_unsent, discard_unsent

#: States of a connection. Idle: no exchange is under way. Waiting: a request was written, and no
#: byte of its response was read. Responding: some was. Complete: the response was read whole.
#: Closed: for good.
State: TypeAlias = Literal["idle", "waiting", "responding", "complete", "closed"]

_RESPONDING: Final[State] = "responding"  # no literal: callbacks of the parser change the state

#: Bytes written at a time, of a request that is longer.
PIECE: Final = 2**16

#: Bytes asked of a socket at a time. asyncio asks for 256 KiB, which the C library maps into
#: memory, cuts down to what came, and unmaps, for each response anew: 20 µs. It does so from
#: 128 KiB on; and the answers of webhooks are short.
READ_SIZE: Final = 2**15

#: Interim responses (RFC 9110 §15.2) that may come before one response.
_MAX_INTERIM: Final = 16

#: Bytes of a response's body that are handed on.
_BODY_START: Final = 4096

_BLANKS: Final = b" \t"
_END_OF_HEAD: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"

_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after:([^\r\n]*)", re.IGNORECASE)


class ResponseError(ClientError):
    """A response that is no HTTP/1.1, or more than it may be; the message says which."""


class EarlyResponseError(ClientError):
    """A response that says that the request was taken, before the whole of it was sent."""


class Dialled(Protocol):
    """A connection as it was dialled; aiohttp's own has this form."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection's transport."""

    def close(self) -> None:
        """Forget the connection."""


class Response(NamedTuple):
    """The part of a response that is handed on.

    Attributes:
        status: 200 to 599, or 101.
        headers: in their order, names as they came.
        body: its first 4 KiB, without the framing of chunks.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Exchange(asyncio.Protocol):
    """A connection to an endpoint, which serves one exchange after another.

    Whatever the endpoint does, it costs no more than ``limit`` raw bytes read per exchange and one
    request in the write buffer. The connection ends by being aborted, never by a close that waits
    until its peer has read.

    Mutable state: ``state``, and what was read of the response.

    Args:
        dialled: the connection, whose transport speaks to this object from now on.
        when_closed: called once, when the connection has ended in whatever way.

    Attributes:
        idle_since: when it was put back last, monotonic.
        peer: address and port of the endpoint, as the socket has them.
        received: what was read of the latest response.
        state: ``"idle"``, ``"waiting"``, ``"responding"``, ``"complete"`` or ``"closed"``.
        status: of the response, as soon as its head is complete; 0 before.
    """

    __slots__ = (
        *("_answer", "_body_size", "_dialled", "_early", "_interim", "_keep_alive"),
        *("_left", "_loop", "_parser", "_sending", "_start", "_surplus", "_tls", "_transport"),
        *("_when_closed", "_writable", "idle_since", "peer", "received", "state", "status"),
    )

    def __init__(self, dialled: Dialled, when_closed: Callable[[Exchange], None]) -> None:
        transport = dialled.transport
        if transport is None or transport.is_closing():
            dialled.close()
            raise ServerDisconnectedError("the connection was closed before it could be used")
        if getattr(transport, "max_size", 0) > READ_SIZE:  # uvloop's has buffers of its own
            transport.max_size = READ_SIZE  # type: ignore[attr-defined]
        self._loop = asyncio.get_running_loop()
        self._dialled = dialled
        self._transport = transport
        self._tls = transport.get_extra_info("sslcontext") is not None
        self._when_closed = when_closed
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._answer: asyncio.Future[int] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._sending = False
        self._early = False
        self._left = 0
        self._start = 0
        self._interim = 0
        self._body_size = 0
        self._surplus = False
        self._keep_alive = False
        self.idle_since: float = 0.0
        self.peer: tuple[Any, ...] | None = transport.get_extra_info("peername")
        self.received: bytes | bytearray = b""
        self.state: State = "idle"
        self.status: int = 0
        transport.set_protocol(self)

    # Exchanges

    def send(self, request: bytes, limit: int) -> asyncio.Future[int]:
        """Write a request, of which no more than ``PIECE`` bytes may wait for the socket.

        Args:
            request: head and body.
            limit: raw bytes of the response that are read: interim responses, head, framing,
                body and trailers.

        Returns:
            The future of the response's status. It fails with ClientError where there was none:
            ServerDisconnectedError, ClientOSError, ResponseError or EarlyResponseError.
        """
        answer = self._begin(limit)
        self._transport.write(request)
        return answer

    async def send_in_pieces(self, request: bytes, limit: int) -> int:
        """Write a longer request as the socket takes it; return the response's status.

        Raises:
            ClientError: as the future of :meth:`send`.
        """
        answer, view = self._begin(limit), memoryview(request)
        self._sending = True
        for start in range(0, len(view), PIECE):
            if self._writable is not None:
                await self._writable
            if answer.done():
                break
            self._transport.write(view[start : start + PIECE])
        else:
            self._sending = False
        return await answer

    def abort(self) -> None:
        """End the connection at once, whatever is under way.

        A status of success does not count where some of the request has not been sent.
        """
        if self.state == "closed":
            return
        if self.state != "idle" and 200 <= self.status < 300 and self._is_unsent():
            self.status = 0
        if self.state in ("waiting", "responding") or self._transport.get_write_buffer_size():
            discard_unsent(self._transport)
        self.state = "closed"
        self._parser = None
        self._transport.abort()
        self._dialled.close()
        self.resume_writing()
        self._when_closed(self)

    @property
    def retry_after(self) -> str | None:
        """The text of the response's ``Retry-After``, or ``None``."""
        head = bytes(self.received[self._start :]).partition(_END_OF_HEAD)[0]
        found = _RETRY_AFTER.search(head)
        return found[1].strip(_BLANKS).decode("latin-1") if found else None

    def response(self) -> Response:
        """Return what is handed on of the latest response."""
        reader = _Reader()
        try:
            HttpResponseParser(reader).feed_data(bytes(self.received[self._start :]))
        except (HttpParserError, HttpParserUpgrade):
            pass  # as far as it could be read
        return Response(self.status, tuple(reader.headers), bytes(reader.body[:_BODY_START]))

    def _begin(self, limit: int) -> asyncio.Future[int]:
        answer = self._answer = self._loop.create_future()
        self.state = "waiting"
        self.status = 0
        self.received = b""
        self._left = limit
        self._start = 0
        self._interim = 0
        self._body_size = 0
        return answer

    def _break_off(self, error: Exception, early: bool = False) -> None:
        """End the exchange, and the connection: a status that is known decides, else the error.

        Args:
            error: of an exchange without a status.
            early: some of the request waited when the connection was lost.
        """
        answer, status = self._answer, self.status
        if early and self.state != "idle" and 200 <= status < 300:
            self.status = 0
        self.abort()
        if answer is None or answer.done():
            return
        if self.status:
            answer.set_result(status)
            return
        if status:
            error = EarlyResponseError("the response came before the whole request was sent")
        answer.set_exception(error)
        answer.exception()  # the task may have been cancelled: then it goes unseen

    def _complete(self) -> None:
        """Settle the exchange; keep the connection if it may serve the next one."""
        if self._is_unsent() or not self._may_serve_again():
            self._break_off(ResponseError("no status"))
            return
        self.state = "idle"
        answer = self._answer
        if answer is not None and not answer.done():
            answer.set_result(self.status)

    def _is_unsent(self) -> bool:
        """Return whether some of the request has not left this process.

        A transport of TLS does not count what waits in the one below it: while anything does, the
        kernel has something that is unsent as well.
        """
        if self._sending or self._transport.get_write_buffer_size() > 0:
            return True
        return self._tls and count_unsent(self._transport) > 0

    def _may_serve_again(self) -> bool:
        """Return whether the next response on this connection can only be that to the next request.

        Both sides keep it alive, its response ends where what was read ends, and nothing that
        was written waits anywhere.
        """
        received, start = self.received, self._start
        if not self._keep_alive or self._surplus:
            return False
        end = received.find(_END_OF_HEAD, start) + len(_END_OF_HEAD)
        if end + self._body_size == len(received):
            # As has_plain_length, for what most responses are. Beside a length, of which a body
            # is the sign, llhttp takes no coding.
            if received.startswith(framing.USUAL, start):
                short = self._body_size > 0 and received.find(framing.ZEROS, start, end) < 0
                ends = short or not framing.FAULTY.search(received, start, end)
            else:
                ends = framing.has_plain_length(received, start, end)
        else:
            # A trailer, or an extension of the last chunk, is not looked into.
            ends = received.endswith(_LAST_CHUNK) and framing.is_chunked(received, start, end)
        return ends

    # Of the transport

    def data_received(self, data: bytes) -> None:
        """Read on in the response."""
        parser = self._parser
        if parser is None:
            return
        if self.state == "idle":
            self.abort()  # unrequested: it would be taken for the next response
            return
        self.state = _RESPONDING
        self._left -= len(data)
        if not self.received:
            self.received = data
        elif isinstance(self.received, bytearray):
            self.received += data
        else:
            self.received = bytearray(self.received) + data
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._break_off(ResponseError(_reason(error)))
            return
        if self.state == "complete":
            self._complete()
        elif self._left < 0:
            self._break_off(ResponseError("the response is longer than max_response"))
        elif self.status:
            self._early = self._is_unsent()

    def eof_received(self) -> None:
        """Take the end of the connection, which may end a response as well."""
        self._break_off(ServerDisconnectedError())

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle an exchange under way; what waited to be sent is gone from the buffer by now."""
        lost = ClientOSError(*exc.args) if isinstance(exc, OSError) else ServerDisconnectedError()
        self._break_off(lost, self._early)

    def pause_writing(self) -> None:
        """Let a longer request wait until the socket takes more."""
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let it go on."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # Of the parser

    def on_headers_complete(self) -> None:
        """Take the status, unless more responses are to come."""
        parser = self._parser
        if self.state == "complete" or parser is None:
            self._surplus = True
            return
        status = parser.get_status_code()
        if status >= 200 or status == 101:
            self.status = status
        elif status < 100:
            raise ResponseError(f"status {status:03}")
        else:
            self._pass_over_interim()

    def on_body(self, part: bytes) -> None:
        """Count a part of the body."""
        self._body_size += len(part)

    def on_message_complete(self) -> None:
        """Note the end of a response."""
        if self.state == "complete" or self._parser is None:
            return
        if self.status:
            self.state = "complete"
            self._keep_alive = self._parser.should_keep_alive()

    def _pass_over_interim(self) -> None:
        end = self.received.find(_END_OF_HEAD, self._start) + len(_END_OF_HEAD)
        if not framing.is_interim(self.received, self._start, end):
            raise ResponseError("an interim response with a body, or with a faulty head")
        self._start = end
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            raise ResponseError(f"more than {_MAX_INTERIM} interim responses")


class _Reader:
    """Collects the headers and the body of one response: no trailers, nothing beyond."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self._past_head = False
        self._past_end = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self._past_head:
            self.headers.append((name.decode("latin-1"), value.strip(_BLANKS).decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Leave the rest to the body."""
        self._past_head = True

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        if not self._past_end:
            self.body += part

    def on_message_complete(self) -> None:
        """Leave out what is beyond."""
        self._past_end = True


def _reason(error: Exception) -> str:
    """Return what is wrong with a response; llhttp's own words quote none of it."""
    return f"no valid HTTP response: {error.__context__ or error}"
