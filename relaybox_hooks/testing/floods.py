"""Floods: responses that never end, or only after a number of needless parts.

Each is written as fast as the client reads, so that the receiver buffers one block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, islice, repeat
from typing import Final

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing.faults import Answer, Exchange, Fault
from relaybox_hooks.validation import check_int

#: Parts that are written in one piece if there is no interval between them: 0.5 to 20 KiB.
_BLOCK: Final = 256
_INTERIM: Final = (100, *range(102, 200))  # 101 would end HTTP/1.1 on the connection


@dataclass(frozen=True, slots=True)
class EndlessBody(Fault):
    """Endless chunked body, as fast as the client reads or 8 KiB every ``interval`` seconds."""

    status: int = 200
    interval: float = 0.0

    def __post_init__(self) -> None:
        Answer(self.status)

    def play(self, exchange: Exchange) -> None:
        chunks = repeat(b"2000\r\n" + bytes(0x2000) + b"\r\n")
        exchange.stream(chain((_chunked_head(self.status),), chunks), self.interval, self.status)


@dataclass(frozen=True, slots=True)
class EndlessHeaders(Fault):
    """Endless headers, as fast as the client reads or one every ``interval`` seconds."""

    status: int = 200
    interval: float = 0.0

    def __post_init__(self) -> None:
        Answer(self.status)

    def play(self, exchange: Exchange) -> None:
        line, end, _ = Answer(self.status).wire.partition(b"\r\n")
        exchange.stream(chain((line + end,), _fields()), self.interval, self.status)


@dataclass(frozen=True, slots=True)
class EndlessInterim(Fault):
    """Endless interim responses, as fast as the client reads or one every ``interval`` seconds.

    Attributes:
        status: status of the empty final response, which follows if there is a ``limit``.
        interval: seconds between the interim responses.
        limit: number of interim responses; ``None`` for no end.
        interim: status of the interim responses: 100, or 102 to 199.

    Raises:
        ConfigError: a status or the ``limit`` is out of range.
    """

    status: int = 200
    interval: float = 0.0
    limit: int | None = None
    interim: int = 100

    def __post_init__(self) -> None:
        _check(self.status, self.limit)
        if self.interim not in _INTERIM:
            raise ConfigError("interim", self.interim, "use 100, or 102 to 199")

    def play(self, exchange: Exchange) -> None:
        parts = repeat(b"HTTP/1.1 %d \r\n\r\n" % self.interim)
        flood = _blocks(parts, self.limit, self.interval)
        exchange.stream(chain(flood, (Answer(self.status).wire,)), self.interval, self.status)


@dataclass(frozen=True, slots=True)
class EndlessBlankLines(Fault):
    """Endless empty lines before the status line, at the pace of :class:`EndlessInterim`.

    Attributes:
        status: status of the empty response, which follows if there is a ``limit``.
        interval: seconds between the lines.
        limit: number of lines, CRLF each; ``None`` for no end.

    Raises:
        ConfigError: the ``status`` or the ``limit`` is out of range.
    """

    status: int = 200
    interval: float = 0.0
    limit: int | None = None

    def __post_init__(self) -> None:
        _check(self.status, self.limit)

    def play(self, exchange: Exchange) -> None:
        flood = _blocks(repeat(b"\r\n"), self.limit, self.interval)
        exchange.stream(chain(flood, (Answer(self.status).wire,)), self.interval, self.status)


@dataclass(frozen=True, slots=True)
class EndlessChunkExtension(Fault):
    """Body of one chunk with an endless extension, at the pace of :class:`EndlessInterim`.

    Attributes:
        status: status of the response.
        interval: seconds between the bytes of the extension.
        limit: length of the extension's value, bytes; ``None`` for no end. The body that follows
            is ``b"x"``.

    Raises:
        ConfigError: the ``status`` or the ``limit`` is out of range.
    """

    status: int = 200
    interval: float = 0.0
    limit: int | None = None

    def __post_init__(self) -> None:
        _check(self.status, self.limit)

    def play(self, exchange: Exchange) -> None:
        start = _chunked_head(self.status) + b"1;filler="
        flood = _blocks(repeat(b"0"), self.limit, self.interval)
        end = b"\r\nx\r\n0\r\n\r\n"
        exchange.stream(chain((start,), flood, (end,)), self.interval, self.status)


@dataclass(frozen=True, slots=True)
class EndlessTrailers(Fault):
    """Empty chunked body with endless trailers, at the pace of :class:`EndlessInterim`.

    Attributes:
        status: status of the response.
        interval: seconds between the trailers.
        limit: number of trailers; ``None`` for no end.

    Raises:
        ConfigError: the ``status`` or the ``limit`` is out of range.
    """

    status: int = 200
    interval: float = 0.0
    limit: int | None = None

    def __post_init__(self) -> None:
        _check(self.status, self.limit)

    def play(self, exchange: Exchange) -> None:
        start = _chunked_head(self.status) + b"0\r\n"
        flood = _blocks(_fields(), self.limit, self.interval)
        exchange.stream(chain((start,), flood, (b"\r\n",)), self.interval, self.status)


def _check(status: int, limit: int | None) -> None:
    Answer(status)
    if limit is not None:
        check_int("limit", limit)


def _chunked_head(status: int) -> bytes:
    return Answer(status, {"Transfer-Encoding": "chunked"}).wire


def _fields() -> Iterator[bytes]:
    return (b"X-Filler-%d: %064d\r\n" % (number, number) for number in count())


def _blocks(parts: Iterator[bytes], limit: int | None, interval: float) -> Iterator[bytes]:
    """Yield the first ``limit`` parts, joined in blocks unless there is an interval."""
    parts = islice(parts, limit)
    size = 1 if interval else _BLOCK
    while block := b"".join(islice(parts, size)):
        yield block
