"""Requests as bytes, to send what no HTTP client would."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, cast

from yarl import URL

from relaybox_hooks.testing import FaultReceiver

#: The fixture that posts an event to a URL; returns the answer's status and body.
Post: TypeAlias = Callable[..., Coroutine[Any, Any, tuple[int, bytes]]]

PLAIN: Final = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfirst"
CHUNKED: Final = (
    b"PUT /d HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3;ext=1\r\nsec\r\n3\r\nond\r\n0\r\nTrailer: t\r\n\r\n"
)
CLOSING: Final = b"POST / HTTP/1.1\r\nConnection: close\r\n\r\n"


async def connect(
    receiver: FaultReceiver, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to the receiver, with TLS if there is a context."""
    return await asyncio.open_connection("127.0.0.1", URL(receiver.url).port, ssl=context)


async def taken(receiver: FaultReceiver, most: int) -> int:
    """Send up to ``most`` bytes on a connection with a small send buffer.

    Returns:
        the number of bytes that the two kernels took; less than ``most`` if no more had room while
        the event loop turned many times.
    """
    sent, idle = 0, 0
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.connect(("127.0.0.1", URL(receiver.url).port))
        client.setblocking(False)
        while sent < most and idle < 200:
            try:
                sent += client.send(bytes(min(4096, most - sent)))
                idle = 0
            except BlockingIOError:
                idle += 1
                await asyncio.sleep(0)
    return sent


async def ending(reader: asyncio.StreamReader) -> bytes | None:
    """Return what still comes before the server's FIN; ``None`` if it is a RST."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return None


def pause(writer: asyncio.StreamWriter) -> None:
    """Read nothing further until :func:`resume`."""
    cast("asyncio.Transport", writer.transport).pause_reading()


def resume(writer: asyncio.StreamWriter) -> None:
    """Read on."""
    cast("asyncio.Transport", writer.transport).resume_reading()


def leave(*writers: asyncio.StreamWriter) -> None:
    """Close the client's side at once."""
    for writer in writers:
        writer.transport.abort()
