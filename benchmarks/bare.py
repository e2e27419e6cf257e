"""What a server would do without the library: post the bytes itself, in a bare loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time, time
from typing import Final

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from benchmarks.traffic import message, sessions
from relaybox_hooks.wire.envelope import Envelope, format_timestamp
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
#: Requests under way at a time.
IN_FLIGHT: Final = 32
#: More connections than requests in flight, so that no order key waits for itself.
SESSIONS: Final = sessions(512)


@dataclass(frozen=True, slots=True)
class Post:
    """A request that is ready to be sent: as long as the library's, and signed like it."""

    url: str
    body: bytes
    headers: dict[str, str]


def prepared(urls: Sequence[str]) -> list[Post]:
    """A signed request to each of ``urls``."""
    key, posts = SigningKey(KEY), []
    for number, url in enumerate(urls):
        session = SESSIONS[number % len(SESSIONS)]
        event_id = f"0192b4f2-8a10-7000-8000-{number:012}"
        data = message(number)
        envelope = Envelope.encode(event_id, "room:publish", data, session, 2**20, time=0.0)
        body = envelope.at(format_timestamp(time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "a-bare-loop/1.0",
            WEBHOOK_ID_HEADER: "9b2f6b0e-5c1d-4c39-9f6e-3f6f3d8f3a51",
            SIGNATURE_HEADER: key.sign(body),
        }
        posts.append(Post(url, body, headers))
    return posts


def open_bare(room: int = 0) -> ClientSession:
    """An aiohttp session as one would open it, with ``room`` for so many connections; 0 for any."""
    return ClientSession(connector=TCPConnector(limit=room), timeout=ClientTimeout(total=5))


async def post_all(session: ClientSession, posts: Sequence[Post], in_flight: int) -> None:
    """Send ``posts``, so many at a time, and wait for the answers."""
    left = iter(posts)
    await asyncio.gather(*(_post_each(session, left) for _ in range(in_flight)))


async def _post_each(session: ClientSession, posts: Iterator[Post]) -> None:
    for post in posts:
        async with session.post(post.url, data=post.body, headers=post.headers):
            pass


async def by_turns(
    contenders: Sequence[Callable[[], Awaitable[float]]], rounds: int
) -> list[list[float]]:
    """Let the contenders take turns, forwards and backwards; the figures of each, by round.

    A first round warms up and does not count.
    """
    figures: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds + 1):
        order = list(zip(contenders, figures, strict=True))
        for contender, found in order if turn % 2 else reversed(order):
            figure = await contender()
            if turn:
                found.append(figure)
    return figures


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds that a contender's rounds took, by the clock and of the process's CPU time."""

    seconds: list[float]
    cpu: list[float]


async def side_by_side(
    contenders: Mapping[str, Callable[[], Awaitable[object]]], rounds: int
) -> dict[str, Timed]:
    """Let the contenders do the same work in turns, and time each; see :func:`by_turns`."""
    cpu: dict[str, list[float]] = {name: [] for name in contenders}

    def timed(name: str, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[float]]:
        async def one_round() -> float:
            gc.collect()
            began, spent = perf_counter(), process_time()
            await work()
            took = perf_counter() - began
            cpu[name].append(process_time() - spent)
            return took

        return one_round

    seconds = await by_turns([timed(*each) for each in contenders.items()], rounds)
    return {
        name: Timed(found, cpu[name][1:]) for name, found in zip(contenders, seconds, strict=True)
    }


def ratios(ours: Sequence[float], bare: Sequence[float]) -> list[float]:
    """Each round's figure over the bare loop's of the same turn."""
    return [one / other for one, other in zip(ours, bare, strict=True)]
