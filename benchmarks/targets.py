"""What is asked of a release, and is it met?

Just the targets that the first table of ``RESULTS.md`` lists, each beside its contender in
alternating rounds of one run: ``python -m benchmarks targets [--quick] [NAME ...]``. A question is
asked again while a ratio of it has not settled, five times at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from benchmarks import echo, emit, fanout, https, idle, stalls, throughput
from benchmarks.harness import main
from benchmarks.result import Result
from benchmarks.target import MOST_RUNS, Target, until_settled

#: By name: measures, in a short form if it is given True.
QUESTIONS: Final[Mapping[str, Callable[[bool], Result]]] = {
    "throughput": throughput.run,
    "fanout": fanout.run,
    "stalls": stalls.run,
    "echo": echo.run,
    "emit": emit.ask,
    "https": https.run,
    "idle": idle.ask,
}


def asked(result: Result) -> list[Target]:
    """Return the targets of a benchmark that are asked of a release, and their stand-ins."""
    needed = {each.stand_in for each in result.targets if each.contender is not None}
    return [each for each in result.targets if each.contender is not None or each.what in needed]


def run(quick: bool, names: Sequence[str] = ()) -> Result:
    """Ask the questions of these names, or all."""
    results: dict[str, Result] = {}
    targets: list[Target] = []
    for name in names or QUESTIONS:
        print(f"  {name} ...", flush=True)
        measure = partial(QUESTIONS[name], quick)
        results[name], found = until_settled(measure, asked, 1 if quick else MOST_RUNS)
        targets += found
    return Result(
        tables=[table for each in results.values() for table in each.tables],
        targets=targets,
        figures={name: each.figures for name, each in results.items()},
        contenders=sorted({name for each in results.values() for name in each.contenders}),
        skipped=[line for each in results.values() for line in each.skipped],
    )


if __name__ == "__main__":
    main("targets", __doc__, run, questions=QUESTIONS)
