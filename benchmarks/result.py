"""Plain values that a benchmark returns: tables, targets and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

#: A ratio below it is told apart from its limit by its fourth decimal only.
_SMALL: Final = 0.2


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
class Target:
    """Upper limit of a figure, and the figure that was measured."""

    what: str
    measured: float
    at_most: float

    @property
    def met(self) -> bool:
        """True if the figure keeps to its limit."""
        return self.measured <= self.at_most


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one run.

    Attributes:
        tables: what is printed.
        targets: what was to be shown.
        figures: what the tables were made from, for charts; JSON values.
        contenders: the distributions that were compared with, for their versions.
        samples: of a microbenchmark, seconds per operation in each process, by the name of
            what was measured, for pyperf.
    """

    tables: Sequence[Table]
    targets: Sequence[Target]
    figures: dict[str, Any] = field(default_factory=dict)
    contenders: Sequence[str] = ()
    samples: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)


def text_of(value: str | float) -> str:
    """Return a table's cell as people read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{decimals(value)}f}"


def decimals(value: float) -> int:
    """Return the number of decimals that :func:`text_of` shows of ``value``."""
    return 2 if abs(value) >= _SMALL or not value else 4
