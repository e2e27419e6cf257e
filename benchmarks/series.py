"""Series that the charts draw, reduced from a run's figures: medians, rates, levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final, TypeAlias

#: A run's figures, or the series made of them.
Values: TypeAlias = dict[str, Any]

_MIB: Final = 1 << 20


def _emit(figures: Values) -> Values:
    """Microseconds of every contender by situation."""
    situations = ("no_match", "one_subscriber", "one_at_a_time")
    return {"burst": figures["burst"]} | {
        situation: {name: median(values) * 1e6 for name, values in figures[situation].items()}
        for situation in situations
    }


def _throughput(figures: Values) -> Values:
    """Events per second of both contenders, by event loop."""
    runs = figures["runs"]
    return {"loops": list(runs)} | {
        name: [round(each["events"] / median(each[name]["seconds"])) for each in runs.values()]
        for name in ("bare", "hooks")
    }


def _scaling(figures: Values) -> Values:
    """Deliveries per second and CPU of each, by webhooks and by bytes of the body."""
    return {
        series: {
            "at": [each[x] for each in figures[series]],
            "per_second": [each["per_second"] for each in figures[series]],
            "cpu_per_delivery": [each["cpu_per_delivery"] for each in figures[series]],
        }
        for series, x in (("webhooks", "webhooks"), ("bodies", "body"))
    }


def _tuning(figures: Values) -> Values:
    """Microseconds of CPU per delivered event, by event loop and setting."""
    found: Values = {}
    for each in figures["runs"]:
        cpu = median(each["cpu"]) / each["events"] * 1e6
        found.setdefault(each["loop"], {})[each["setting"]] = cpu
    return found


def _isolation(figures: Values) -> Values:
    """Milliseconds by configuration."""
    rounds = figures["rounds"]
    names = list(dict.fromkeys(each["configuration"] for each in rounds))
    return {"configurations": names} | {
        quantile: [
            median(each[quantile] for each in rounds if each["configuration"] == name)
            for name in names
        ]
        for quantile in ("p50", "p99")
    }


def _pending(figures: Values) -> Values:
    """Bytes beyond the body, by what is pending."""
    return {
        f"{each['body']:,} bytes, keys {each['keys']}"
        + (", waiting for a retry" if each["waiting"] == "retry" else ""): each["beyond_body"]
        for each in figures["pending"]
    }


def _journal(figures: Values) -> Values:
    """Events accepted per second, and resident memory by events pending."""
    accepted, filled = figures["accepted"], figures["filled"]
    return {
        "emitters": [each["emitters"] for each in accepted],
        "durability": [each["durability"] for each in accepted],
        "accepted": {
            name: [1 / median(each["seconds"][name]) for each in accepted]
            for name in ("hooks", "bare loop")
        },
        "pending": filled["events"],
        "MiB": [level / _MIB for level in filled["resident"]],
    }


def _memory(figures: Values) -> Values:
    """Resident memory by events emitted to each dead endpoint."""
    return {
        each["name"]: {
            "emits": each["emits"],
            "MiB": [level / _MIB for level in each["resident"]],
        }
        for each in figures["dead"]
    }


def _soak(figures: Values) -> Values:
    """Memory, tasks and open files by time."""
    samples = figures["samples"]
    return {
        "minutes": [each["seconds"] / 60 for each in samples],
        "MiB": [each["resident"] / _MIB for each in samples],
        "tasks": [each["tasks"] for each in samples],
        "files": [each["files"] for each in samples],
    }


#: By benchmark; the others have a chart of their targets or none.
SERIES: Final[Mapping[str, Callable[[Values], Values]]] = {
    "emit": _emit,
    "isolation": _isolation,
    "journal": _journal,
    "memory": _memory,
    "pending": _pending,
    "scaling": _scaling,
    "soak": _soak,
    "throughput": _throughput,
    "tuning": _tuning,
}
