"""A name server on loopback, over UDP, that answers, refuses or stays silent as it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

A: Final = 1
AAAA: Final = 28
_FAMILIES: Final = {A: socket.AF_INET, AAAA: socket.AF_INET6}
_SERVFAIL: Final = 2
_NXDOMAIN: Final = 3


class NameServer:
    """Answers the names in ``addresses``; any other does not exist.

    ``silent`` and ``failing`` say of which names, or of all that end in ``.`` and such a name,
    a question is left without an answer, or answered SERVFAIL; ``failing`` and ``late`` hold
    questions too, a name and a type. What is late waits for ``answer_late()``.
    """

    def __init__(self, *, ttl: int = 0) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.silent: set[str] = set()
        self.failing: set[str | tuple[str, int]] = set()
        self.late: set[tuple[str, int]] = set()
        self.asked: list[tuple[str, int]] = []
        self._answers_late: list[Callable[[], None]] = []
        self._ttl = ttl
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @property
    def address(self) -> str:
        """Address and port, as a resolver's ``nameservers`` has it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def questions(self, name: str) -> list[int]:
        """The types that were asked of a name, in order."""
        return [kind for asked, kind in self.asked if asked == name]

    def answer_late(self) -> None:
        """Answer what has waited."""
        for answer in self._answers_late:
            answer()
        self._answers_late.clear()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._socket.setblocking(False)
        self._socket.bind((host, port))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        """Take all that has arrived: a server slower than its buffer fills would lose some."""
        with suppress(BlockingIOError):
            while True:
                query, client = self._socket.recvfrom(4_096)
                self._received(query, partial(self._send, client))

    def _send(self, client: tuple[str, int], answer: bytes) -> None:
        if self._socket.fileno() != -1:
            self._socket.sendto(answer, client)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._socket.fileno() != -1:
            self.close()

    def _received(self, query: bytes, send: Callable[[bytes], None]) -> None:
        name, kind, question = _parse(query)
        self.asked.append((name, kind))
        if _named(name, self.silent):
            return
        answer = self._answer(query, name, kind, question)
        if (name, kind) in self.late:
            self._answers_late.append(lambda: send(answer))
        else:
            send(answer)

    def _answer(self, query: bytes, name: str, kind: int, question: bytes) -> bytes:
        if _named(name, self.failing) or (name, kind) in self.failing:
            return _response(query, question, _SERVFAIL, [])
        if name not in self.addresses:
            return _response(query, question, _NXDOMAIN, [])
        family = _FAMILIES.get(kind)
        found = [a for a in self.addresses[name] if (":" in a) == (family == socket.AF_INET6)]
        packed = [socket.inet_pton(family, a) for a in found] if family else []
        return _response(query, question, 0, [_record(kind, self._ttl, rdata) for rdata in packed])


def _named(name: str, names: Iterable[object]) -> bool:
    return any(name == entry or name.endswith(f".{entry}") for entry in names)


def _parse(query: bytes) -> tuple[str, int, bytes]:
    labels = []
    at = 12  # RFC 1035 §4.1.1: a header has 12 octets
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    kind = int.from_bytes(query[at + 1 : at + 3], "big")
    return ".".join(labels), kind, query[12 : at + 5]


def _record(kind: int, ttl: int, rdata: bytes) -> bytes:
    name = b"\xc0\x0c"  # RFC 1035 §4.1.4: the name that stands at octet 12
    head = kind.to_bytes(2, "big") + b"\x00\x01" + ttl.to_bytes(4, "big")
    return name + head + len(rdata).to_bytes(2, "big") + rdata


def _response(query: bytes, question: bytes, code: int, records: list[bytes]) -> bytes:
    flags = (0x8180 | code).to_bytes(2, "big")
    counts = b"\x00\x01" + len(records).to_bytes(2, "big") + b"\x00\x00\x00\x00"
    return query[:2] + flags + counts + question + b"".join(records)
