"""Requests as bytes, to send what no HTTP client would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

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


async def connect(receiver: FaultReceiver) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to the receiver."""
    return await asyncio.open_connection("127.0.0.1", URL(receiver.url).port)
