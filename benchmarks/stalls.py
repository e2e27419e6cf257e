"""How long does one event to 1,000 webhooks, or to 10,000, hold up the event loop?

Each turn of the event loop is measured in CPU time of its thread, from one wait for sockets to the
next: what else runs on the loop waits as long. An event goes to hooks that were just started, and
so have no connections yet, and then to the same ones again. The turn that ``emit`` was called in
is the offering; the longest one after it, until all is delivered, makes the requests and reads the
responses.

The garbage collector is frozen: what was registered is out of its sight, and it does not run
while an event is delivered. When its passes fall is the whole process's doing, and what one costs
grows with all that the host has. The same events with the collector at work, what was registered
frozen, are listed beside them, and there is no limit for those.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.bare import KEY, SESSIONS
from benchmarks.children import Child
from benchmarks.estimates import quartiles
from benchmarks.features import BOUNDS_CONNECTIONS
from benchmarks.harness import main
from benchmarks.loop_turns import LoopTurns
from benchmarks.machine import raise_file_limit
from benchmarks.processes import in_fresh_process, run_loop
from benchmarks.raw import sink_rate
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.target import ALONE, Target
from benchmarks.traffic import message
from relaybox_hooks import Hooks, Webhook

#: Milliseconds of a turn.
_TURN: Final = 10.0
#: Files that a process has open besides the connections to webhooks.
_OTHER_FILES: Final = 200
#: Requests that tell what the sink takes: enough for what its CPU time is counted in.
_FLOOD: Final = 30_000


@dataclass(frozen=True, slots=True)
class Case:
    """How many webhooks get the event, and milliseconds that offering it may take; how many hooks
    are started one after the other, and events that each emits once it has connections."""

    webhooks: int
    offering: float
    starts: int
    warm: int


_FULL: Final = (
    Case(1_000, offering=_TURN, starts=10, warm=4),
    Case(10_000, offering=25.0, starts=3, warm=2),
)
_QUICK: Final = (Case(50, _TURN, starts=2, warm=1), Case(200, 25.0, starts=2, warm=1))


@dataclass(frozen=True, slots=True)
class Event:
    """Milliseconds of CPU time: of the turn that it was emitted in, and of the longest later.

    ``collecting`` is whether the garbage collector ran meanwhile; ``cold``, whether there was no
    connection yet; ``seconds`` is how long it took, by the clock, until all webhooks had it.
    """

    collecting: bool
    cold: bool
    offering: float
    later: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """Events of one case, attempts that were made again, deliveries that failed, and requests
    that the sink could take."""

    case: Case
    events: list[Event]
    retried: int
    failed: int
    sink_per_second: float

    def of(self, *, cold: bool, collecting: bool) -> list[Event]:
        """Those of its events."""
        return [e for e in self.events if (e.cold, e.collecting) == (cold, collecting)]

    def spare(self, cold: bool) -> float:
        """How many times as much as it got at a time the sink could take."""
        seconds = median(each.seconds for each in self.of(cold=cold, collecting=False))
        return self.sink_per_second * seconds / self.case.webhooks


async def _emit(hooks: Hooks, turns: LoopTurns, *, cold: bool, collecting: bool) -> Event:
    gc.collect()
    gc.freeze()
    if not collecting:
        gc.disable()
    await asyncio.sleep(0)  # a turn of its own, which begins with the emit
    turns.take()
    began = perf_counter()
    await hooks.emit("room:publish", message(0), SESSIONS[0])
    await hooks.join()
    seconds = perf_counter() - began
    await asyncio.sleep(0)  # the last one ends
    offering, *later = turns.take()
    gc.enable()
    gc.unfreeze()
    return Event(collecting, cold, offering, max(later), seconds)


async def _measure(case: Case, turns: LoopTurns) -> Run:
    events: list[Event] = []
    retried = failed = 0
    with Child("benchmarks.servers.sink", "--awake") as sink:
        for collecting in (False, True) * case.starts:
            webhooks = [
                Webhook(sink.url(f"/hooks/{number:05}"), ["room:*"], f"{number:05}{KEY[5:]}")
                for number in range(case.webhooks)
            ]
            async with Hooks(webhooks, logging=False) as hooks:
                for cold in (True, *[False] * case.warm):
                    events += [await _emit(hooks, turns, cold=cold, collecting=collecting)]
                stats = hooks.stats()
                retried, failed = retried + stats.retried, failed + stats.failed
    return Run(case, events, retried, failed, sink_rate(min(30 * case.webhooks, _FLOOD)))


def measure(case: Case) -> Run:
    """The events of one case; call it in a process of its own."""
    raise_file_limit()
    turns = LoopTurns()
    return run_loop(_measure(case, turns), turns.new_loop)


def targets(run: Run) -> list[Target]:
    """Longest turns of an event to webhooks without and with connections."""
    found = []
    for cold, state in ((True, "cold"), (False, "connected")):
        events = run.of(cold=cold, collecting=False)
        for what, values, limit in (
            ("the offering", [each.offering for each in events], run.case.offering),
            ("longest later turn", [each.later for each in events], _TURN),
        ):
            found.append(
                Target(
                    f"ms of CPU, one event to {run.case.webhooks:,} webhooks, {state}: {what}",
                    median(values),
                    limit,
                    contender=ALONE,
                    quartiles=quartiles(values),
                    spare=run.spare(cold),
                )
            )
    return found


def table(runs: Sequence[Run]) -> Table:
    """Medians and extremes."""
    rows: list[list[str | float]] = []
    for run in runs:
        for collecting, cold in product((False, True), (True, False)):
            events = run.of(cold=cold, collecting=collecting)
            name = f"{run.case.webhooks:,} webhooks, {'cold' if cold else 'connected'}"
            name += ", with the collector" * collecting
            row: list[str | float] = [name, len(events)]
            for values in ([e.offering for e in events], [e.later for e in events]):
                row += [median(values), text_of_pair(quartiles(values)), max(values)]
            rows.append([*row, run.retried, run.failed])
    columns = ["", "events", "offering ms", "quartiles", "most"]
    columns += ["longest later turn ms", "quartiles", "most", "retried", "failed"]
    return Table("Turns of the event loop, CPU time of its thread", columns, rows)


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    runs, skipped = [], []
    for case in _QUICK if quick else _FULL:
        limit = raise_file_limit()
        if not BOUNDS_CONNECTIONS and limit < case.webhooks + _OTHER_FILES:
            skipped.append(f"stalls: {case.webhooks:,} webhooks: {limit:,} files may be open here")
        else:
            runs.append(in_fresh_process(measure, case))
    return Result(
        tables=[table(runs)],
        targets=[target for each in runs for target in targets(each)],
        figures={"runs": [asdict(each) for each in runs]},
        skipped=skipped,
    )


if __name__ == "__main__":
    main("stalls", __doc__, run)
