"""Samples in pyperf's format, for ``python -m pyperf compare_to`` and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyperf  # type: ignore[import-untyped]


def save(path: Path, samples: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Write all samples, a run for each process.

    Args:
        samples: by benchmark, seconds per operation in each process.
    """
    benchmarks = [
        pyperf.Benchmark([pyperf.Run(list(part), metadata={"name": name}) for part in parts])
        for name, parts in samples.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pyperf.BenchmarkSuite(benchmarks).dump(str(path), replace=True)
