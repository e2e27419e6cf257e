"""Faults: the responses and failures that a receiver can produce, as immutable values.

A fault plays on an :class:`Exchange`. To write your own, subclass :class:`Fault` and override
:meth:`Fault.play`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final, Literal, Protocol, TypeAlias

from multidict import CIMultiDict

from relaybox_hooks.errors import ConfigError

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS: Final = (204, 304)  # responses without a body: RFC 9112 §6.3

#: Earliest moment at which a fault can play: when the connection is accepted, when it is ready for
#: a request (the same, without TLS), at the first bytes of a request, or when a request was read.
Stage: TypeAlias = Literal["accepted", "connected", "started", "read"]


class Exchange(Protocol):
    """Operations of a fault on the connection of its request. One fault plays at a time."""

    def write(self, data: bytes) -> None:
        """Send ``data``; buffers what the client does not read yet."""

    def stream(self, chunks: Iterator[bytes], interval: float, status: int) -> None:
        """Write a chunk every ``interval`` seconds, as fast as the client reads, then finish."""

    def finish(
        self, status: int, *, responses: int = 1, close: bool = False, then: Fault | None = None
    ) -> None:
        """Record the response as complete, then serve the next request of the connection.

        Args:
            status: status of the response.
            responses: number of complete responses written, those without a request included.
            close: close the connection instead of serving it further.
            then: fault to play before the next request is served.
        """

    def next_request(self, fault: Fault) -> None:
        """Play ``fault`` for the next request of the connection, instead of the script's."""

    def stop_reading(self) -> None:
        """Read nothing further of the connection, until the client disconnects."""

    def later(self, seconds: float, fault: Fault) -> None:
        """Play ``fault`` after ``seconds``, unless the client has disconnected by then."""

    def hold(self, fault: Fault) -> None:
        """Play ``fault`` at the receiver's ``release()``."""

    def close(self) -> None:
        """Close the connection (FIN) after all written data."""

    def reset(self) -> None:
        """Reset the connection at once (RST)."""


class Fault(ABC):
    """Base class of faults: the response to one request, or its failure.

    Attributes:
        stage: earliest moment at which the fault can play. One that plays when the connection is
            accepted or connected is chosen by :meth:`FaultScript.accept`, and nothing of the
            connection's requests is read; if it is chosen later, it plays then.
    """

    __slots__ = ()
    stage: ClassVar[Stage] = "read"

    @abstractmethod
    def play(self, exchange: Exchange) -> None:
        """Play the fault. Must not block; use the exchange for delays."""


@dataclass(frozen=True, slots=True)
class Answer(Fault):
    """Complete, well-formed response. ``Connection: close`` also closes the connection.

    Attributes:
        status: final status, 200 to 599.
        headers: headers; ``Content-Length`` is added unless given or not allowed.
        body: body, bytes.
        wire: encoded response, bytes.
        closes: True if the connection is closed after the response.

    Raises:
        ConfigError: ``status`` is not a final status.
    """

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
    """Another fault, usually an :class:`Answer`, delayed by ``seconds``."""

    answer: Fault
    seconds: float

    def play(self, exchange: Exchange) -> None:
        exchange.later(self.seconds, self.answer)


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """No response until the client disconnects or the receiver closes."""

    def play(self, exchange: Exchange) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Hold(Fault):
    """No response until ``receiver.release()``, then ``answer``."""

    answer: Fault = field(default_factory=Answer)

    def play(self, exchange: Exchange) -> None:
        exchange.hold(self.answer)


@dataclass(frozen=True, slots=True)
class Drip(Fault):
    """Complete response, sent one byte every ``interval`` seconds."""

    answer: Answer
    interval: float

    def play(self, exchange: Exchange) -> None:
        drops = (bytes((byte,)) for byte in self.answer.wire)
        exchange.stream(drops, self.interval, self.answer.status)


@dataclass(frozen=True, slots=True)
class ResetBeforeRead(Fault):
    """RST at the first bytes of a request, which counts as an attempt but not as a request.

    A script that needs the request (a function, a mapping of paths) chooses it only after the
    request was read and recorded; the client sees the same RST.
    """

    stage: ClassVar[Stage] = "started"

    def play(self, exchange: Exchange) -> None:
        exchange.reset()


@dataclass(frozen=True, slots=True)
class ResetAfterRead(Fault):
    """RST instead of a response, after the request was read completely."""

    def play(self, exchange: Exchange) -> None:
        exchange.reset()


@dataclass(frozen=True, slots=True)
class CloseAfterRead(Fault):
    """FIN instead of a response, after the request was read completely."""

    def play(self, exchange: Exchange) -> None:
        exchange.close()


@dataclass(frozen=True, slots=True)
class CloseMidResponse(Fault):
    """Head of ``answer`` and ``after_bytes`` bytes of its body, then FIN: a truncated response.

    Not recorded as answered, although a client that judges by the status line alone accepts
    it. The same applies to
    :class:`relaybox_hooks.testing.EndlessBody`.

    Raises:
        ConfigError: ``after_bytes`` does not truncate the body.
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
    """Bytes that are not valid HTTP, then FIN."""

    data: bytes = b"\x00\xffgarbage\r\n\r\n"

    def play(self, exchange: Exchange) -> None:
        exchange.write(self.data)
        exchange.close()


@dataclass(frozen=True, slots=True)
class Redirect(Fault):
    """Empty response that redirects the client to ``location``."""

    location: str
    status: int = 302

    def __post_init__(self) -> None:
        Answer(self.status)

    def play(self, exchange: Exchange) -> None:
        Answer(self.status, {"Location": self.location}).play(exchange)
