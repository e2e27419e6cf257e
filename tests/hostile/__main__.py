"""Run the hostile hour for as long as you like: ``python -m hostile --seconds 120 --seed 7``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from hostile.parent import run
from support.certificates import make_certificate


def main() -> int:
    """Run, print a line for each look and a summary; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of emitting")
    parser.add_argument("--seed", type=int, default=1, help="of all random choices")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        certificate = make_certificate(Path(directory))
        report = asyncio.run(run(certificate, seconds=given.seconds, seed=given.seed, verbose=True))
    print(report)
    return bool(report.faults)


if __name__ == "__main__":
    sys.exit(main())
