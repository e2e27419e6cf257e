"""How many events per second reach one webhook, compared to a bare loop of posts?

The bare loop is ``async with session.post`` with a time-out of five seconds, 32 at a time, of
bytes that were encoded and signed beforehand. The library emits as many events, whose data was
made beforehand, and encodes, routes, orders, signs, posts and accounts for them within the time
that counts; 32 are in flight. Both send bodies of the same length to the same sink. They take
turns in short rounds, forwards and backwards; each round's ratio is to the bare round of the same
turn.

The sink must not be what is measured: it never sleeps, so that neither contender pays for waking
it more often than the other; and with the CPU time that it takes for a request of bare sockets,
one at a time on 32 connections, it has to be good for three times as many as either contender
sends.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from statistics import median
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from benchmarks.bare import (
    IN_FLIGHT,
    KEY,
    SESSIONS,
    Post,
    by_turns,
    open_bare,
    post_all,
    prepared,
    ratios,
)
from benchmarks.children import Child
from benchmarks.harness import main
from benchmarks.processes import in_fresh_process, run_loop
from benchmarks.result import Result, Table, Target
from benchmarks.traffic import message
from relaybox_hooks import Hooks, Webhook

Loop: TypeAlias = Literal["asyncio", "uvloop"]

LOOPS: Final[Sequence[Loop]] = ("asyncio", "uvloop")
#: The sink's rate over a contender's.
_SPARE: Final = 3.0
#: What a process's CPU time is counted in, seconds.
_TICK: Final = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """Events of a round, and how many rounds count."""

    events: int
    rounds: int


_FULL: Final = Plan(events=1000, rounds=45)
_QUICK: Final = Plan(events=64, rounds=1)


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of each round and CPU seconds of each, on one event loop."""

    loop: Loop
    events: int
    bare: list[float]
    hooks: list[float]
    bare_cpu: list[float]
    hooks_cpu: list[float]
    sink_per_second: float
    received: int


def flood(post: Post, requests: int) -> None:
    """Send a request again and again, from sockets without an HTTP client or an event loop."""
    url = urlsplit(post.url)
    head = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", f"Content-Length: {len(post.body)}"]
    head += [f"{name}: {value}" for name, value in post.headers.items()]
    request = "\r\n".join((*head, "", "")).encode() + post.body
    with ExitStack() as stack:
        address = url.hostname, url.port
        sockets = [stack.enter_context(socket.create_connection(address)) for _ in range(IN_FLIGHT)]
        for each in sockets:
            each.sendall(request)
        for each in islice(cycle(sockets), requests - IN_FLIGHT):
            each.recv(4096)  # an answer is much shorter, and comes in one piece
            each.sendall(request)
        for each in sockets:
            each.recv(4096)


def sink_rate(requests: int) -> float:
    """Requests per second of its own CPU time that the sink takes."""
    with Child("benchmarks.servers.sink") as sink:
        (post,) = prepared([sink.url("/flooded")])
        flood(post, requests)  # what it imports and opens does not count
        began = sink.cpu()
        flood(post, requests)
        return requests / max(sink.cpu() - began, _TICK)


async def _measure(loop: Loop, plan: Plan) -> Run:
    cpu: dict[str, list[float]] = {"bare": [], "hooks": []}

    def stop(name: str, began: float, cpu_began: float) -> float:
        seconds = time.perf_counter() - began
        cpu[name].append(time.process_time() - cpu_began)
        return seconds

    with Child("benchmarks.servers.sink", "--awake") as sink:
        posts = prepared([sink.url("/compared")] * plan.events)
        messages = [message(number) for number in range(plan.events)]
        webhook = Webhook(
            sink.url("/compared"),
            ["room:publish"],
            KEY,
            concurrency=IN_FLIGHT,
            queue_size=plan.events,
        )
        async with open_bare() as session, Hooks([webhook]) as hooks:

            async def bare_round() -> float:
                gc.collect()
                began, cpu_began = time.perf_counter(), time.process_time()
                await post_all(session, posts, IN_FLIGHT)
                return stop("bare", began, cpu_began)

            async def hooks_round() -> float:
                gc.collect()
                began, cpu_began = time.perf_counter(), time.process_time()
                for number, data in enumerate(messages):
                    await hooks.emit("room:publish", data, SESSIONS[number % len(SESSIONS)])
                await hooks.join()
                return stop("hooks", began, cpu_began)

            bare, ours = await by_turns((bare_round, hooks_round), plan.rounds)
            received = len(sink.take()["/compared"]["received"])
    rate = sink_rate(plan.events * 30)
    return Run(loop, plan.events, bare, ours, cpu["bare"][1:], cpu["hooks"][1:], rate, received)


def measure(loop: Loop, plan: Plan) -> Run:
    """One event loop's rounds; call it in a process of its own."""
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - the other loop's process is to be without it

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return run_loop(_measure(loop, plan))


def tables(runs: Sequence[Run]) -> list[Table]:
    """Rates, their ratio, CPU, and what the sink could have taken."""
    rows: list[list[str | float]] = []
    spare: list[list[str | float]] = []
    for run in runs:
        found = ratios(run.bare, run.hooks)
        rows.append(
            [
                run.loop,
                round(run.events / median(run.bare)),
                round(run.events / median(run.hooks)),
                median(found),
                f"{min(found):.2f}-{max(found):.2f}",
                median(run.bare_cpu) / run.events * 1e6,
                median(run.hooks_cpu) / run.events * 1e6,
                median(ratios(run.bare_cpu, run.hooks_cpu)),
            ]
        )
        spare.append([run.loop, round(run.sink_per_second), 1 / used(run)])
    columns = ["", "bare/s", "hooks/s", "ratio", "range"]
    columns += ["bare CPU us", "hooks CPU us", "ratio"]
    title = f"Delivered per second, {IN_FLIGHT} in flight, medians of {len(runs[0].bare)} rounds"
    return [
        Table(title, columns, rows),
        Table("What the sink takes", ("", "per second of CPU", "over the contenders"), spare),
    ]


def used(run: Run) -> float:
    """The share of what the sink takes that the faster contender makes use of."""
    fastest = run.events / min(median(run.bare), median(run.hooks))
    return fastest / run.sink_per_second


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    runs = [in_fresh_process(measure, loop, plan) for loop in LOOPS]
    return Result(
        tables=tables(runs),
        targets=[
            *(
                Target(
                    f"seconds, hooks / bare loop, {each.loop}",
                    median(ratios(each.hooks, each.bare)),
                    1.0,
                )
                for each in runs
            ),
            *(Target(f"sink used, {each.loop}", used(each), 1 / _SPARE) for each in runs),
        ],
        figures={"runs": [asdict(each) for each in runs]},
        contenders=("uvloop",),
    )


if __name__ == "__main__":
    main("throughput", __doc__, run)
