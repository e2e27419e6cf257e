"""Run all benchmarks, or those named: ``python -m benchmarks [--quick] [NAME ...]``; or only what
is asked of a release: ``python -m benchmarks targets [--quick] [NAME ...]``.

Then the summary of all results is updated from these runs, and ``RESULTS.md`` and the charts are
written from it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks import results
from benchmarks.paths import QUICK_RUNS, RESULTS, ROOT, RUNS

#: In the order in which they run. Each is a module with ``run`` and a docstring whose first
#: line is its question. Soaking takes too long to be among them.
BENCHMARKS: Final = (
    "emit",
    "registry",
    "wire",
    "throughput",
    "https",
    "fanout",
    "stalls",
    "scaling",
    "tuning",
    "latency",
    "echo",
    "isolation",
    "pending",
    "journal",
    "memory",
    "imports",
)
#: Measures only what is asked of a release, with names of its own, and writes no page.
TARGETS: Final = "targets"
#: In the order in which the page shows them.
ORDER: Final = (*BENCHMARKS, "soak")


def question(name: str) -> str:
    """Return a benchmark's question: the first line of its docstring."""
    return (import_module(f"benchmarks.{name}").__doc__ or "").partition("\n")[0]


def main() -> int:
    """Run each in a process of its own, so that none finds another's memory; 1 if one failed."""
    if TARGETS in sys.argv[1:]:
        arguments = [each for each in sys.argv[1:] if each != TARGETS]
        command = [sys.executable, "-m", f"benchmarks.{TARGETS}", *arguments]
        return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - ourselves
    width = max(map(len, BENCHMARKS))
    lines = [f"  {name:{width}}  {question(name)}" for name in (*BENCHMARKS, TARGETS)]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run all benchmarks, or those named:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all by default")
    parser.add_argument("--list", action="store_true", help="list them and run none")
    parser.add_argument("--quick", action="store_true", help="short: shows that they work")
    parser.add_argument(
        "--output",
        type=Path,
        help="where raw runs, summary, charts and page are written; by default raw runs go to "
        f"{RUNS.relative_to(ROOT)}, the others to {RESULTS.relative_to(ROOT)} and the page above "
        f"it, or, if quick, all to {QUICK_RUNS.relative_to(ROOT)}",
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    if options.list:
        print("\n".join(lines))
        return 0
    runs, directory, page = RUNS, RESULTS, results.PAGE
    if options.output or options.quick:
        runs = directory = (options.output or QUICK_RUNS).absolute()
        page = directory / "RESULTS.md"
    arguments = ["--output", str(runs), *(["--quick"] * options.quick)]
    failed = []
    for name in options.names or BENCHMARKS:
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - ourselves
            failed.append(name)
    written = results.write(runs, directory, page, ORDER)
    print("\n".join(str(path) for path in written))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
