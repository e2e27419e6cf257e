"""Byte streams that an endpoint may answer with: valid ones, and what becomes of them.

Everything is drawn from one ``random.Random``: a seed and a number name a stream.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

#: How a stream ends: by the end of the connection, by its loss, or not at all.
Ending: TypeAlias = Literal["eof", "reset", "open"]

#: How a body ends.
Framing: TypeAlias = Literal["length", "chunked", "eof", "none"]

#: Raw bytes that are read, unless the bound itself is tried.
LIMIT: Final = 65_536

_ENDINGS: Final[tuple[Ending, ...]] = ("eof", "reset", "open")
_CUT_SHORT: Final = 200
_STATUSES: Final = (200, 201, 202, 204, 204, 301, 304, 400, 404, 410, 429, 500, 503, 599)
_REASONS: Final = (b" OK", b" ", b"", b" Not so good", b" \xe4\xf6\xfc", b" a\tb")
_FIELDS: Final = (
    b"Date: Wed, 25 Nov 2026 01:00:00 GMT",
    b"Server: test/1.0",
    b"Content-Type: text/plain; charset=utf-8",
    b"Retry-After: 7",
    b"retry-after:   120  ",
    b"Retry-After: Wed, 25 Nov 2026 01:00:00 GMT",
    b"X-Empty:",
    b"X-Blank: \t ",
    b"X-Latin: \xe9\xff",
    b"X-Tab: a\tb",
    b"Set-Cookie: a=b; Path=/",
    b"X-Long: " + b"v" * 300,
    b"Upgrade: websocket",
)
_CONNECTIONS: Final = (b"keep-alive", b"close", b"Keep-Alive, x", b"x, Close", b"upgrade", b"x")
_NASTY: Final = (
    *(b"\r", b"\n", b"\r\n", b"\n\r", b"\r\n\r\n", b"\n\n", b"\0", b"\t", b" ", b"\x0b", b"\x0c"),
    *(b":", b";", b",", b"=", b'"', b"0", b"5", b"f", b"-", b"+", b"\x7f", b"\x80", b"\xff"),
    *(b"\x1c", b"\x85", b"\xa0", b"HTTP/1.1 ", b"0\r\n\r\n", b"\r\n0\r\n\r\n", b"\r\n "),
)
_NEWLINES: Final = (
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\r",
    b"",
    b"\r\n ",
    b"\r\n\t",
    b"\r\n\r\n",
    b" \r\n",
)
_LINES: Final = (
    *(b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 5, 5", b"Content-Length: 5,"),
    *(b"Content-Length: +5", b"Content-Length: -1", b"Content-Length: 0x5", b"Content-Length:"),
    *(b"Content-Length: 1_0", b"Content-Length: 5 5", b"Content-Length: \t5", b"content-length:5 "),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: 18446744073709551616"),
    *(b"Content-Length: 000000000000000000000005", b"Content-Length: \x0b5", b"Content-Length : 5"),
    *(b"Content_Length: 5", b"Content-Length: 5;", b"Content-Length: \xb2", b"Content-Length: 5\0"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"transfer-encoding:chunked"),
    *(b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Transfer-Encoding: gzip", b"Transfer-Encoding: identity", b"Transfer-Encoding:"),
    *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked;q=1"),
    *(b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: ,"),
    *(b"Transfer-Encoding: chunked,", b"Transfer-Encoding:\r\n chunked", b"TE: chunked"),
    *(b"Content-Length: " + b"0" * 30, b"Transfer-Encoding: chunked\t"),
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: close, keep-alive"),
    *(b"Connection: keep-alive\r\nConnection: close", b"Connection:\r\n close", b"Connection:"),
    *(
        b"Connection: clos\x65",
        b"Connection: close;",
        b'Connection: "close"',
        b"Connection: ,close",
    ),
    *(b"Connection:close", b"Connection: \tclose\t", b"Connection: upgrade\r\nUpgrade: h2c"),
    *(b"Connection: keep-alive, close", b"Connection: closed", b"Proxy-Connection: close"),
    *(b"Connection: upgrade, close", b"Connection: x\t, close", b"Connection: x;y, close"),
    *(b" folded: 1", b"\tfolded", b"no colon", b": no name", b"Bad Name: 1", b"X-Nul: a\0b"),
    *(b"Retry-After: 3\r\n 4", b"X-Ff: a\x0cb", b"X-Vt: \x0b", b"X-\xe9: 1", b"X: \x01", b"X:\x7f"),
)
_CODES: Final = (
    *(b"000", b"099", b"100", b"101", b"102", b"103", b"110", b"199", b"200", b"204", b"205"),
    *(b"304", b"600", b"999", b"2000", b"20", b"-20", b"+20", b"2 0", b"0200", b"2\xb20", b""),
)
_VERSIONS: Final = (
    *(b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/3.0", b"http/1.1"),
    *(
        b"HTTP/1.10",
        b"HTTP/11",
        b"HTTP/1.",
        b"ICY",
        b"ICE/1.0",
        b"RTSP/1.0",
        b"HTTP /1.1",
        b"HTTP/ 1.1",
    ),
    *(b"HTTPS/1.1", b" HTTP/1.1", b"HTTP/1.1 ", b"\x00HTTP/1.1", b"\xef\xbb\xbfHTTP/1.1"),
)
_SIZES: Final = (
    *(b"0" * 24 + b"5", b"0" * 25, b"0" * 19 + b"5"),
    *(b"0x5", b"5 ", b" 5", b"+5", b"-5", b"05", b"0000000000000000005", b"ffffffffffffffff"),
    *(b"FFFFFFFFFFFFFFFFF", b"10000000000000000", b"", b"g", b"5;ext", b"5 ;a=b", b"5; a=b"),
    *(b'5;a="b"', b'5;a="', b'5;a="\r\n"', b"5;a=b;c", b"5;", b"5;;", b"5;\x00", b"5\t", b"5\r"),
    *(
        b"0",
        b"00",
        b"0 ",
        b"0;x",
        b"0;x=y",
        b"0\t",
        b"1\n",
        b"5;a=\xff",
        b'5;a="\\"',
        b"5=",
        b"0\0",
    ),
)


class Stream(NamedTuple):
    """What an endpoint sends, and how.

    Attributes:
        data: all of it.
        cuts: the parts it arrives in.
        ending: what comes after it.
        limit: raw bytes that are read of a response.
        unsent: bytes of the request that wait while the response comes.
        mutations: what was done to a valid response, by name; none if it is one still.
        status: of a valid response.
        serves_again: a valid response after which the connection goes back to the pool.
        framing: of a valid response.
        interim: how many interim responses come before a valid one.
    """

    data: bytes
    cuts: tuple[bytes, ...]
    ending: Ending
    limit: int
    unsent: int
    mutations: tuple[str, ...]
    status: int
    serves_again: bool
    framing: Framing
    interim: int


class Valid(NamedTuple):
    """A valid response, with any interim ones before it; the attributes are a stream's."""

    data: bytes
    status: int
    serves_again: bool
    framing: Framing
    interim: int


def stream(draw: random.Random) -> Stream:
    """Return the next stream: a third is valid, the others were that before they were mutated."""
    base = valid(draw)
    data, names = base.data, []
    for _ in range(draw.choice((0, 0, 1, 1, 1, 2, 3))):
        name, mutate = draw.choice(MUTATIONS)
        data = mutate(data, draw)
        names.append(name)
    limit = LIMIT if draw.random() < 0.9 else draw.randrange(1, len(data) + 20)
    unsent = 0 if draw.random() < 0.9 else 1000
    ending: Ending = draw.choice(_ENDINGS)
    return Stream(data, cut(data, draw), ending, limit, unsent, tuple(names), *base[1:])


def valid(draw: random.Random) -> Valid:
    """Return a response that every HTTP/1.1 client understands."""
    status = draw.choice(_STATUSES)
    version = b"HTTP/1.0" if draw.random() < 0.15 else b"HTTP/1.1"
    framing = _framing(status, version, draw)
    fields = draw.sample(_FIELDS, draw.randrange(5))
    connection = draw.choice(_CONNECTIONS) if draw.random() < 0.4 else b""
    if connection:
        fields.append(_name(b"Connection", draw) + b": " + connection)
    body, plain = b"", True
    content = draw.randbytes(draw.choice((0, 1, 2, 5, 40, 5000 if draw.random() < 0.1 else 9)))
    if framing == "length":
        fields.append(_name(b"Content-Length", draw) + b": %d" % len(content))
        body = content
    elif framing == "chunked":
        fields.append(_name(b"Transfer-Encoding", draw) + b": chunked")
        body, plain = chunked(content, draw)
    elif framing == "eof":
        body = content
    draw.shuffle(fields)
    before = _interims(draw)
    head = version + b" %d" % status + draw.choice(_REASONS)
    words = re.split(rb"[, ]+", connection.lower())
    alive = b"close" not in words and (version == b"HTTP/1.1" or b"keep-alive" in words)
    return Valid(
        b"".join(before) + b"\r\n".join((head, *fields, b"", b"")) + body,
        status,
        alive and framing != "eof" and plain,
        framing,
        len(before),
    )


def chunked(content: bytes, draw: random.Random) -> tuple[bytes, bool]:
    """Return a body in chunks, and whether its end is plain: no extension there, no trailer."""
    parts, at = [], 0
    while at < len(content):
        size = draw.randint(1, len(content) - at)
        extension = draw.choice((b"", b"", b";a", b";a=b", b';a="b c"', b";a=b;c=d"))
        zeros = draw.choice((b"", b"", b"00"))
        size_line = zeros + (b"%x" if draw.random() < 0.5 else b"%X") % size + extension
        parts.append(size_line + b"\r\n" + content[at : at + size] + b"\r\n")
        at += size
    extension = draw.choice((b"", b"", b"", b";last"))
    trailers = draw.choice((b"", b"", b"", b"X-Sum: 1\r\n", b"Retry-After: 9\r\nX: y\r\n"))
    end = b"0" + extension + b"\r\n" + trailers + b"\r\n"
    return b"".join(parts) + end, end == b"0\r\n\r\n"


def cut(data: bytes, draw: random.Random) -> tuple[bytes, ...]:
    """Return the same bytes in parts: one, each byte, or cut anywhere, most of all at line ends."""
    way = draw.randrange(4)
    if way == 0 or len(data) < 2:
        return (data,) if data else ()
    if way == 1 and len(data) < 1000:
        return tuple(data[at : at + 1] for at in range(len(data)))
    places = {draw.randrange(1, len(data)) for _ in range(draw.randint(1, 6))}
    if way == 2:
        ends = [match.end() for match in re.finditer(rb"[\r\n]", data)]
        places = set(draw.sample(ends, min(len(ends), 6))) - {len(data)} or places
    bounds = [0, *sorted(places), len(data)]
    return tuple(data[start:end] for start, end in itertools.pairwise(bounds))


def _framing(status: int, version: bytes, draw: random.Random) -> Framing:
    if status in (204, 304):
        return "none"
    if version == b"HTTP/1.0":
        return draw.choice(("length", "length", "eof"))
    return draw.choice(("length", "length", "chunked", "chunked", "eof"))


def _interims(draw: random.Random) -> list[bytes]:
    """Return none mostly, a few otherwise, and now and then as many as may be, or one more."""
    number = draw.choice((0, 0, 0, 0, 1, 2, draw.choice((0, 0, 3, 16, 17))))
    return [
        b"HTTP/1.1 %d Wait\r\n" % draw.choice((100, 102, 103, 104))
        + draw.choice((b"", b"Link: </a>\r\n", b"Retry-After: 1\r\n"))
        + b"\r\n"
        for _ in range(number)
    ]


def _name(name: bytes, draw: random.Random) -> bytes:
    return draw.choice((name, name.lower(), name.upper()))


# Mutations


def _at(data: bytes, draw: random.Random) -> int:
    """Return a place, within the first lines mostly."""
    return draw.randrange(1 + (len(data) if draw.random() < 0.5 else min(len(data), _CUT_SHORT)))


def _flip(data: bytes, draw: random.Random) -> bytes:
    at = _at(data, draw)
    flipped = bytes(byte ^ (1 << draw.randrange(8)) for byte in data[at : at + 1])
    return data[:at] + flipped + data[at + 1 :]


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = _at(data, draw)
    return data[:at] + draw.choice(_NASTY) + data[at:]


def _overwrite(data: bytes, draw: random.Random) -> bytes:
    at, new = _at(data, draw), draw.choice(_NASTY)
    return data[:at] + new + data[at + len(new) :]


def _delete(data: bytes, draw: random.Random) -> bytes:
    at = _at(data, draw)
    return data[:at] + data[at + draw.choice((1, 1, 2, 10)) :]


def _repeat(data: bytes, draw: random.Random) -> bytes:
    at = _at(data, draw)
    part = data[at : at + draw.choice((1, 2, 20, 100))]
    return data[:at] + part * draw.choice((2, 2, 3, 50)) + data[at + len(part) :]


def _truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: _at(data, draw)]


def _newline(data: bytes, draw: random.Random) -> bytes:
    """Make one line end otherwise, or all of them."""
    new = draw.choice(_NEWLINES)
    lines = data.split(b"\r\n")
    if len(lines) < 2 or draw.random() < 0.1:
        return data.replace(b"\r\n", new)
    at = draw.randrange(1, len(lines))
    return b"\r\n".join(lines[:at]) + new + b"\r\n".join(lines[at:])


def _line(data: bytes, draw: random.Random) -> bytes:
    """Add a line to a head, or put it in the place of another one."""
    lines = data.split(b"\r\n")
    at = draw.randrange(len(lines)) if draw.random() < 0.5 else min(1, len(lines) - 1)
    lines[at : at + draw.choice((0, 0, 1))] = [draw.choice(_LINES)]
    return b"\r\n".join(lines)


def _repeat_line(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
    return b"\r\n".join(lines)


def _swap_lines(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _length(data: bytes, draw: random.Random) -> bytes:
    """Give a length that is not the body's, or write that one otherwise."""
    pattern = re.compile(rb"(?<=content-length: )\d+", re.IGNORECASE)
    if draw.random() < 0.3:  # the body's, written otherwise
        zeros, blanks = b"0" * draw.choice((0, 1, 19, 20, 21, 40)), draw.choice((b"", b" ", b"\t"))
        return pattern.sub(lambda match: blanks + zeros + match[0] + blanks, data, count=1)
    new = b"%d" % draw.choice((0, 1, 3, 1000, 2**31, 2**63, 2**64 - 1, 10**19))
    return pattern.sub(new, data, count=1)


def _code(data: bytes, draw: random.Random) -> bytes:
    return re.sub(rb"(?<=HTTP/1\.\d )\d{3}", draw.choice(_CODES), data, count=draw.choice((0, 1)))


def _version(data: bytes, draw: random.Random) -> bytes:
    new = draw.choice(_VERSIONS)
    return re.sub(rb"HTTP/\d\.\d", lambda _: new, data, count=draw.choice((0, 1)))


def _reason(data: bytes, draw: random.Random) -> bytes:
    new = draw.choice(_NASTY)
    return re.sub(rb"(HTTP/\d\.\d \d{3} ?)", lambda match: match[0] + new, data, count=1)


def _size(data: bytes, draw: random.Random) -> bytes:
    """Write a chunk's size otherwise."""
    found = list(re.finditer(rb"(?<=\r\n)[0-9a-fA-F]+(;[^\r\n]*)?(?=\r\n)", data))
    if not found:
        return data + draw.choice(_SIZES) + b"\r\n"
    match = draw.choice(found)
    return data[: match.start()] + draw.choice(_SIZES) + data[match.end() :]


def _surplus(data: bytes, draw: random.Random) -> bytes:
    """Send more than the response: anything, or another one, whole or in part."""
    more = draw.choice(_NASTY)
    if draw.random() < 0.5:
        more = valid(draw).data
        more = more[: draw.randint(1, len(more))] if draw.random() < 0.5 else more
    return data + more


def _leading(data: bytes, draw: random.Random) -> bytes:
    return draw.choice(_NASTY) + data


def _coding(data: bytes, draw: random.Random) -> bytes:
    """Name other codings, or name them otherwise."""
    lines = [line for line in _LINES if line.lower().startswith(b"transfer-encoding")]
    new = draw.choice(lines)
    return re.sub(rb"transfer-encoding: chunked", lambda _: new, data, count=1, flags=re.IGNORECASE)


MUTATIONS: Final[tuple[tuple[str, Callable[[bytes, random.Random], bytes]], ...]] = tuple(
    (function.__name__.strip("_"), function)
    for function in (
        *(_flip, _insert, _overwrite, _delete, _repeat, _truncate, _newline, _line, _repeat_line),
        *(_swap_lines, _length, _code, _version, _reason, _size, _surplus, _leading, _coding),
    )
)
