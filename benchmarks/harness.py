"""The command line of a benchmark: run it, print its tables, write its JSON.

A benchmark is a module whose docstring begins with its question and which has a function
``run(quick)`` that returns a :class:`~benchmarks.result.Result`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import QUIET, Neighbours, machine
from benchmarks.paths import QUICK_RUNS, ROOT, RUNS
from benchmarks.result import Result, table_of, unaccompanied
from benchmarks.target import MOST_RUNS, until_settled


def main(
    name: str,
    question: str | None,
    run: Callable[..., Result],
    *,
    questions: Collection[str] = (),
) -> None:
    """Run one benchmark as its command line says, again while a ratio has not settled.

    Args:
        name: the module's.
        question: the module's docstring, whose first line is it.
        run: measures, in a short form if it is given True.
        questions: names that the command line may choose from; ``run`` is given those it has as a
            second argument, and sees for itself to asking again.

    Raises:
        ValueError: a table shows a rate or a 99th percentile without what is to stand beside it.
    """
    title = (question or name).partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=title)
    parser.add_argument("--quick", action="store_true", help="short: shows that it works")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"where {name}.json goes; by default {RUNS.relative_to(ROOT)} or, if quick, "
        f"{QUICK_RUNS.relative_to(ROOT)}",
    )
    if questions:
        parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(questions))
    options = parser.parse_args()
    unknown = set(options.names) - set(questions) if questions else set()
    if unknown:
        parser.error(f"no question is called {', '.join(sorted(unknown))}")
    chosen = [options.names] if questions else []
    runs = 1 if options.quick or questions else MOST_RUNS
    output = options.output or (QUICK_RUNS if options.quick else RUNS)
    print(f"{name}: {title}", flush=True)
    began, neighbours = datetime.now(UTC), Neighbours()
    result, targets = until_settled(
        lambda: run(options.quick, *chosen), lambda result: result.targets, runs
    )
    result = replace(result, targets=targets)
    if alone := unaccompanied(result.tables, targets):
        raise ValueError(f"{name} shows {', '.join(alone)}: see benchmarks.result.unaccompanied")
    here = machine(result.contenders) | {"cores_used_by_others": neighbours.cores()}
    print(f"  {here['cores']} cores, {here['processor']}, {here['system']}, {here['python']}")
    print(f"  {', '.join(f'{name} {number}' for name, number in here['versions'].items())}")
    for table in result.tables:
        print(f"\n{table}")
    found = [target.as_json() for target in result.targets]
    if found:
        print(f"\n{table_of(found)}")
    for line in result.skipped:
        print(f"\nSkipped: {line}")
    if options.quick:
        print("\nA quick run shows that the benchmark works; its figures mean nothing.")
    elif here["cores_used_by_others"] > QUIET:
        print(f"\nProvisional: other programs used {here['cores_used_by_others']} cores meanwhile.")
    print()
    document = {
        "benchmark": name,
        "question": title,
        "began": began.isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": here,
        "targets": found,
        "skipped": list(result.skipped),
        "tables": [asdict(table) for table in result.tables],
        "figures": result.figures,
    }
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (output / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    if result.samples:
        from benchmarks.pyperf_file import save  # noqa: PLC0415 - the others do without pyperf

        save(output / "pyperf" / f"{name}.json", result.samples)
