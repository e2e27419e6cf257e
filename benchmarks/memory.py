"""How much memory do a million emits to a dead endpoint and an idle webhook take?

The dead endpoint refuses connections, or takes them and never answers. Resident memory is read
every tenth of the way; after the first fifth, in which the lane and the bounded store of dead
letters fill up, the slope through what is read tells what an emit leaves behind. With the
breaker off as many attempts as possible are made, so that theirs would show too.

Idle webhooks are registered ten thousand at a time, then sent one event each. Resident memory is
what counts; tracemalloc, in a run of its own, does not see what OpenSSL holds for the signing
keys, but tells which file allocated the rest.

Each measurement has a fresh interpreter.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Final, Literal, TypeAlias

from benchmarks.children import Child
from benchmarks.harness import main
from benchmarks.paths import ROOT
from benchmarks.processes import in_fresh_process, resident, run_loop
from benchmarks.result import Result, Table
from benchmarks.target import Target
from benchmarks.traffic import message, sessions
from relaybox_hooks import Attempt, BreakerPolicy, Hooks, Observer, Session, Timeouts, Webhook

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
#: Bytes that an idle webhook may hold.
_IDLE: Final = 4096
#: Webhooks that are sent their event together. They share one host, so this many connections
#: are open at most.
_WAVE: Final = 100
#: Emits after which the emitter lets the event loop turn, as a server does between requests.
_TURN: Final = 50


# A dead endpoint


@dataclass(frozen=True, slots=True)
class Dead:
    """What emits to a dead endpoint came to. ``resident`` is in bytes, after ``emits`` each."""

    name: str
    emits: list[int]
    resident: list[int]
    slope: float
    seconds: float
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
    began = time.perf_counter()
    levels.append(resident())
    for number in range(1, emits + 1):
        await hooks.emit("room:publish", message(number), crowd[number % len(crowd)])
        if number % _TURN == 0:
            await asyncio.sleep(0)
        if number % (emits // 10) == 0:
            points.append(number)
            levels.append(resident())
    seconds = time.perf_counter() - began
    stats, letters = hooks.stats(), len(await hooks.dead_letters())
    await hooks.aclose(0)
    return Dead(
        name=f"{death}, {'' if breaker else 'no '}breaker",
        emits=points,
        resident=levels,
        slope=linear_regression(points[2:], levels[2:]).slope,
        seconds=seconds,
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
            *(each.attempts, each.dropped, each.failed, each.pending, each.letters),
        ]
        for each in runs
    ]
    fate = (
        "",
        "bytes/emit",
        "emits/s",
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


# Idle webhooks


@dataclass(frozen=True, slots=True)
class Idle:
    """Bytes and tasks of ``webhooks`` idle ones, and bytes by the file that allocated them."""

    webhooks: int
    registered: float
    delivered: float
    tasks_registered: int
    tasks_delivered: int
    files: dict[str, float]


def idle_webhooks(webhooks: int, traced: bool) -> Idle:
    """Register ``webhooks``, look; send each an event, look again. Bytes are per webhook.

    Args:
        traced: count by tracemalloc, not by resident memory.
    """
    with Child("benchmarks.servers.sink") as sink:
        return run_loop(_idle_webhooks(sink, webhooks, traced))


async def _idle_webhooks(sink: Child, webhooks: int, traced: bool) -> Idle:
    crowd = {app: sessions(1, app)[0] for app in _apps(webhooks)}
    async with Hooks() as hooks:
        # Connections, caches and code that any number of webhooks share are no webhook's.
        warm_up = [_webhook(sink, f"warm-up-{n}", "warm-up") for n in range(_WAVE)]
        for webhook in warm_up:
            hooks.add_webhook(webhook)
        await _deliver(hooks, sessions(1, "warm-up"))
        for webhook in warm_up:
            hooks.remove_webhook(webhook.id)
        del warm_up, webhook
        if traced:
            tracemalloc.start()
        base, tasks = _held(traced), len(asyncio.all_tasks())
        for number in range(webhooks):
            hooks.add_webhook(_webhook(sink, f"{number:05}", f"app-{number // _WAVE}"))
        registered, tasks_registered = _held(traced) - base, len(asyncio.all_tasks()) - tasks
        await _deliver(hooks, crowd.values())
        assert hooks.stats().delivered == _WAVE + webhooks
        delivered, tasks_delivered = _held(traced) - base, len(asyncio.all_tasks()) - tasks
        files = _by_file(webhooks) if traced else {}
    return Idle(
        webhooks,
        registered / webhooks,
        delivered / webhooks,
        tasks_registered,
        tasks_delivered,
        files,
    )


def _apps(webhooks: int) -> list[str]:
    return [f"app-{wave}" for wave in range(-(-webhooks // _WAVE))]


def _webhook(sink: Child, name: str, app: str) -> Webhook:
    """One as in life: its own path and key, an event family, bound to an application."""
    return Webhook(sink.url(f"/hooks/{name}"), ["room:*"], name.rjust(32, "k"), app_pid=app)


async def _deliver(hooks: Hooks, crowd: Iterable[Session]) -> None:
    """One event to the webhooks of one application after the other."""
    for session in crowd:
        await hooks.emit("room:publish", message(0), session)
        await hooks.join()


def _held(traced: bool) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] if traced else resident()


def _by_file(webhooks: int) -> dict[str, float]:
    """Bytes per webhook by what allocated them: a module here, or the package it is in."""
    sizes: Counter[str] = Counter()
    for line in tracemalloc.take_snapshot().statistics("filename"):
        path = Path(line.traceback[0].filename)
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.parent.name
        sizes[name] += line.size
    return {name: size / webhooks for name, size in sizes.most_common() if size > webhooks}


def idle_tables(by_rss: Idle, traced: Idle) -> list[Table]:
    """Bytes by state, and who holds them."""
    rows = [
        ("registered", by_rss.tasks_registered, by_rss.registered, traced.registered),
        ("each delivered one, idle", by_rss.tasks_delivered, by_rss.delivered, traced.delivered),
    ]
    return [
        Table(
            f"{by_rss.webhooks:,} idle webhooks, bytes each",
            ("", "tasks in all", "resident", "tracemalloc"),
            rows,
        ),
        Table("Who holds what tracemalloc sees", ("", "bytes each"), list(traced.files.items())),
    ]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    emits, webhooks = (2_000, 200) if quick else (1_000_000, 10_000)
    dead = [in_fresh_process(dead_endpoint, *case, emits) for case in _DEATHS]
    idle = in_fresh_process(idle_webhooks, webhooks, traced=False)
    traced = in_fresh_process(idle_webhooks, webhooks, traced=True)
    return Result(
        tables=[*dead_tables(dead), *idle_tables(idle, traced)],
        targets=[
            *(Target(f"bytes/emit, {each.name}", each.slope, _FLAT) for each in dead),
            Target("bytes each, registered", idle.registered, _IDLE),
            Target("bytes each, delivered and idle", idle.delivered, _IDLE),
            Target("tasks of idle webhooks", idle.tasks_registered, 0),
            Target("tasks of webhooks that delivered", idle.tasks_delivered, 0),
        ],
        figures={
            "dead": [asdict(each) for each in dead],
            "idle": asdict(idle),
            "idle_traced": asdict(traced),
        },
    )


if __name__ == "__main__":
    main("memory", __doc__, run)
