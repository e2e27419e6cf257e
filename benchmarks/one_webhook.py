"""Events to one webhook beside a bare loop of posts: rounds that throughput and https share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.bare import (
    IN_FLIGHT,
    KEY,
    SESSIONS,
    Timed,
    open_bare,
    post_all,
    prepared,
    side_by_side,
)
from benchmarks.children import Child
from benchmarks.raw import RawClient, sink_rate
from benchmarks.traffic import message
from relaybox_hooks import Hooks, Webhook

_PATH: Final = "/compared"


@dataclass(frozen=True, slots=True)
class Plan:
    """Events of a round, how many rounds count, and requests that the sink is flooded with."""

    events: int
    rounds: int
    flood: int


@dataclass(frozen=True, slots=True)
class Rounds:
    """What the contenders came to.

    Attributes:
        events: of a round.
        bare: the loop of ``async with session.post``.
        hooks: the library.
        raw: fixed bytes over bare protocols, which speak no TLS; None where it was asked for.
        sink_per_second: requests that the sink takes, per second of its CPU time.
        received: requests that it got, of all of them.
    """

    events: int
    bare: Timed
    hooks: Timed
    raw: Timed | None
    sink_per_second: float
    received: int

    def spare(self, *contenders: Timed) -> float:
        """Return how many times as much as the fastest of these sent the sink could take."""
        fastest = min(median(each.seconds) for each in contenders)
        return self.sink_per_second * fastest / self.events

    def per_second(self, contender: Timed) -> int:
        """Return the requests per second, by the median round."""
        return round(self.events / median(contender.seconds))

    def cpu(self, contender: Timed) -> float:
        """Return the microseconds of CPU time per request, by the median round."""
        return median(contender.cpu) / self.events * 1e6


async def play(plan: Plan, certificate: str | None = None) -> Rounds:
    """Let all contenders send as much as the others, in turns.

    Args:
        certificate: the file of a key and a certificate that this process trusts, for TLS.
    """
    tls: Sequence[str] = ("--tls", certificate) if certificate else ()
    scheme = "https" if certificate else "http"
    async with AsyncExitStack() as stack:
        sink = stack.enter_context(Child("benchmarks.servers.sink", "--awake", *tls, scheme=scheme))
        url = sink.url(_PATH)
        posts = prepared([url] * plan.events)
        messages = [message(number) for number in range(plan.events)]
        webhook = Webhook(url, ["room:publish"], KEY, concurrency=IN_FLIGHT, queue_size=plan.events)
        session = await stack.enter_async_context(open_bare())
        hooks = await stack.enter_async_context(Hooks([webhook]))

        async def emit_all() -> None:
            for number, data in enumerate(messages):
                await hooks.emit("room:publish", data, SESSIONS[number % len(SESSIONS)])
            await hooks.join()

        contenders = {"bare": lambda: post_all(session, posts, IN_FLIGHT), "hooks": emit_all}
        if certificate is None:
            raw = await stack.enter_async_context(RawClient(posts[0]))
            contenders["raw"] = lambda: raw.send(plan.events)
        found = await side_by_side(contenders, plan.rounds)
        received = len(sink.take()[_PATH]["received"])
    rate = sink_rate(plan.flood, tls, scheme)
    return Rounds(plan.events, found["bare"], found["hooks"], found.get("raw"), rate, received)
