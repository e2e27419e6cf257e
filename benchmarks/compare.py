"""Does a change cost CPU or memory, compared with the checkout before it?

``python -m benchmarks.compare BEFORE [AFTER] [--rounds N] [--quick] [NAME ...]``: both are folders
that hold a relaybox_hooks package; AFTER is this checkout by default. For each question child
processes of the two take turns (A B B A ...), each running ``compare_child.py`` of this checkout
with the package of theirs. A child's value is the median of its inner rounds. What counts is the
ratio of the medians over the children, with a 95 % bootstrap interval.

CPU may come to 1.05 times what it was, unless the interval includes 1; memory to 1.03 times; an
idle webhook to 4,096 bytes. Exits with 1 if one does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any, Final, Literal

from benchmarks.children import Child
from benchmarks.estimates import ratio_interval, ratio_of_medians
from benchmarks.machine import QUIET, Neighbours
from benchmarks.paths import ROOT
from benchmarks.result import Table

_CHILD: Final = ROOT / "benchmarks" / "compare_child.py"
#: Children of each side, which keep a full run below twelve minutes on two cores.
_ROUNDS: Final = 12
_QUICK_ROUNDS: Final = 2
#: Seconds after which a child hangs; it takes less than ten.
_HANGS: Final = 120
_CPU_AT_MOST: Final = 1.05
_MEMORY_AT_MOST: Final = 1.03
#: Bytes of an idle webhook.
_IDLE: Final = 4_096

_SINK: Final = ("benchmarks.servers.sink", "--awake")
_SICK: Final = ("benchmarks.servers.sick",)
#: URL of a webhook that is sent nothing.
_NOWHERE: Final = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Question:
    """A question to both checkouts.

    Attributes:
        asked: for people.
        unit: what is measured.
        server: module and options of the receiver, if there is one.
        at_most: limit of the later figure itself.
    """

    asked: str
    unit: Literal["µs", "bytes"]
    server: tuple[str, ...] = ()
    at_most: float | None = None


#: By name, as ``compare_child.py`` knows them.
QUESTIONS: Final[Mapping[str, Question]] = {
    "emit-unmatched": Question("emit that matches nothing", "µs"),
    "emit-bursts": Question("emit to one subscriber, 100 at once", "µs"),
    "emit-singly": Question("emit to one subscriber, one at a time", "µs"),
    "throughput": Question("event to one webhook, 32 in flight, asyncio", "µs", _SINK),
    "throughput-uvloop": Question("event to one webhook, 32 in flight, uvloop", "µs", _SINK),
    "fan-out": Question("event to 100 webhooks", "µs", _SINK),
    "journal-accept": Question("event journaled, 256 emitters, endpoint hangs", "µs", _SICK),
    "journal-deliver": Question("event journaled and delivered, 32 in flight", "µs", _SINK),
    "idle": Question("idle webhook of 10,000", "bytes", _SINK, _IDLE),
    "pending": Question("pending delivery of 100,000", "bytes", _SICK),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Values of the children of both sides, and the ratio's interval."""

    what: str
    question: Question
    before: Sequence[float]
    after: Sequence[float]
    interval: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Median after over median before."""
        return ratio_of_medians(self.before, self.after)

    @property
    def holds(self) -> bool:
        """True if the later figure keeps to its limits."""
        if self.question.at_most is not None and median(self.after) > self.question.at_most:
            return False
        if self.question.unit == "bytes":
            return self.ratio <= _MEMORY_AT_MOST
        low, high = self.interval
        return self.ratio <= _CPU_AT_MOST or low <= 1 <= high

    def row(self) -> list[str | float]:
        """Cells of the table."""
        low, high = self.interval
        return [
            self.what,
            self.question.unit,
            median(self.before),
            median(self.after),
            f"{self.ratio:.3f}",
            f"{low:.3f}-{high:.3f}",
            "holds" if self.holds else "FAILS",
        ]


def in_turns(rounds: int) -> list[int]:
    """Return which side runs: 0 1, 1 0, 0 1, ..., ``rounds`` of each."""
    return [side for number in range(rounds) for side in ((0, 1) if number % 2 == 0 else (1, 0))]


def run_child(name: str, checkout: Path, url: str, quick: bool) -> dict[str, Any]:
    """Let a checkout answer a question once.

    Raises:
        RuntimeError: another package was measured than the checkout's.
        subprocess.CalledProcessError: the child failed; it has printed why.
    """
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-P", str(_CHILD), name, url, *(["--quick"] * quick)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=_HANGS,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    if not Path(found["package"]).is_relative_to(checkout):
        raise RuntimeError(f"{found['package']} was measured instead of {checkout}")
    return found


def compare(name: str, checkouts: Sequence[Path], rounds: int, quick: bool) -> list[Comparison]:
    """Ask both checkouts in turns; return a comparison for each measure."""
    question = QUESTIONS[name]
    values: dict[str, tuple[list[float], list[float]]] = {}
    with ExitStack() as stack:
        server = stack.enter_context(Child(*question.server)) if question.server else None
        url = server.url("") if server else _NOWHERE
        for side in in_turns(rounds):
            found = run_child(name, checkouts[side], url, quick)
            for measure, figures in found["figures"].items():
                values.setdefault(measure, ([], []))[side].append(median(figures))
            if server and question.server is _SINK:
                received = sum(len(each["received"]) for each in server.take().values())
                if received != found["requests"]:
                    raise RuntimeError(f"{received} of {found['requests']} requests arrived")
    return [
        Comparison(
            f"{question.asked}, {measure}" if measure else question.asked,
            question,
            before,
            after,
            ratio_interval(before, after, Random(1)),
        )
        for measure, (before, after) in values.items()
    ]


def table(comparisons: Sequence[Comparison], rounds: int) -> Table:
    """Return all comparisons, a row each."""
    columns = ("", "", "before", "after", "ratio", "95 % interval", "")
    title = f"CPU per event and bytes, medians of {rounds} processes of each side"
    return Table(title, columns, [each.row() for each in comparisons])


def _checkout(text: str) -> Path:
    """Return the folder; argparse shows why it is not one."""
    path = Path(text).resolve()
    if not (path / "relaybox_hooks" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} holds no relaybox_hooks package")
    return path


def _options() -> argparse.Namespace:
    lines = [f"  {name:18} {question.asked}" for name, question in QUESTIONS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        usage="%(prog)s BEFORE [AFTER] [--rounds N] [--quick] [NAME ...]",
        description="Compare CPU and memory of two checkouts:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=_checkout, metavar="BEFORE", help="the checkout before")
    parser.add_argument(
        "rest", nargs="*", metavar="AFTER NAME", help="by default this checkout and all questions"
    )
    parser.add_argument("--rounds", type=int, help=f"processes of each side; {_ROUNDS} by default")
    parser.add_argument("--quick", action="store_true", help="short: shows that it works")
    options = parser.parse_intermixed_args()
    options.after, options.names = ROOT, options.rest
    if options.rest and options.rest[0] not in QUESTIONS:
        try:
            options.after = _checkout(options.rest[0])
        except argparse.ArgumentTypeError as error:
            parser.error(f"{error}, and no question is called so")
        options.names = options.rest[1:]
    unknown = set(options.names) - set(QUESTIONS)
    if unknown:
        parser.error(f"no question is called {', '.join(sorted(unknown))}")
    options.rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    return options


def main() -> int:
    """Compare two checkouts; 1 if a criterion does not hold."""
    options = _options()
    print(f"before: {options.before}\nafter:  {options.after}", flush=True)
    neighbours, comparisons = Neighbours(), []
    for name in options.names or QUESTIONS:
        began = perf_counter()
        checkouts = options.before, options.after
        comparisons += compare(name, checkouts, options.rounds, options.quick)
        print(f"{name}: {perf_counter() - began:.0f} s", flush=True)
    print(f"\n{table(comparisons, options.rounds)}\n")
    if options.quick:
        print("A quick run shows that the comparison works; its figures mean nothing.")
        return 0
    busy = neighbours.cores()
    if busy > QUIET:
        print(f"Provisional: other programs used {busy} cores meanwhile.")
    failed = [each.what for each in comparisons if not each.holds]
    print(f"{len(comparisons) - len(failed)} of {len(comparisons)} criteria hold.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
