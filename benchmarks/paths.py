"""Folders of the project that benchmarks run in, read from and write to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
#: Charts, and the summary that is kept of all runs.
RESULTS: Final = ROOT / "benchmarks" / "results"
#: Raw runs, which version control ignores.
RUNS: Final = ROOT / "build" / "benchmarks"
#: Everything of short runs, whose figures mean nothing.
QUICK_RUNS: Final = RUNS / "quick"
