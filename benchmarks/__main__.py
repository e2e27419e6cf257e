"""Run all benchmarks, or those named: ``python -m benchmarks [--quick] [NAME ...]``.

Then ``RESULTS.md`` and the charts are made anew, from these results and those that were there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks import results
from benchmarks.paths import RESULTS, ROOT

#: In the order in which they run. Each is a module with ``run`` and a docstring whose first
#: line is its question. Soaking takes too long to be among them; its results are shown last.
BENCHMARKS: Final = (
    "emit",
    "registry",
    "wire",
    "throughput",
    "fanout",
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

#: Where the results of short runs go, which mean nothing.
_QUICK_RESULTS: Final = ROOT / "build" / "benchmarks"


def question(name: str) -> str:
    """A benchmark's question: the first line of its docstring."""
    return (import_module(f"benchmarks.{name}").__doc__ or "").partition("\n")[0]


def main() -> int:
    """Run each in a process of its own, so that none finds another's memory; 1 if one failed."""
    width = max(map(len, BENCHMARKS))
    lines = [f"  {name:{width}}  {question(name)}" for name in BENCHMARKS]
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
        help="where NAME.json, NAME.svg and RESULTS.md are written; by default "
        f"{RESULTS.relative_to(ROOT)} and the page above it, or, if quick, "
        f"{_QUICK_RESULTS.relative_to(ROOT)}",
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    if options.list:
        print("\n".join(lines))
        return 0
    output = options.output or (_QUICK_RESULTS if options.quick else RESULTS)
    output = output.absolute()
    arguments = ["--output", str(output), *(["--quick"] * options.quick)]
    failed = []
    for name in options.names or BENCHMARKS:
        (output / f"{name}.json").unlink(missing_ok=True)  # no old result for one that fails
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - ourselves
            failed.append(name)
    page = results.PAGE if output == RESULTS else output / "RESULTS.md"
    written = results.write(output, page, (*BENCHMARKS, "soak"))
    print("\n".join(str(path) for path in written))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
