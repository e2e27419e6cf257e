"""Does an exchange keep its promises whatever bytes come, with h11 as the judge?

``PYTHONPATH=.:tests python -m transport.exchange_fuzz --streams 100000 --seed 7`` is the long form
of what test_exchange_fuzz.py runs. It prints how many streams fell in each class, and fails with
the number of the first one after which a promise was broken; ``--only`` runs that one.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import h11
from aiohttp import ClientError, ClientOSError, ServerDisconnectedError
from support.exchanges import Line
from transport.exchange_streams import Stream, stream, valid

from relaybox_hooks.transport.exchange import EarlyResponseError, ResponseError

#: All that may come instead of a status.
NAMED: Final = (ResponseError, EarlyResponseError, ServerDisconnectedError, ClientOSError)

_LOSSES: Final = (ConnectionResetError(104, "reset"), TimeoutError(), OSError(), None, ValueError())
_MOST_INTERIM: Final = 16
_BODY_START: Final = 4096


class BrokenPromiseError(AssertionError):
    """Raised for a stream after which the exchange did what it must not do."""


@dataclass(slots=True)
class Verdict:
    """How h11 reads a stream, as a client that has sent a POST.

    Attributes:
        status: of the final response's head; 0 if it refuses that, or saw no whole one.
        headers: of the same head.
        body: as far as it was read.
        complete: it read one whole final response.
        exact: and there was nothing beyond it.
        keeps_alive: the endpoint keeps the connection for another exchange.
        refused: it has something against the stream.
    """

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False
    exact: bool = False
    keeps_alive: bool = False
    refused: bool = False

    def read(self, client: h11.Connection, data: bytes) -> None:
        """Read on; no data is the end of the connection."""
        try:
            client.receive_data(data)
            while not self.complete and self._take(client.next_event()):
                pass
        except h11.RemoteProtocolError:
            self.refused = True

    def _take(self, event: object) -> bool:
        match event:
            case h11.Response():
                self.status, self.headers = event.status_code, list(event.headers.raw_items())
                self.keeps_alive = _keeps_alive(event)
            case h11.Data():
                self.body += bytes(event.data)
            case h11.EndOfMessage():
                self.complete = True
        return isinstance(event, h11.InformationalResponse | h11.Response | h11.Data)


def judge(given: Stream) -> Verdict:
    """Return how h11 reads a stream."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 24)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    verdict = Verdict()
    verdict.read(client, given.data)
    verdict.exact = verdict.complete and not client.trailing_data[0]
    if given.ending == "eof" and not verdict.complete and not verdict.refused:
        verdict.read(client, b"")  # which ends a body without framing
    return verdict


def _keeps_alive(response: h11.Response) -> bool:
    """Return what RFC 9112 §9.3 says; h11 itself keeps no connection of HTTP/1.0."""
    values = [value for name, value in response.headers if name == b"connection"]
    words = {word.strip() for word in b",".join(values).lower().split(b",")}
    return b"close" not in words and (response.http_version == b"1.1" or b"keep-alive" in words)


class Trial:
    """One stream, the exchange it is fed to, and what is said of it.

    Attributes:
        classes: those the stream fell in.
    """

    def __init__(self, given: Stream, draw: random.Random) -> None:
        self.given = given
        self.draw = draw
        self.verdict = judge(given)
        self.line = Line()
        self.exchange = self.line.exchange
        self.answer = self.exchange.send(b"request", given.limit)
        self.line.transport.buffered = given.unsent
        self.pooled = False
        self.classes: list[str] = []

    def run(self) -> None:
        """Feed the stream, end it, and hold every promise against what came of it."""
        self._feed()
        self.pooled = self.exchange.state == "idle"
        hanging = not self.answer.done()
        text, response = self.exchange.retry_after, self.exchange.response()
        status, exact = self.exchange.status, self.verdict.exact
        known = not hanging or (status == self.verdict.status and not self._undisturbed())
        self._expect(known or not exact, "whole, and still waited for")
        self._check_pooled()
        if self.pooled and self.given.ending == "open":
            self._serve_again()
        self._end()
        result = self._result()
        self._check_result(result)
        if isinstance(result, int) and self._read_whole():
            self._check_response(response.headers, response.body, text)
        self._classify(result, hanging)

    def _feed(self) -> None:
        read = 0
        for part in self.given.cuts:
            if not self.line.ended:
                read += len(part)
            self.line.feed(part)
            self._expect(read <= self.given.limit or self.answer.done(), "read past the bound")

    def _end(self) -> None:
        """End the connection as the stream does it; a hanging one is ended from our side."""
        exchange = self.exchange
        if self.given.ending == "eof":
            exchange.eof_received()
        elif self.given.ending == "reset":
            exchange.connection_lost(self.draw.choice(_LOSSES))
        elif not self.answer.done() or self.pooled:
            exchange.abort()
        exchange.connection_lost(None)
        self._expect(self.line.ended, "not aborted in the end")

    def _result(self) -> int | ClientError:
        self._expect(self.answer.done(), "never settled")
        error = self.answer.exception()
        if error is None:
            return self.answer.result()
        self._expect(type(error) in NAMED, f"failed with {error!r}")
        assert isinstance(error, ClientError)
        return error

    def _serve_again(self) -> None:
        """A clean exchange on the same connection is answered rightly."""
        again = valid(self.draw)
        self.exchange.received = b""  # as the pool does
        answer = self.exchange.send(b"next", len(again.data))
        self.line.feed(again.data)
        if again.interim <= _MOST_INTERIM and again.framing != "eof":
            self._expect(answer.done() and answer.result() == again.status, "the next one: status")
            self._expect((self.exchange.state == "idle") == again.serves_again, "the next: pool")
            self.classes.append("served again")
        self.exchange.abort()
        self.exchange.connection_lost(None)
        self._expect(answer.done(), "the next one: never settled")
        answer.exception()

    # Promises

    def _expect(self, condition: bool, promise: str) -> None:
        if not condition:
            raise BrokenPromiseError(promise)

    def _read_whole(self) -> bool:
        return self.verdict.complete and len(self.given.data) <= self.given.limit

    def _undisturbed(self) -> bool:
        """Return whether the stream is a valid one, and nothing else stands against it."""
        given = self.given
        bounded = len(given.data) <= given.limit and given.interim <= _MOST_INTERIM
        return not given.mutations and not given.unsent and bounded

    def _check_pooled(self) -> None:
        verdict = self.verdict
        if self.pooled:
            self._expect(not verdict.refused, "pooled, though h11 refuses the response")
            self._expect(verdict.exact, "pooled, though it is not one whole response exactly")
            self._expect(verdict.keeps_alive, "pooled, though the endpoint closes the connection")
            self._expect(not self.given.unsent, "pooled, though some of the request waits")
        if self._undisturbed():
            self._expect(self.pooled == self.given.serves_again, "a valid response: pool")

    def _check_result(self, result: int | ClientError) -> None:
        given, verdict = self.given, self.verdict
        if isinstance(result, int):
            self._expect(verdict.status in (0, result), f"status {result}, not {verdict.status}")
            self._expect(_has_head(given.data, result), f"status {result} without a whole head")
            self._expect(not (given.unsent and 200 <= result < 300), "taken before it was sent")
        if self._undisturbed():
            self._expect(result == given.status, f"a valid response: {result!r}")

    def _check_response(
        self, headers: tuple[tuple[str, str], ...], body: bytes, retry_after: str | None
    ) -> None:
        verdict = self.verdict
        read = [(_text(name), _text(value)) for name, value in verdict.headers]
        self._expect(_alike(headers, read), f"headers {headers}, not {read}")
        if self.pooled or self._undisturbed():  # else our parser may have ended it earlier
            expected = verdict.body[:_BODY_START]
            self._expect(body == expected, f"body {body!r}, not {expected!r}")
        asked = [value for name, value in read if name.lower() == "retry-after"]
        self._expect(retry_after == (asked[0] if asked else None), f"asked for {retry_after!r}")

    def _classify(self, result: int | ClientError, hanging: bool) -> None:
        verdict = self.verdict
        if verdict.complete:
            seen = "accepted" if verdict.exact or self.given.ending == "eof" else "with surplus"
        else:
            seen = "refused" if verdict.refused else "cut short"
        what = "status" if isinstance(result, int) else type(result).__name__
        self.classes.append(f"{seen}: {'pooled' if self.pooled else what}")
        self.classes += ["left hanging"] if hanging and self.given.ending == "open" else []
        self.classes += ["valid"] if self._undisturbed() else []
        self.classes += ["after interim responses"] if self.pooled and self.given.interim else []
        self.classes += [f"{self.given.framing}: pooled"] if self.pooled else []
        self.classes += [name for name in self.given.mutations if self.pooled]


def _has_head(data: bytes, status: int) -> bool:
    """Return whether there is a whole head of this status, however lines end."""
    return re.search(rb" %03d[^\n]*\n(?:[^\n]+\n)*?\r?\n" % status, data) is not None


def _alike(ours: Sequence[tuple[str, str]], theirs: Sequence[tuple[str, str]]) -> bool:
    """Return whether headers are the same; h11 has the names of codings in lower case."""
    return [(name, value.lower()) for name, value in ours] == [
        (name, value.lower()) for name, value in theirs
    ]


def _text(part: bytes) -> str:
    return part.decode("latin-1")


async def fuzz(streams: int, seed: int, first: int = 0) -> Counter[str]:
    """Run streams ``first`` and following ones; return how many fell in each class.

    Raises:
        BrokenPromiseError: at the first stream after which a promise was broken.
    """
    classes: Counter[str] = Counter()
    for number in range(first, first + streams):
        draw = random.Random(f"{seed}/{number}")
        given = stream(draw)
        try:
            trial = Trial(given, draw)
            trial.run()
        except Exception as error:
            error.add_note(f"--seed {seed} --only {number}: {given}")
            raise
        classes.update(trial.classes)
    return classes


def main() -> int:
    """Run as many streams as are asked for, and print the classes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run one stream, by its number")
    options = parser.parse_args()
    if options.only is None:
        classes = asyncio.run(fuzz(options.streams, options.seed))
    else:
        classes = asyncio.run(fuzz(1, options.seed, options.only))
    for name, count in sorted(classes.items()):
        print(f"{count:8,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
