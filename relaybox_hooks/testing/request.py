"""Requests of a fault receiver: record type and parser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from multidict import CIMultiDict

from relaybox_hooks.testing.faults import Fault

CONNECTION: Final = re.compile(rb"(?i)\r\nconnection:([^\r]*)")
_CONTENT_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d+)")
_TRANSFER_ENCODING: Final = re.compile(rb"(?i)\r\ntransfer-encoding:([^\r]*)")
WEBHOOK_ID: Final = re.compile(rb"(?i)\r\nx-relaybox-webhook-id:([^\r]*)")


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedRequest:
    """Request that was read completely. The receiver sets the last two members later.

    Attributes:
        path: request target without its query.
        query: text after the ``?``, undecoded; ``""`` without a query.
        order: position in the order of arrival, from 1.
        connection: number of the connection, from 1.
        position: position on the connection, from 1; above 1 the connection was kept alive.
        webhook_id: value of ``X-Relaybox-Webhook-Id``.
        event_id: member ``id`` of the JSON body, if it is a string.
        head: raw request line and header lines.
        body: decoded body, bytes.
        fault: fault that was played, or will be once released; ``None`` until it is chosen.
        answered_status: status of the response, set when the operating system has accepted its
            last byte; ``None`` as long as the client cannot have seen a complete response.
    """

    method: str
    path: str
    query: str
    order: int
    connection: int
    position: int
    webhook_id: str | None
    event_id: str | None
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    fault: Fault | None = None
    answered_status: int | None = None

    @property
    def headers(self) -> CIMultiDict[str]:
        """Return the header fields, names in any case. Parsed at each access."""
        lines = self.head.decode("latin-1").split("\r\n")[1:-1]
        pairs = (line.partition(":") for line in lines)
        return CIMultiDict((name, value.strip()) for name, _, value in pairs)

    def json(self) -> Any:
        """Return the JSON value of the body.

        Raises:
            ValueError: the body is not JSON.
        """
        return orjson.loads(self.body)


def split_request(buffer: bytearray) -> tuple[bytes, bytes, int] | None:
    """Parse the first request in the buffer.

    Stateless: parses from the start at each call, because most requests arrive in one piece.

    Returns:
        head, body and length in the buffer; ``None`` if the request is incomplete.

    Raises:
        ValueError: the size of a chunk is not a number.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[: end + 2])
    if b"chunked" in header_field(head, _TRANSFER_ENCODING).lower():
        chunked = _dechunk(buffer, end + 4)
        return chunked and (head, *chunked)
    size = end + 4 + int(header_field(head, _CONTENT_LENGTH) or b"0")
    return (head, bytes(buffer[end + 4 : size]), size) if len(buffer) >= size else None


def header_field(head: bytes, pattern: re.Pattern[bytes]) -> bytes:
    """Return the value of the first header line that matches ``pattern``, else ``b""``."""
    found = pattern.search(head)
    return found[1].strip() if found else b""


def _dechunk(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    """Return the body of the chunks from ``start`` and their end; ``None`` if incomplete."""
    chunks: list[bytearray] = []
    while (end := buffer.find(b"\r\n", start)) >= 0:
        size = int(buffer[start:end].partition(b";")[0], 16)
        if size < 1:
            last = buffer.find(b"\r\n\r\n", end)  # after the trailers, if any
            return None if last < 0 else (b"".join(chunks), last + 4)
        start = end + 2 + size + 2
        if len(buffer) < start:
            return None
        chunks.append(buffer[end + 2 : start - 2])
    return None


def event_id_of(body: bytes) -> str | None:
    """Return the member ``id`` of a JSON object, if it is a string, else ``None``."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None
