"""How much memory do a million emits to a dead endpoint and an idle webhook take?

The dead endpoint refuses connections, or takes them and never answers. Resident memory is read
every tenth of the way; after the first fifth, in which the lane and the bounded store of dead
letters fill up, the slope through what is read tells what an emit leaves behind. With the
breaker off as many attempts as possible are made, so that theirs would show too.

Idle webhooks: see ``idle``.

Each measurement has a fresh interpreter.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import linear_regression
from typing import Final, Literal, TypeAlias

from benchmarks import idle
from benchmarks.children import Child
from benchmarks.harness import main
from benchmarks.processes import in_fresh_process, resident, run_loop
from benchmarks.result import Result, Table
from benchmarks.target import Target
from benchmarks.traffic import message, sessions
from relaybox_hooks import Attempt, BreakerPolicy, Hooks, Observer, Timeouts, Webhook

Death: TypeAlias = Literal["refuses", "hangs"]

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
_MIB: Final = 1 << 20
#: How the endpoint is dead, and whether the breaker spares it.
_DEATHS: Final[Sequence[tuple[Death, bool]]] = (
    ("refuses", True),
    ("refuses", False),
    ("hangs", False),
)
#: Bytes that an emit may leave behind. An event alone is 500 and more; less than one is the
#: allocator's noise, a mebibyte in a million.
_FLAT: Final = 1.0
#: Emits after which the emitter lets the event loop turn, as a server does between requests.
_TURN: Final = 50


@dataclass(frozen=True, slots=True)
class Dead:
    """What emits to a dead endpoint came to. ``resident`` is in bytes, after ``emits`` each."""

    name: str
    emits: list[int]
    resident: list[int]
    slope: float
    seconds: float
    cpu: float
    attempts: int
    dropped: int
    failed: int
    pending: int
    letters: int


class _AttemptCount(Observer):
    count = 0

    def attempted(self, attempt: Attempt) -> None:
        self.count += 1


@contextmanager
def dead_url(death: Death) -> Iterator[str]:
    """The URL of an endpoint that is dead while the block lasts."""
    if death == "hangs":
        with Child("benchmarks.servers.sick") as sick:
            yield sick.url("/hang")
    else:
        with socket.socket() as bound:  # it does not listen, and nobody else can
            bound.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


def dead_endpoint(death: Death, breaker: bool, emits: int) -> Dead:
    """Emit ``emits`` events to one dead webhook and watch the memory."""
    logging.getLogger("relaybox_hooks").addHandler(logging.NullHandler())
    with dead_url(death) as url:
        return run_loop(_emit_to_the_dead(death, url, breaker, emits))


async def _emit_to_the_dead(death: Death, url: str, breaker: bool, emits: int) -> Dead:
    webhook = Webhook(
        url,
        ["room:publish"],
        _KEY,
        overflow="drop_oldest",
        timeouts=Timeouts(total=0.25),
        breaker=BreakerPolicy() if breaker else None,
    )
    attempts, crowd = _AttemptCount(), sessions(1000)
    points, levels = [0], []
    hooks = Hooks([webhook], observers=[attempts])
    await hooks.start()
    began, spent = time.perf_counter(), time.process_time()
    levels.append(resident())
    for number in range(1, emits + 1):
        await hooks.emit("room:publish", message(number), crowd[number % len(crowd)])
        if number % _TURN == 0:
            await asyncio.sleep(0)
        if number % (emits // 10) == 0:
            points.append(number)
            levels.append(resident())
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    stats, letters = hooks.stats(), len(await hooks.dead_letters())
    await hooks.aclose(0)
    return Dead(
        name=f"{death}, {'' if breaker else 'no '}breaker",
        emits=points,
        resident=levels,
        slope=linear_regression(points[2:], levels[2:]).slope,
        seconds=seconds,
        cpu=spent,
        attempts=attempts.count,
        dropped=stats.dropped,
        failed=stats.failed,
        pending=stats.pending,
        letters=letters,
    )


def dead_tables(runs: Sequence[Dead]) -> list[Table]:
    """Memory by emits, and what became of them."""
    levels: list[list[str | float]] = [
        [f"{emits:,}", *(each.resident[place] / _MIB for each in runs)]
        for place, emits in enumerate(runs[0].emits)
    ]
    fates: list[list[str | float]] = [
        [
            each.name,
            each.slope,
            each.emits[-1] / each.seconds,
            each.cpu / each.emits[-1] * 1e6,
            *(each.attempts, each.dropped, each.failed, each.pending, each.letters),
        ]
        for each in runs
    ]
    fate = (
        "",
        "bytes/emit",
        "emits/s",
        "CPU µs/emit",
        "attempts",
        "dropped",
        "given up",
        "pending",
        "dead letters",
    )
    return [
        Table("Resident MiB after emits to an endpoint", ("", *(e.name for e in runs)), levels),
        Table("Slope after the first fifth, and what became of the events", fate, fates),
    ]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    emits = 2_000 if quick else 1_000_000
    dead = [in_fresh_process(dead_endpoint, *case, emits) for case in _DEATHS]
    idling, traced = idle.measure(quick), idle.measure_traced(quick)
    by_rss = idling.by_rss
    return Result(
        tables=[*dead_tables(dead), *idle.idle_tables(by_rss, traced), idling.table],
        targets=[
            *(Target(f"bytes/emit, {each.name}", each.slope, _FLAT) for each in dead),
            idling.target,
            Target("bytes each, registered", by_rss.registered, idle.LIMIT),
            Target("tasks of idle webhooks", by_rss.tasks_registered, 0),
            Target("tasks of webhooks that delivered", by_rss.tasks_delivered, 0),
        ],
        figures={
            "dead": [asdict(each) for each in dead],
            "idle": asdict(by_rss),
            "idle_traced": asdict(traced),
            "connection": idling.connection,
        },
    )


if __name__ == "__main__":
    main("memory", __doc__, run)
