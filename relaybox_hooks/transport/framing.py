"""Heads of responses that every client reads alike. llhttp, our parser, is lenient with some.

Each function looks at a head that llhttp takes, in what was read: ``start`` is where its status
line begins, ``end`` where the empty line behind it ends.
"""

from __future__ import annotations

import re
from typing import Final

#: What most responses begin with; these lines need no closer look.
USUAL: Final = (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n")

#: RFC 9112 §4. llhttp takes other protocols and versions too, and any byte in a reason.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] \d{3}(?: [\t -~\x80-\xff]*)?\r\n")

#: Not to be found in a head without chunks behind it. No length of 64 bits has more digits, and
#: some clients take no more.
FAULTY: Final = re.compile(
    rb"\r\n(?:transfer-encoding:|content-length:[ \t]*\d{21})", re.IGNORECASE
)
#: Begins such a number, unless more than 2^40 is left of it.
ZEROS: Final = b"00000000"
_LONG_SIZE: Final = re.compile(rb"\r\n[\da-fA-F]{21}")

_CODING: Final = re.compile(rb"\r\ntransfer-encoding:([^\r\n]*)", re.IGNORECASE)
_FRAMED: Final = re.compile(rb"\r\n(?:transfer-encoding|content-length):", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection:[^\r\n]*close", re.IGNORECASE)


def begins_well(read: bytes | bytearray, start: int, end: int) -> bool:
    """Return whether a head is HTTP/1.1's, or HTTP/1.0's that does not say ``close`` as well."""
    if read.startswith(USUAL, start):
        return True
    if not _STATUS_LINE.match(read, start, end):
        return False
    return read.startswith(b"HTTP/1.1", start) or not _CLOSE.search(read, start, end)


def has_plain_length(read: bytes | bytearray, start: int, end: int) -> bool:
    """Return whether a head without chunks behind it names no coding, and no endless number."""
    return begins_well(read, start, end) and not FAULTY.search(read, start, end)


def is_chunked(read: bytes | bytearray, start: int, end: int) -> bool:
    """Return whether a head names ``chunked`` and no other coding, and no size is endless.

    HTTP/1.0 knows no codings (RFC 9112 §6.1).
    """
    codings = _CODING.findall(read, start, end)
    if codings != [b" chunked"] and [each.strip().lower() for each in codings] != [b"chunked"]:
        return False
    if _LONG_SIZE.search(read, end - 2):
        return False
    if read.startswith(USUAL, start):
        return True
    return begins_well(read, start, end) and read.startswith(b"HTTP/1.1", start)


def is_interim(read: bytes | bytearray, start: int, end: int) -> bool:
    """Return whether a head may be an interim response's, which has no body (RFC 9110 §15.2)."""
    return begins_well(read, start, end) and not _FRAMED.search(read, start, end)
