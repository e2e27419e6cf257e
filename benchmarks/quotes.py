"""What the README says of speed, held against the summary: ``python -m benchmarks.quotes``.

A figure may be quoted if the summary has it and, where it is a ratio or belongs to one, if that has
settled. A chart of a benchmark with a target that has not settled may be shown if the paragraph
below it says so. Every figure in the README's sections on speed has its source here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import summary
from benchmarks.estimates import has_settled
from benchmarks.paths import RESULTS, ROOT

#: The sections that are held against the summary, by their headings.
_SECTIONS: Final = ("Tuning", "How fast")
#: What says that a chart's figures are not to be relied on.
MARK: Final = "not settled"

#: A number that was measured: one with decimals, or one with a unit behind it or, of a
#: factor, a multiplication sign before.
_MEASURED: Final = re.compile(
    r"\d[\d,]*\.\d+|(?<=\u00d7 )\d[\d,]*|"
    r"\d[\d,]*(?= (?:times|µs|ms|s|MiB|of \w+'s calls|events per second|per second)\b)"
)
_CODE: Final = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_CHART: Final = re.compile(r"!\[[^\]]*\]\(benchmarks/results/(\w+)\.svg\)\s+((?:.+\n)+)")


@dataclass(frozen=True, slots=True)
class Source:
    """A cell of a table in the summary.

    Attributes:
        benchmark: its name.
        table: the beginning of the table's title.
        row: the row's first cell.
        column: the column's name.
        ratio: column of the ratio that has to have settled; None for a figure that has no
            contender, such as bytes.
    """

    benchmark: str
    table: str
    row: str
    column: str
    ratio: str | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of the README with a group for each figure, and where these come from."""

    words: str
    sources: Sequence[Source]


def _ratio(benchmark: str, table: str, row: str, column: str) -> Source:
    return Source(benchmark, table, row, column, column)


_NO_MATCH: Final = ("emit", "An emit that matches nothing", "emit, no match")
_BURST: Final = ("emit", "To one async subscriber until it ran, 100 at once", "emit")
_SINGLE: Final = ("emit", "To one async subscriber until it ran, one at a time")
_SCALING: Final = ("scaling", "Webhooks that all get every event")
_PENDING: Final = ("journal", "1,000,000 events pending")

QUOTES: Final[Sequence[Quote]] = (
    Quote(
        r"takes (\S+) µs, (\S+) times an empty",
        [
            Source(*_NO_MATCH, "µs", ratio="/ empty async def"),
            _ratio(*_NO_MATCH, "/ empty async def"),
        ],
    ),
    Quote(
        r"until it has run, (\S+) times an inline call by blinker",
        [_ratio(*_BURST, "/ blinker send_async")],
    ),
    Quote(
        r"One event at a time costs (\S+) times blinker's call and (\S+) times pyee's",
        [
            _ratio(*_SINGLE, "emit", "/ blinker send_async"),
            _ratio(*_SINGLE, "emit", "/ pyee emit"),
        ],
    ),
    Quote(
        r"event loop alone costs (\S+) of blinker's calls, a task ([\d.]+)\.",
        [
            _ratio(*_SINGLE, "a turn of the loop", "/ blinker send_async"),
            _ratio(*_SINGLE, "a task of its own", "/ blinker send_async"),
        ],
    ),
    Quote(
        r"a delivery costs (\S+) to (\S+) µs of CPU",
        [
            Source(*_SCALING, "10", "µs CPU/delivery"),
            Source(*_SCALING, "1,000", "µs CPU/delivery"),
        ],
    ),
    Quote(
        r"A million pending events take (\S+) MiB of memory and a file of (\S+) MiB, "
        r"which opens in (\S+) s",
        [
            Source("journal", "Resident MiB while events are left pending", "1,000,000", "MiB"),
            Source(*_PENDING, "MiB of file", ""),
            Source(*_PENDING, "seconds to open it again", ""),
        ],
    ),
)


def problems(
    readme: str, entries: Sequence[Mapping[str, Any]], quotes: Sequence[Quote] = QUOTES
) -> list[str]:
    """Return what the README says that the summary does not bear out, a line each.

    Args:
        readme: its text.
        entries: of the summary.
        quotes: the figures that it is known to quote.
    """
    by_name = {entry["benchmark"]: entry for entry in entries}
    text = " ".join(_CODE.sub("` `", _sections(readme)).split())
    found: list[str] = []
    for quote in quotes:
        match = re.search(quote.words, text)
        if match is None:
            found.append(f"the README no longer says {quote.words!r}: drop the quote")
            continue
        for quoted, source in zip(match.groups(), quote.sources, strict=True):
            found += _doubts(quoted, source, by_name)
        text = f"{text[: match.start()]} … {text[match.end() :]}"
    found += [f"{number} has no source in the summary" for number in _MEASURED.findall(text)]
    return found + list(_unmarked_charts(readme, by_name))


def _sections(readme: str) -> str:
    """Return the sections on speed: each up to the next heading."""
    parts = re.split(r"^##+ (.+)$", readme, flags=re.MULTILINE)
    return "\n".join(
        text for heading, text in zip(parts[1::2], parts[2::2], strict=True) if heading in _SECTIONS
    )


def _doubts(quoted: str, source: Source, entries: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one figure."""
    row = _row(source, entries)
    if row is None:
        yield f"{quoted} is not in the summary: {source}"
        return
    value = row[source.column]
    digits = len(quoted.partition(".")[2])
    if f"{value:,.{digits}f}" != quoted:
        yield f"{quoted} is {value} in the summary: {source}"
    if source.ratio is None:
        return
    low, _, high = str(row[f"{source.ratio} quartiles"]).partition("-")
    if not has_settled(row[source.ratio], (float(low), float(high)) if high else None):
        yield f"{quoted} has not settled: {source}"


def _row(source: Source, entries: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a row's cells by column; quartiles by the column that they belong to."""
    for table in entries.get(source.benchmark, {}).get("tables", ()):
        if not table["title"].startswith(source.table):
            continue
        columns = list(table["columns"])
        for place, name in enumerate(columns):
            if name == "quartiles":
                columns[place] = f"{columns[place - 1]} quartiles"
        for row in table["rows"]:
            if row[0] == source.row:
                cells = dict(zip(columns[1:], row[1:], strict=True))
                return cells if source.column in cells else None
    return None


def _unmarked_charts(readme: str, entries: Mapping[str, Any]) -> Iterator[str]:
    """Yield the charts of figures that have not settled and that nothing says so of."""
    for name, paragraph in _CHART.findall(readme):
        if _is_doubtful(entries.get(name, {})) and MARK not in " ".join(paragraph.split()):
            yield f"{name}.svg shows what has not settled, and no '{MARK}' stands below it"


def _is_doubtful(entry: Mapping[str, Any]) -> bool:
    """Return True if a target has not settled, or a table compares without quartiles."""
    columns = [table["columns"] for table in entry.get("tables", ())]
    return any(target.get("settled") is False for target in entry.get("targets", ())) or any(
        name.startswith("/ ") and following != "quartiles"
        for names in columns
        for name, following in zip(names, [*names[1:], ""], strict=True)
    )


def main() -> int:
    """Print what is wrong with the README; 1 if anything is."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = problems(readme, summary.read(RESULTS / summary.SUMMARY))
    print(
        "\n".join(found) or "Everything that the README quotes is in the summary and has settled."
    )
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
