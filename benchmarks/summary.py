"""The summary that is kept of all runs: for each benchmark its latest run, reduced to what the
page and the charts show.

Raw runs hold every sample and stay out of version control. The summary's numbers have the digits
that the page shows; targets and the series of charts have four significant ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import floor, log10
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.result import decimals
from benchmarks.series import SERIES

#: Name of the file, beside the charts.
SUMMARY: Final = "summary.json"
#: Columns of a line of the file, without the key that it begins with.
_WIDTH: Final = 120

#: A benchmark's latest run.
Entry: TypeAlias = dict[str, Any]


def entry_of(document: Entry) -> Entry:
    """Reduce a raw run to what is kept of it."""
    name = document["benchmark"]
    kept = {key: document[key] for key in ("benchmark", "question", "began", "quick", "machine")}
    kept["targets"] = [
        {key: _exact_each(value) for key, value in target.items()} for target in document["targets"]
    ]
    if document.get("skipped"):
        kept["skipped"] = document["skipped"]
    kept["tables"] = [
        table | {"rows": [[_shown(cell) for cell in row] for row in table["rows"]]}
        for table in document["tables"]
    ]
    if name in SERIES:
        kept["series"] = _short(SERIES[name](document["figures"]))
    return kept


def merge(earlier: Iterable[Entry], later: Iterable[Entry], order: Sequence[str]) -> list[Entry]:
    """Return the latest run of each benchmark, in the order given, others last."""
    latest: dict[str, Entry] = {}
    for entry in (*earlier, *later):
        name = entry["benchmark"]
        if name not in latest or entry["began"] > latest[name]["began"]:
            latest[name] = entry
    places = {name: place for place, name in enumerate(order)}
    return [latest[name] for name in sorted(latest, key=lambda name: (places.get(name, 99), name))]


def read(path: Path) -> list[Entry]:
    """Return the entries of a summary; none where there is no file."""
    if not path.exists():
        return []
    entries: list[Entry] = json.loads(path.read_text(encoding="utf-8"))
    return entries


def write(path: Path, entries: Sequence[Entry]) -> None:
    """Write a summary, in as few lines as are readable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{_packed(entries)}\n", encoding="utf-8")


def _shown(value: str | float) -> str | float:
    return round(value, decimals(value)) if isinstance(value, float) else value


def _exact(value: float) -> float:
    """Round to four significant digits or to what the page shows, whichever is more."""
    if isinstance(value, int) or not value:
        return value
    return round(value, max(decimals(value), 3 - floor(log10(abs(value)))))


def _exact_each(value: Any) -> Any:
    """Round all floats in a JSON value as :func:`_exact` does."""
    if isinstance(value, float):
        return _exact(value)
    if isinstance(value, list):
        return [_exact_each(each) for each in value]
    if isinstance(value, dict):
        return {key: _exact_each(each) for key, each in value.items()}
    return value


def _short(value: Any) -> Any:
    """Round all floats in a JSON value to four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, list):
        return [_short(each) for each in value]
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return value


def _packed(value: Any, indent: int = 0) -> str:
    """Return JSON with as many members of a list or an object in a line as fit."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) < _WIDTH or not isinstance(value, list | dict):
        return line
    if isinstance(value, dict):
        members = [
            f"{json.dumps(key, ensure_ascii=False)}: {_packed(each, indent + 1)}"
            for key, each in value.items()
        ]
    else:
        members = [_packed(each, indent + 1) for each in value]
    lines = members[:1]
    for member in members[1:]:
        together = f"{lines[-1]}, {member}"
        if "\n" in together or indent + len(together) >= _WIDTH:
            lines[-1] += ","
            lines.append(member)
        else:
            lines[-1] = together
    return line[0] + f"\n{' ' * (indent + 1)}".join(lines) + line[-1]
