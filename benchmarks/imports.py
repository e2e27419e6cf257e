"""How long does ``import relaybox_hooks`` take, beside the ``import aiohttp`` that it needs?

Whole interpreters, started in alternation; the CPU time that each used from start to exit. What
one takes that imports nothing is listed beside them. All read their bytecode from one directory,
where a round that does not count has put it, as an installer does: whether the environment lets
Python write bytecode would decide it all otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.harness import main
from benchmarks.paths import ROOT
from benchmarks.processes import run_loop
from benchmarks.result import Result
from benchmarks.turns import Turn, take_turns

OURS: Final = "import relaybox_hooks"
AIOHTTP: Final = "import aiohttp"
NOTHING: Final = "pass"


def starting(statement: str, bytecode: str) -> Turn:
    """Turns of interpreters that execute ``statement`` and exit."""
    command = [sys.executable, "-c", statement]
    environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    async def turn(size: int) -> float:
        before = _used()
        for _ in range(size):
            subprocess.run(command, cwd=ROOT, env=environment, check=True)  # noqa: ASYNC221, S603 - nothing else runs; ourselves
        return _used() - before

    return turn


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    with TemporaryDirectory() as bytecode:
        contenders = {each: starting(each, bytecode) for each in (OURS, AIOHTTP, NOTHING)}
        turns = run_loop(take_turns(contenders, rounds=2 if quick else 61, size=1))
    return Result(
        tables=[turns.table("Interpreters, from start to exit", [OURS, NOTHING], [AIOHTTP])],
        targets=[turns.target(OURS, AIOHTTP, 1.15)],
        figures={"seconds": turns.seconds},
    )


def _used() -> float:
    """CPU seconds of the children that have ended."""
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main("imports", __doc__, run)
