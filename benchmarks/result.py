"""Plain values that a benchmark returns: tables and figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.target import Target

#: A ratio below it is told apart from its limit by its fourth decimal only.
_SMALL: Final = 0.2

#: What shows a figure that cannot be trusted alone, and what names the one that goes with it. A
#: share of CPU time is no rate.
_COMPANIONS: Final = (
    (re.compile(r"/s\b|per second(?! of CPU)"), "CPU"),
    (re.compile(r"\bp99\b"), "lag"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; numbers are aligned right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]

    def __str__(self) -> str:
        cells = [list(self.columns), *([text_of(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for row in cells:
            name, *figures = (
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join((name, *figures)).rstrip())
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join((self.title, *(f"  {line}" for line in lines)))


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one run.

    Attributes:
        tables: what is printed.
        targets: what was to be shown.
        figures: what the tables were made from, for charts; JSON values.
        contenders: the distributions that were compared with, for their versions.
        skipped: what was not measured, each with the reason.
        samples: of a microbenchmark, seconds per operation in each process, by the name of
            what was measured, for pyperf.
    """

    tables: Sequence[Table]
    targets: Sequence[Target]
    figures: dict[str, Any] = field(default_factory=dict)
    contenders: Sequence[str] = ()
    skipped: Sequence[str] = ()
    samples: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)


def unaccompanied(tables: Sequence[Table], targets: Sequence[Target] = ()) -> list[str]:
    """Return the rates and 99th percentiles that stand alone, which is as good as no figure.

    Both vary with what else the machine does. So CPU time per event stands beside every rate and
    loop lag in thread CPU time beside every 99th percentile: as columns of the same table or,
    where the facts are rows, as rows. And a target of either names one of those as its stand-in.
    """
    alone = [
        f"{label!r} without {companion}"
        for table in tables
        for labels in (table.columns, [str(row[0]) for row in table.rows])
        for shown, companion in _COMPANIONS
        for label in labels
        if shown.search(label) and not any(companion in other for other in labels)
    ]
    names = {target.what for target in targets}
    return alone + [
        f"{target.what!r} without a stand-in of {companion}"
        for target in targets
        for shown, companion in _COMPANIONS
        if shown.search(target.what) and companion not in target.what
        if target.stand_in not in names or companion not in str(target.stand_in)
    ]


def text_of(value: str | float) -> str:
    """Return a table's cell as people read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{decimals(value)}f}"


def text_of_pair(between: Sequence[float] | None) -> str:
    """Return two quartiles as people read them, with the decimals of the lower one."""
    if between is None:
        return ""
    digits = decimals(min(between, key=abs))
    return "-".join(f"{value:,.{digits}f}" for value in between)


def table_of(targets: Sequence[Mapping[str, Any]], title: str = "Targets") -> Table:
    """Return targets as people read them, without columns in which there is nothing.

    Args:
        targets: as :meth:`~benchmarks.target.Target.as_json` returns them.
        title: the table's.
    """
    columns = ("", "contender", "target", "measured", "quartiles", "settled", "sink to spare", "")
    rows = [_row_of(target) for target in targets]
    kept = [place for place in range(len(columns)) if any(row[place] != "" for row in rows)]
    return Table(
        title,
        [columns[place] for place in kept],
        [[row[place] for place in kept] for row in rows],
    )


def _row_of(target: Mapping[str, Any]) -> Sequence[str | float]:
    limit, settled, spare = map(target.get, ("limit", "settled", "spare"))
    return (
        target["what"],
        target.get("contender", ""),
        "report it" if limit is None else f"{target['sense']} {text_of(limit)}",
        target["measured"],
        text_of_pair(target.get("quartiles")),
        "" if settled is None else "yes" if settled else "no",
        "" if spare is None else f"{spare:.1f} times",
        _verdict_of(target),
    )


def _verdict_of(target: Mapping[str, Any]) -> str:
    """Return a verdict and what it rests on."""
    verdict: str = target["verdict"]
    if decider := target.get("decided_by"):
        return f"{verdict}, decided by {decider['what']}: {text_of(decider['measured'])}"
    runs = target["runs"]
    return f"{verdict} in {runs} runs" if verdict == "not settled" and runs > 1 else verdict


def decimals(value: float) -> int:
    """Return the number of decimals that :func:`text_of` shows of ``value``."""
    return 2 if abs(value) >= _SMALL or not value else 4
