"""How fast does a journal take events, and how are a million pending ones borne?

Events are accepted from 1, 32 and 256 emitters at a time, with both durabilities, while the
endpoint does not answer, so that nothing but accepting is measured. Beside it a bare loop of apsw
commits the same rows, encoded before, to the same tables with the same settings, as many to a
transaction as there are emitters. They take turns, and each turn is timed by the wall clock, as
committing waits for the disk; the processor's time, of all threads, is told besides.

Then a million events are left pending, resident memory is read every tenth of the way, and a
fresh interpreter opens the file and delivers a part of them to the quickest of sinks, from which
the time for all is reckoned.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression, median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, time
from typing import Any, Final

from uuid_utils import uuid7

from benchmarks.bare import KEY, ratios
from benchmarks.children import Child
from benchmarks.estimates import percentile, quartiles
from benchmarks.harness import main
from benchmarks.loop_turns import LoopTurns, lag
from benchmarks.processes import in_fresh_process, resident, run_loop
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.target import Target
from benchmarks.traffic import message, sessions
from benchmarks.turns import take_turns
from relaybox_hooks import Hooks, Timeouts, Webhook
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.journal.sqlite.schema import Durability, connect
from relaybox_hooks.wire.envelope import Envelope

_EVENT: Final = "room:publish"
_CROWD: Final = sessions(1000)
_MIB: Final = 1 << 20
#: Seconds in which nothing times out.
_LONG: Final = 86_400
_DURABILITIES: Final[Sequence[Durability]] = ("process", "power")
#: How many emitters there are at a time, and how many events they emit in a turn.
_EMITTERS: Final = {1: 1_000, 32: 8_000, 256: 16_000}
#: A bare loop may be at most so many times as fast with as many events to a transaction.
_AT_MOST: Final = 2.0
#: Bytes that a pending event may leave in memory: SQLite's cache of 8 MiB may fill meanwhile,
#: which is 8 bytes for each of a million. The event itself is 800.
_FLAT: Final = 8.0

_HOOKS: Final = "hooks"
_BARE: Final = "bare loop"

_INSERT_EVENT: Final = (
    "INSERT INTO event (ref, deliveries, id, name, prefix, time) VALUES (?, 1, ?, ?, ?, ?)"
)
_INSERT_DELIVERY: Final = (
    "INSERT INTO delivery (seq, event, webhook, key, due) VALUES (?, ?, 1, ?, ?)"
)


# Accepting


@dataclass(frozen=True, slots=True)
class Accepted:
    """How events were accepted: by rounds, seconds per event, of the clock and the processor.

    ``p50`` and ``p99`` are the seconds that an emit took; ``lag`` the 99th percentile of the event
    loop's turns, milliseconds of its thread's CPU time.
    """

    durability: Durability
    emitters: int
    seconds: dict[str, list[float]]
    cpu: dict[str, list[float]]
    p50: float
    p99: float
    lag: float
    stored: int

    def per_second(self, name: str) -> float:
        """Events per second, median of the rounds."""
        return 1 / median(self.seconds[name])


def dead_end(url: str) -> Webhook:
    """A webhook whose one request is never answered."""
    timeouts = Timeouts(total=_LONG)
    return Webhook(url, [_EVENT], KEY, id="dead-end", concurrency=1, timeouts=timeouts)


async def emit_all(hooks: Hooks, numbers: Iterator[int], emitters: int) -> list[float]:
    """Emit an event for each number; returns how long each took."""
    took: list[float] = []

    async def emitter() -> None:
        emit = hooks.emit
        for number in numbers:
            began = perf_counter()
            await emit(_EVENT, message(number), _CROWD[number % len(_CROWD)])
            took.append(perf_counter() - began)

    await asyncio.gather(*(emitter() for _ in range(emitters)))
    return took


class BareLoop:
    """Commits the rows of prepared events."""

    def __init__(self, path: Path, durability: Durability, batch: int) -> None:
        self._connection = connect(str(path), durability)
        self._connection.execute("INSERT INTO webhook VALUES (1, 'dead-end', 0, NULL)")
        self._batch = batch
        self.seq = 0

    def commit_all(self, envelopes: Sequence[tuple[Envelope, str | None]]) -> None:
        """Commit them, a batch at a time."""
        execute, many = self._connection.execute, self._connection.executemany
        for first in range(0, len(envelopes), self._batch):
            events: list[Any] = []
            deliveries: list[Any] = []
            for each, key in envelopes[first : first + self._batch]:
                self.seq = seq = self.seq + 1
                events.append((seq, each.id, each.name, each.prefix, each.time))
                deliveries.append((seq, seq, key, each.time))
            execute("BEGIN IMMEDIATE")
            many(_INSERT_EVENT, events)
            many(_INSERT_DELIVERY, deliveries)
            execute("COMMIT")

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


def accept(durability: Durability, emitters: int, size: int, rounds: int) -> Accepted:
    """Let both accept ``size`` events in each of their turns."""
    with TemporaryDirectory() as directory, Child("benchmarks.servers.sick") as sick:
        turns = LoopTurns()
        work = _accept(
            Path(directory), sick.url("/hang"), durability, emitters, size, rounds, turns
        )
        return run_loop(work, turns.new_loop)


async def _accept(
    directory: Path,
    url: str,
    durability: Durability,
    emitters: int,
    size: int,
    rounds: int,
    turns: LoopTurns,
) -> Accepted:
    journal = SQLiteJournal(directory / "hooks.db", durability=durability)
    hooks = Hooks([dead_end(url)], journal=journal, logging=False)
    bare = BareLoop(directory / "bare.db", durability, emitters)
    cpu: dict[str, list[float]] = {_HOOKS: [], _BARE: []}
    emits: list[float] = []
    lasted: list[float] = []

    async def timed(name: str, work: Callable[[], Awaitable[object]]) -> float:
        began, spent = perf_counter(), process_time()
        await work()
        cpu[name].append((process_time() - spent) / size)
        return perf_counter() - began

    async def ours(size: int) -> float:
        async def work() -> None:
            turns.take()
            emits.extend(await emit_all(hooks, iter(range(size)), emitters))
            lasted.extend(turns.take())

        return await timed(_HOOKS, work)

    async def theirs(size: int) -> float:
        envelopes = [_prepared(number) for number in range(size)]

        async def work() -> None:
            bare.commit_all(envelopes)

        return await timed(_BARE, work)

    await hooks.start()
    taken = await take_turns({_HOOKS: ours, _BARE: theirs}, rounds=rounds, size=size)
    stored = journal.backlog().pending
    assert stored == bare.seq == (rounds + 1) * size
    await hooks.aclose(0)
    bare.close()
    return Accepted(
        durability,
        emitters,
        taken.seconds,
        {name: found[1:] for name, found in cpu.items()},
        percentile(emits[size:], 0.5),
        percentile(emits[size:], 0.99),
        lag(lasted),
        stored,
    )


def _prepared(number: int) -> tuple[Envelope, str | None]:
    """An encoded event and its order key."""
    session = _CROWD[number % len(_CROWD)]
    envelope = Envelope.encode(str(uuid7()), _EVENT, message(number), session, _MIB, time=time())
    return envelope, session.connection_id


def accept_tables(found: Sequence[Accepted]) -> list[Table]:
    """Rates beside the bare loop's, and how long an emit takes."""
    rates = [
        (
            f"{each.durability}, {each.emitters} emitters",
            each.per_second(_HOOKS),
            each.per_second(_BARE),
            median(shares := ratios(each.seconds[_BARE], each.seconds[_HOOKS])),
            text_of_pair(quartiles(shares)),
            median(each.cpu[_HOOKS]) * 1e6,
            median(each.cpu[_BARE]) * 1e6,
        )
        for each in found
    ]
    times = [
        (f"{each.durability}, {each.emitters} emitters", each.p50 * 1e3, each.p99 * 1e3, each.lag)
        for each in found
    ]
    columns = ("", "events/s", "bare loop", "share of it", "quartiles", "CPU µs/event", "bare loop")
    return [
        Table("Events accepted per second, by durability", columns, rates),
        Table("Milliseconds that an emit takes", ("", "p50", "p99", "lag, CPU"), times),
    ]


def accept_targets(found: Accepted) -> list[Target]:
    """Time beside the bare loop's, and CPU time, which decides if the disk varies too much."""
    cpu = f"CPU, hooks / bare loop, {found.durability}"
    seconds, spent = (ratios(by[_HOOKS], by[_BARE]) for by in (found.seconds, found.cpu))
    name = f"seconds, hooks / bare loop, {found.durability}"
    return [
        Target.of_ratios(name, seconds, _AT_MOST, stand_in=cpu),
        Target.of_ratios(cpu, spent, _AT_MOST),
    ]


# A million pending


@dataclass(frozen=True, slots=True)
class Filled:
    """What ``events`` pending take: bytes in memory along the way, and on disk at the end."""

    events: list[int]
    resident: list[int]
    slope: float
    seconds: float
    cpu: float
    log: int
    file: int


@dataclass(frozen=True, slots=True)
class Reopened:
    """How a file with ``pending`` deliveries is opened again, and how it is drained."""

    pending: int
    seconds: float
    resident: int
    delivered: int
    delivering: float
    cpu: float
    received: int

    @property
    def per_second(self) -> float:
        """Deliveries per second."""
        return self.delivered / self.delivering


def fill(path: Path, events: int) -> Filled:
    """Leave that many events pending."""
    with Child("benchmarks.servers.sick") as sick:
        return run_loop(_fill(path, sick.url("/hang"), events))


async def _fill(path: Path, url: str, events: int) -> Filled:
    hooks = Hooks([dead_end(url)], journal=SQLiteJournal(path, max_pending=events), logging=False)
    await hooks.start()
    points, levels, began, spent = [0], [resident()], perf_counter(), process_time()
    tenth = events // 10
    for number in range(10):
        await emit_all(hooks, iter(range(number * tenth, (number + 1) * tenth)), 256)
        gc.collect()
        points.append((number + 1) * tenth)
        levels.append(resident())
    seconds, spent = perf_counter() - began, process_time() - spent
    log = size_of(f"{path}-wal")
    await hooks.aclose(0)
    slope = linear_regression(points[2:], levels[2:]).slope
    return Filled(points, levels, slope, seconds, spent, log, size_of(path))


def size_of(path: Path | str) -> int:
    """Bytes of a file."""
    return os.path.getsize(path)


def reopen(path: Path, delivered: int) -> Reopened:
    """Open the file and deliver at least so many of what it holds."""
    with Child("benchmarks.servers.sink") as sink:
        found = run_loop(_reopen(path, sink.url("/dead-end"), delivered))
        received = len(sink.take()["/dead-end"]["received"])
        assert received >= found.delivered
        return Reopened(**(asdict(found) | {"received": received}))


async def _reopen(path: Path, url: str, delivered: int) -> Reopened:
    webhook = Webhook(url, [_EVENT], KEY, id="dead-end")
    hooks = Hooks([webhook], journal=SQLiteJournal(path), logging=False)
    began = perf_counter()
    await hooks.start()
    opened, spent = perf_counter(), process_time()
    pending, level = hooks.stats().pending, resident()
    while (done := hooks.stats().delivered) < delivered:  # noqa: ASYNC110 - nothing reports it
        await asyncio.sleep(0.01)
    delivering, spent = perf_counter() - opened, process_time() - spent
    await hooks.aclose(0)
    return Reopened(pending, opened - began, level, done, delivering, spent, 0)


def pending_tables(filled: Filled, reopened: Reopened) -> list[Table]:
    """Memory by events, and what becomes of them."""
    events = filled.events[-1]
    levels = [
        (f"{number:,}", level / _MIB)
        for number, level in zip(filled.events, filled.resident, strict=True)
    ]
    facts = [
        ("events accepted per second, 256 emitters", events / filled.seconds),
        ("µs of CPU for each", filled.cpu / events * 1e6),
        ("bytes of memory per further event", filled.slope),
        ("bytes of file per event", filled.file / events),
        ("MiB of file", filled.file / _MIB),
        ("MiB of log before closing", filled.log / _MIB),
        ("seconds to open it again", reopened.seconds),
        ("resident MiB then", reopened.resident / _MIB),
        (f"deliveries per second, {reopened.delivered:,} measured", reopened.per_second),
        ("µs of CPU for each delivery", reopened.cpu / reopened.delivered * 1e6),
        ("minutes to deliver all at that rate", reopened.pending / reopened.per_second / 60),
    ]
    return [
        Table("Resident MiB while events are left pending", ("", "MiB"), levels),
        Table(f"{events:,} events pending for an endpoint that is down", ("", ""), facts),
    ]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    rounds, share = (1, 50) if quick else (7, 1)
    accepted = [
        accept(durability, emitters, max(size // share, emitters), rounds)
        for durability in _DURABILITIES
        for emitters, size in _EMITTERS.items()
    ]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "hooks.db"
        filled = in_fresh_process(fill, path, 5_000 if quick else 1_000_000)
        reopened = in_fresh_process(reopen, path, 500 if quick else 20_000)
    return Result(
        tables=[*accept_tables(accepted), *pending_tables(filled, reopened)],
        targets=[
            *(
                target
                for each in accepted
                if each.emitters == max(_EMITTERS)
                for target in accept_targets(each)
            ),
            Target("bytes of memory per event left pending", filled.slope, _FLAT),
        ],
        figures={
            "accepted": [asdict(each) for each in accepted],
            "filled": asdict(filled),
            "reopened": asdict(reopened),
        },
        contenders=["apsw"],
    )


if __name__ == "__main__":
    main("journal", __doc__, run)
