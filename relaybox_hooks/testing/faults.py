"""What can become of a request, as small values.

A fault plays itself on an :class:`Exchange`, so a test may write its own: subclass
:class:`Fault`, override :meth:`Fault.play`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain, count, repeat
from typing import Final, Protocol

from multidict import CIMultiDict

from relaybox_hooks.errors import ConfigError

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS: Final = (204, 304)  # RFC 9112 §6.3: these end with their head


class Exchange(Protocol):
    """What a fault can do to one request's connection. One fault plays at a time."""

    def write(self, data: bytes) -> None:
        """Send ``data``; what the client does not take yet is kept for it."""

    def stream(self, chunks: Iterator[bytes], interval: float, status: int) -> None:
        """Write a chunk every ``interval`` seconds at the client's pace, then finish."""

    def finish(self, status: int, *, close: bool = False) -> None:
        """The response is whole: count it, then serve the connection's next request."""

    def later(self, seconds: float, fault: Fault) -> None:
        """Play ``fault`` in ``seconds``, unless the client has left by then."""

    def hold(self, fault: Fault) -> None:
        """Play ``fault`` once the receiver is told to release."""

    def close(self) -> None:
        """End the connection in order (FIN) after what was written."""

    def reset(self) -> None:
        """End the connection at once (RST)."""


class Fault(ABC):
    """What becomes of one request."""

    __slots__ = ()

    @abstractmethod
    def play(self, exchange: Exchange) -> None:
        """Do it. Must not block: what takes time goes through the exchange."""


@dataclass(frozen=True, slots=True)
class Answer(Fault):
    """A whole, well-formed response. A ``Connection: close`` header is also acted upon."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    body: bytes = b""
    wire: bytes = field(init=False, repr=False, compare=False)
    closes: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ConfigError("status", self.status, "use a final status, 200 to 599")
        fields = CIMultiDict(self.headers)
        if self.status not in _BODILESS and "Transfer-Encoding" not in fields:
            fields.setdefault("Content-Length", str(len(self.body)))
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        object.__setattr__(self, "wire", head + self.body)
        object.__setattr__(self, "closes", fields.get("Connection", "").lower() == "close")

    def play(self, exchange: Exchange) -> None:
        exchange.write(self.wire)
        exchange.finish(self.status, close=self.closes)


@dataclass(frozen=True, slots=True)
class Late(Fault):
    """Another fault, usually an :class:`Answer`, ``seconds`` after the request was read."""

    answer: Fault
    seconds: float

    def play(self, exchange: Exchange) -> None:
        exchange.later(self.seconds, self.answer)


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """No answer ever: silence until the client leaves or the receiver closes."""

    def play(self, exchange: Exchange) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Hold(Fault):
    """Silence until ``receiver.release()``, then ``answer``."""

    answer: Fault = field(default_factory=Answer)

    def play(self, exchange: Exchange) -> None:
        exchange.hold(self.answer)


@dataclass(frozen=True, slots=True)
class Drip(Fault):
    """A whole answer, one byte every ``interval`` seconds."""

    answer: Answer
    interval: float

    def play(self, exchange: Exchange) -> None:
        drops = (bytes((byte,)) for byte in self.answer.wire)
        exchange.stream(drops, self.interval, self.answer.status)


@dataclass(frozen=True, slots=True)
class ResetBeforeRead(Fault):
    """RST at the first bytes of a request, which is not read: an attempt, no request.

    A script that must know the request first (a callable, a mapping of paths) can only choose
    it once the request was read and listed; the client sees the same RST.
    """

    def play(self, exchange: Exchange) -> None:
        exchange.reset()


@dataclass(frozen=True, slots=True)
class ResetAfterRead(Fault):
    """RST instead of an answer, once the request was read whole."""

    def play(self, exchange: Exchange) -> None:
        exchange.reset()


@dataclass(frozen=True, slots=True)
class CloseMidResponse(Fault):
    """The head of ``answer`` and ``after_bytes`` of its body, then FIN: fewer than promised.

    Not counted as answered, though a client that judges by the status line alone takes it for
    an answer. The same holds for :class:`EndlessBody`.
    """

    answer: Answer
    after_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.after_bytes < len(self.answer.body):
            raise ConfigError("after_bytes", self.after_bytes, "must cut the answer's body short")

    def play(self, exchange: Exchange) -> None:
        missing = len(self.answer.body) - self.after_bytes
        exchange.write(self.answer.wire[:-missing])
        exchange.close()


@dataclass(frozen=True, slots=True)
class Garbage(Fault):
    """Bytes that are not HTTP, then FIN."""

    data: bytes = b"\x00\xffgarbage\r\n\r\n"

    def play(self, exchange: Exchange) -> None:
        exchange.write(self.data)
        exchange.close()


@dataclass(frozen=True, slots=True)
class EndlessBody(Fault):
    """A chunked body without end, as fast as the client reads, or 8 KiB per ``interval``."""

    status: int = 200
    interval: float = 0.0

    def __post_init__(self) -> None:
        Answer(self.status)

    def play(self, exchange: Exchange) -> None:
        head = Answer(self.status, {"Transfer-Encoding": "chunked"}).wire
        chunks = repeat(b"2000\r\n" + bytes(0x2000) + b"\r\n")
        exchange.stream(chain((head,), chunks), self.interval, self.status)


@dataclass(frozen=True, slots=True)
class EndlessHeaders(Fault):
    """Header lines without end, as fast as the client reads, or one per ``interval``."""

    status: int = 200
    interval: float = 0.0

    def __post_init__(self) -> None:
        Answer(self.status)

    def play(self, exchange: Exchange) -> None:
        line = f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}\r\n".encode()
        fields = (b"X-Filler-%d: %064d\r\n" % (number, number) for number in count())
        exchange.stream(chain((line,), fields), self.interval, self.status)


@dataclass(frozen=True, slots=True)
class Redirect(Fault):
    """An empty answer that sends the client to ``location``."""

    location: str
    status: int = 302

    def __post_init__(self) -> None:
        Answer(self.status)

    def play(self, exchange: Exchange) -> None:
        Answer(self.status, {"Location": self.location}).play(exchange)
