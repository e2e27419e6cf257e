"""How many events per second reach one webhook, compared to a bare loop of posts?

The bare loop is ``async with session.post`` with a time-out of five seconds, 32 at a time, of
bytes that were encoded and signed beforehand. The library emits as many events, whose data was
made beforehand, and encodes, routes, orders, signs, posts and accounts for them within the time
that counts; 32 are in flight. Both send bodies of the same length to the same sink. The limit is
a third contender: an asyncio protocol that sends one such request, ready as it goes over the wire,
again and again on 32 connections. They take turns in short rounds, forwards and backwards; each
round's ratio is to another contender's round of the same turn.

The sink must not be what is measured: it never sleeps, so that no contender pays for waking it
more often than the others; and with the CPU time that it takes for a request of bare sockets, one
at a time on 32 connections, it has to be good for three times as many as the bare loop or the
library sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Final, Literal, TypeAlias

from benchmarks.bare import IN_FLIGHT, ratios
from benchmarks.estimates import quartiles
from benchmarks.harness import main
from benchmarks.one_webhook import Plan, Rounds, play
from benchmarks.processes import in_fresh_process, run_loop
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.target import Target

Loop: TypeAlias = Literal["asyncio", "uvloop"]

LOOPS: Final[Sequence[Loop]] = ("asyncio", "uvloop")
#: How many times as many events as the bare loop sends are to be delivered per second.
_AT_LEAST: Final[dict[Loop, float]] = {"asyncio": 2.2, "uvloop": 2.5}
#: Share of the bare loop's CPU time that an event may cost.
_OF_BARE: Final[dict[Loop, float]] = {"asyncio": 0.45, "uvloop": 0.40}
#: How many times the CPU time of a request of fixed bytes it may cost; None: it is reported.
_OF_RAW: Final[dict[Loop, float | None]] = {"asyncio": 2.0, "uvloop": None}
#: The sink's rate over a contender's.
_SPARE: Final = 3.0

_FULL: Final = Plan(events=1000, rounds=45, flood=30_000)
_QUICK: Final = Plan(events=64, rounds=1, flood=2_000)


def measure(loop: Loop, plan: Plan) -> Rounds:
    """One event loop's rounds; call it in a process of its own."""
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - the other loop's process is to be without it

        return run_loop(play(plan), uvloop.new_event_loop)
    return run_loop(play(plan))


def tables(runs: dict[Loop, Rounds]) -> list[Table]:
    """Rates, their ratio, CPU, and what the sink could have taken."""
    rows: list[list[str | float]] = []
    spare: list[list[str | float]] = []
    for loop, run in runs.items():
        assert run.raw is not None
        faster = ratios(run.bare.seconds, run.hooks.seconds)
        cheaper = ratios(run.hooks.cpu, run.bare.cpu)
        rows.append(
            [
                loop,
                *(run.per_second(each) for each in (run.bare, run.hooks, run.raw)),
                median(faster),
                text_of_pair(quartiles(faster)),
                *(run.cpu(each) for each in (run.bare, run.hooks, run.raw)),
                median(cheaper),
                text_of_pair(quartiles(cheaper)),
            ]
        )
        spare.append([loop, round(run.sink_per_second), run.spare(run.bare, run.hooks)])
    columns = ["", "bare/s", "hooks/s", "fixed bytes/s", "hooks / bare", "quartiles"]
    columns += ["bare CPU µs", "hooks CPU µs", "fixed CPU µs", "hooks / bare", "quartiles"]
    rounds = len(next(iter(runs.values())).bare.seconds)
    title = f"Delivered per second, {IN_FLIGHT} in flight, medians of {rounds} rounds"
    return [
        Table(title, columns, rows),
        Table("What the sink takes", ("", "per second of CPU", "over the contenders"), spare),
    ]


def targets(loop: Loop, run: Rounds) -> list[Target]:
    """The rate and the CPU time beside the bare loop, and beside what is possible."""
    assert run.raw is not None
    cpu = f"CPU per delivered event, {loop}"
    spare = run.spare(run.bare, run.hooks)
    return [
        Target.of_ratios(
            f"delivered per second, one webhook, {IN_FLIGHT} in flight, {loop}",
            ratios(run.bare.seconds, run.hooks.seconds),
            _AT_LEAST[loop],
            sense="at least",
            contender="bare loop",
            stand_in=cpu,
            spare=spare,
        ),
        Target.of_ratios(
            cpu,
            ratios(run.hooks.cpu, run.bare.cpu),
            _OF_BARE[loop],
            contender="bare loop",
            spare=spare,
        ),
        Target.of_ratios(
            f"{cpu}, beside the limit",
            ratios(run.hooks.cpu, run.raw.cpu),
            _OF_RAW[loop],
            contender="raw protocol, fixed bytes",
            spare=run.spare(run.raw, run.hooks),
        ),
        Target(f"sink used, {loop}", 1 / spare, 1 / _SPARE),
    ]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    runs = {loop: in_fresh_process(measure, loop, plan) for loop in LOOPS}
    return Result(
        tables=tables(runs),
        targets=[target for loop, run in runs.items() for target in targets(loop, run)],
        figures={"runs": {loop: asdict(run) for loop, run in runs.items()}},
        contenders=("uvloop",),
    )


if __name__ == "__main__":
    main("throughput", __doc__, run)
