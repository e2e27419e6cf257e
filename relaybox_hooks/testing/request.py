"""A request as the receiver reads it: what it keeps of it, and how its bytes are told apart."""

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
    """A request that was read whole. The receiver alone fills in the last two members.

    Attributes:
        path: the request target without its query.
        query: what follows the ``?``, undecoded; ``""`` where there is none.
        order: its place in the order of full arrival, from 1.
        connection: the number of its connection, from 1.
        turn: which request of its connection it is, from 1; above 1 means keep-alive.
        webhook_id: the header ``X-Relaybox-Webhook-Id``.
        event_id: the member ``id`` of the JSON body, where that is a string.
        head: the raw request line and header lines.
        fault: what it met, or will meet once released; ``None`` while the script is asked.
        answered_status: the status of the response, once the operating system took its last
            byte; ``None`` while, or because, the client cannot have seen a whole response.
    """

    method: str
    path: str
    query: str
    order: int
    connection: int
    turn: int
    webhook_id: str | None
    event_id: str | None
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    fault: Fault | None = None
    answered_status: int | None = None

    @property
    def headers(self) -> CIMultiDict[str]:
        """The header fields, by name in any case. Parsed at each call: keep it in loops."""
        lines = self.head.decode("latin-1").split("\r\n")[1:-1]
        pairs = (line.partition(":") for line in lines)
        return CIMultiDict((name, value.strip()) for name, _, value in pairs)

    def json(self) -> Any:
        """The body's JSON value; raises ``ValueError`` where it has none."""
        return orjson.loads(self.body)


def split_request(buffer: bytearray) -> tuple[bytes, bytes, int] | None:
    """The buffer's first request: its head, its body, the bytes it takes; ``None`` before.

    Pure, and asked anew as bytes arrive: nearly every request comes in one piece.

    Raises:
        ValueError: a chunk's size is no number.
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
    """The value of the first header line that fits the pattern; ``b""`` where none does."""
    found = pattern.search(head)
    return found[1].strip() if found else b""


def _dechunk(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    """The body of the chunks from ``start`` on and where they end, ``None`` while not whole."""
    chunks: list[bytearray] = []
    while (end := buffer.find(b"\r\n", start)) >= 0:
        size = int(buffer[start:end].partition(b";")[0], 16)
        if size < 1:
            stop = buffer.find(b"\r\n\r\n", end)  # trailers may stand between
            return None if stop < 0 else (b"".join(chunks), stop + 4)
        start = end + 2 + size + 2
        if len(buffer) < start:
            return None
        chunks.append(buffer[end + 2 : start - 2])
    return None


def event_id_of(body: bytes) -> str | None:
    """The member ``id`` of a body that is a JSON object, where that is a string."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None
