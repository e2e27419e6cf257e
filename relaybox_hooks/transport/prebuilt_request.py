"""Requests that are prepared as one piece, and responses that know their peer.

A session makes its requests and responses of the classes it is opened with. What aiohttp does
for any request (merge and complete its headers, find out what its body is, start a task to
write it) comes to the same for every POST to a webhook, and is a quarter of what one costs. So
the head is prepared once per webhook, and a request is a :class:`PrebuiltRequest`: all of its
bytes, written in the step that sends it.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from inspect import signature
from typing import Any, Final
from weakref import WeakSet

from aiohttp import (
    ClientConnectionResetError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    DummyCookieJar,
    __version__,
)
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from multidict import CIMultiDict
from yarl import URL

from relaybox_hooks.transport.egress import EgressPolicy, make_connector

#: A longer body is left to aiohttp, which goes on writing when the socket takes more. Up to this
#: it does not wait for that either.
AT_ONCE: Final = 2**16

#: Bytes asked of a socket at a time. asyncio asks for 256 KiB, which the C library maps into
#: memory, cuts down to what came, and unmaps, for each response anew: 20 µs. It does so from
#: 128 KiB on; and the answers of webhooks are short.
READ_SIZE: Final = 2**15

#: Response headers beyond these are an error: aiohttp's own defaults, named here so that a
#: change of theirs does not change what an endpoint can make us hold.
_MAX_LINE: Final = 8190
_MAX_HEADERS: Final = 128

#: The sessions that take prebuilt requests.
_TAKING: Final[WeakSet[ClientSession]] = WeakSet()

_NO_TIMER: Final = TimerNoop()

#: The releases of aiohttp that prebuilt requests were tried with.
_TRIED: Final = ("3.14.",)


class PrebuiltRequest:
    """A whole request as it goes over the wire.

    Attributes:
        output_size: bytes of it, under the name that a response asks its writer for.
    """

    __slots__ = ("output_size", "text")

    def __init__(self, text: bytes) -> None:
        self.text: bytes = text
        self.output_size: int = len(text)


class PostRequest(ClientRequest):
    """A request that may be prebuilt: then its headers are in it, and it is given no others."""

    _prebuilt: PrebuiltRequest | None = None

    def update_headers(self, headers: Any) -> None:
        """Complete them, unless there are none."""
        if headers:
            super().update_headers(headers)
        else:
            self.headers = headers

    def update_auto_headers(self, skip_auto_headers: Any) -> None:
        """Complete them further."""
        if self.headers:
            super().update_auto_headers(skip_auto_headers)

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        """Keep a prebuilt request as it is."""
        if type(body) is PrebuiltRequest:
            self._prebuilt = body
        else:
            super().update_body_from_data(body, _stacklevel + 1)

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request; the response has yet to be read."""
        prebuilt, protocol, transport = self._prebuilt, conn.protocol, conn.transport
        if prebuilt is None:
            return await super().send(conn)
        if protocol is None or transport is None or transport.is_closing():
            raise ClientConnectionResetError("the connection was closed before it could be used")
        if getattr(transport, "max_size", 0) > READ_SIZE:  # uvloop's has buffers of its own
            transport.max_size = READ_SIZE  # type: ignore[attr-defined]
        transport.write(prebuilt.text)
        protocol.start_timeout()
        return self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=_NO_TIMER,
            request_info=self.request_info,
            traces=[],
            loop=self.loop,
            session=self.session,
            stream_writer=prebuilt,  # type: ignore[arg-type]  # it is asked for its size alone
        )


class PeerResponse(ClientResponse):
    """A response that keeps the peer's address; the connection is gone once it has been read."""

    #: As the socket has it: the address, the port, and for IPv6 two numbers more.
    peername: tuple[Any, ...] | None = None

    # Not async: it would be one more coroutine for every step of the response to go through.
    def start(self, connection: Connection) -> Coroutine[Any, Any, ClientResponse]:
        """Note the peer's address, then read the head of the response."""
        if connection.transport is not None:
            self.peername = connection.transport.get_extra_info("peername")
        return super().start(connection)


def open_session(egress: EgressPolicy) -> ClientSession:
    """Open a session that keeps no cookies, takes no proxy from the environment, and connects only
    where ``egress`` allows. Its connector sets no limit: each lane has its own.

    It takes prebuilt requests, if this aiohttp is a release that was tried with them.
    """
    options: dict[str, Any] = {
        "connector": make_connector(egress),
        "cookie_jar": DummyCookieJar(),
        "trust_env": False,
        "auto_decompress": False,
        "max_line_size": _MAX_LINE,
        "max_field_size": _MAX_LINE,
        "max_headers": _MAX_HEADERS,
    }
    if not fits(__version__, ClientRequest, ClientResponse):
        return ClientSession(response_class=PeerResponse, **options)
    session = ClientSession(request_class=PostRequest, response_class=PeerResponse, **options)
    _TAKING.add(session)
    return session


def takes_prebuilt(session: ClientSession) -> bool:
    """Return whether ``session`` was opened here, and not by the host."""
    return session in _TAKING


def fits(release: str, request: type, response: type) -> bool:
    """Return whether aiohttp's ``release`` was tried, and its classes have what is overridden here.

    With any other release, requests are made the long way: slower, and as it makes all of its own.
    """
    if not release.startswith(_TRIED):
        return False
    overridden = {"update_headers", "update_auto_headers", "update_body_from_data", "send"}
    passed = {"writer", "continue100", "request_info", "traces", "session", "stream_writer"}
    return overridden <= vars(request).keys() and passed <= signature(response).parameters.keys()


def start_of(url: URL, headers: Mapping[str, str]) -> str:
    """Return the first lines of all requests to one webhook: its URL and its own ``headers``."""
    start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
    return start + _lines(headers)


def lines_of(headers: Mapping[str, str]) -> str:
    """Return the lines of ``headers``, and of those that aiohttp sends if they are missing."""
    whole = CIMultiDict[str](ClientRequest.DEFAULT_HEADERS)
    whole.update(headers)
    return _lines(whole)


def write(head: str, headers: Mapping[str, str], body: bytes) -> PrebuiltRequest:
    """Return the request with the lines of ``head``, then ``headers``, and ``body``.

    Raises:
        ValueError: a header that would begin another line.
    """
    end = f"Content-Length: {len(body)}\r\n\r\n"
    return PrebuiltRequest((head + _lines(headers) + end).encode() + body)


def _lines(headers: Mapping[str, str]) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not lines.count("\r") == lines.count("\n") == len(headers) or "\0" in lines:
        raise ValueError("a header's name or value has a line break or a NUL in it")
    return lines
