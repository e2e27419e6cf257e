"""The machine that a benchmark runs on, its versions, and other programs' use of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any, Final

#: Packages that every benchmark runs on; one with contenders adds theirs.
_PACKAGES: Final = ("relaybox-hooks", "aiohttp", "orjson", "yarl", "multidict")

#: Cores that other programs may use without a remark: a tenth of one shows in a 99th percentile.
QUIET: Final = 0.1


class Neighbours:
    """Other programs on the machine, which spoil figures, from now on."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy = self._others_busy()

    def cores(self) -> float:
        """Return the number of cores that they have used on average."""
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


def raise_file_limit() -> int:
    """Let this process open as many files as it may at all; return the limit."""
    _, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (hard, hard))
    return hard


def machine(contenders: Sequence[str] = ()) -> dict[str, Any]:
    """Describe the machine, the interpreter and the packages, ``contenders`` among them."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version(name) for name in (*_PACKAGES, *contenders)},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
