"""What all benchmarks share: the machine they ran on, their results as tables and JSON.

A benchmark is a module whose docstring begins with its question and which has a function
``run(quick)`` that returns a :class:`Result`. :func:`main` is its command line.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from benchmarks.turns import Turns

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"

#: What every benchmark runs on; one with contenders names theirs besides.
_PACKAGES: Final = ("relaybox-hooks", "aiohttp", "orjson", "yarl", "multidict")

#: Cores that other programs may use without a remark: a tenth of one shows in a 99th percentile.
_QUIET: Final = 0.1

#: A ratio below it is told apart from its limit by its fourth decimal only.
_SMALL: Final = 0.2

ParamsT = ParamSpec("ParamsT")
ReturnT = TypeVar("ReturnT")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; numbers are aligned right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]

    def __str__(self) -> str:
        cells = [list(self.columns), *([text_of(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for row in cells:
            name, *figures = (
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join((name, *figures)).rstrip())
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join((self.title, *(f"  {line}" for line in lines)))


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure may come to at the most, and what it came to."""

    what: str
    measured: float
    at_most: float

    @property
    def met(self) -> bool:
        """Whether the figure keeps to its limit."""
        return self.measured <= self.at_most


@dataclass(frozen=True, slots=True)
class Result:
    """What one run found out.

    Attributes:
        tables: what is printed.
        targets: what was to be shown.
        figures: what the tables were made from, for charts; JSON values.
        contenders: the distributions that were compared with, for their versions.
        turns: of a microbenchmark, all values by what was asked, for pyperf.
    """

    tables: Sequence[Table]
    targets: Sequence[Target]
    figures: dict[str, Any] = field(default_factory=dict)
    contenders: Sequence[str] = ()
    turns: Mapping[str, Turns] = field(default_factory=dict)


class Neighbours:
    """Other programs on the machine, which spoil figures, from now on."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy = self._others_busy()

    def cores(self) -> float:
        """How many cores they have used on average."""
        spent = self._others_busy() - self._busy
        return round(max(0.0, spent) / (time.perf_counter() - self._began), 2)

    @staticmethod
    def _others_busy() -> float:
        """CPU seconds since boot that are not ours, nor our children's that have ended."""
        text = Path("/proc/stat").read_text(encoding="ascii")
        user, nice, system, _, _, irq, softirq, steal = map(int, text.split(maxsplit=9)[1:9])
        own = os.times()
        ticks = user + nice + system + irq + softirq + steal
        return ticks / os.sysconf("SC_CLK_TCK") - sum(own[:4])


def machine(contenders: Sequence[str] = ()) -> dict[str, Any]:
    """Where and on what a benchmark runs."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version(name) for name in (*_PACKAGES, *contenders)},
    }


def main(name: str, question: str | None, run: Callable[[bool], Result]) -> None:
    """The command line of one benchmark: run it, print its tables, write its JSON."""
    title = (question or name).partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=title)
    parser.add_argument("--quick", action="store_true", help="short: shows that it works")
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"where {name}.json goes")
    options = parser.parse_args()
    print(f"{name}: {title}", flush=True)
    began, neighbours = datetime.now(UTC), Neighbours()
    result = run(options.quick)
    here = machine(result.contenders) | {"cores_used_by_others": neighbours.cores()}
    print(f"  {here['cores']} cores, {here['processor']}, {here['system']}, {here['python']}")
    print(f"  {', '.join(f'{name} {number}' for name, number in here['versions'].items())}")
    for table in result.tables:
        print(f"\n{table}")
    if result.targets:
        print(f"\n{_target_table(result.targets)}")
    if options.quick:
        print("\nA quick run shows that the benchmark works; its figures mean nothing.")
    elif here["cores_used_by_others"] > _QUIET:
        print(f"\nProvisional: other programs used {here['cores_used_by_others']} cores meanwhile.")
    print()
    document = {
        "benchmark": name,
        "question": title,
        "began": began.isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": here,
        "targets": [asdict(target) | {"met": target.met} for target in result.targets],
        "tables": [asdict(table) for table in result.tables],
        "figures": result.figures,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (options.output / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    if result.turns:
        from benchmarks.turns import save  # noqa: PLC0415 - it imports this module, and pyperf

        save(options.output / "pyperf" / f"{name}.json", result.turns)


def run_loop(work: Coroutine[Any, Any, ReturnT]) -> ReturnT:
    """``asyncio.run``, but an error that a task died of, or that a callback raised, is raised
    in the end: figures of a program that breaks on the way are worth nothing."""
    errors: list[BaseException] = []

    async def watch() -> ReturnT:
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: errors.append(
                context.get("exception") or RuntimeError(context["message"])
            )
        )
        return await work

    result = asyncio.run(watch())
    gc.collect()
    if errors:
        raise RuntimeError(f"{len(errors)} errors went unhandled; here is the first") from errors[0]
    return result


def in_fresh_process(
    function: Callable[ParamsT, ReturnT], *args: ParamsT.args, **kwargs: ParamsT.kwargs
) -> ReturnT:
    """Call a module's ``function`` in a new interpreter: memory is measured from scratch."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(function, args, kwargs)
        pool.close()
        pool.join()  # or its CPU time would not count as ours
    return result


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that ``share`` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _target_table(targets: Sequence[Target]) -> Table:
    rows = [(t.what, t.measured, t.at_most, "met" if t.met else "MISSED") for t in targets]
    return Table("Targets", ("", "measured", "at most", ""), rows)


def text_of(value: str | float) -> str:
    """A table's cell as people read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if abs(value) >= _SMALL or not value else f"{value:.4f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
