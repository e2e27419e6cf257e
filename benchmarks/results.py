"""Bring the summary up to date with raw runs, and write ``RESULTS.md`` and the charts from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import summary
from benchmarks.paths import RESULTS
from benchmarks.result import Table, table_of, text_of

#: The page for the results in their usual place.
PAGE: Final = RESULTS.parent / "RESULTS.md"

_HEAD: Final = """\
# Results

Written by `python -m benchmarks` from the summary of the latest run of each. Ratios compare
contenders that took turns in one run. One whose quartiles lie further apart than 15 % of it, or are
not known, has not settled: it is neither met nor missed, and is not to be quoted. Where it does not
settle in five runs a steadier figure decides: CPU time per event in place of a rate, loop lag in
thread CPU time in place of a 99th percentile.
"""


def write(runs: Path, directory: Path, page: Path, order: Sequence[str]) -> list[Path]:
    """Update the summary and write what shows it.

    Without matplotlib it is a page without charts, and a line says so.

    Args:
        runs: the directory of the raw runs, each in a JSON file with the benchmark's name.
        directory: where the summary and the charts are.
        page: the Markdown file to write.
        order: names of the benchmarks as the page shows them; other files are not read.

    Returns:
        The page and the charts that it shows.
    """
    earlier = summary.read(directory / summary.SUMMARY)
    paths = [runs / f"{name}.json" for name in order]
    raw = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    entries = summary.merge(earlier, map(summary.entry_of, raw), order)
    summary.write(directory / summary.SUMMARY, entries)
    changed = {entry["benchmark"] for entry in entries if entry not in earlier}
    try:
        from benchmarks.charts import draw  # noqa: PLC0415 - may be missing
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print('No charts: pip install "relaybox-hooks[bench]" brings matplotlib.', file=sys.stderr)
        charts = []
    else:
        charts = draw(entries, directory, changed)
    page.write_text(text(entries, charts, page.parent), encoding="utf-8")
    return [page, *charts]


def text(documents: Sequence[dict[str, Any]], charts: Sequence[Path], base: Path) -> str:
    """Return the page as Markdown.

    Args:
        documents: entries of the summary in the order of their sections.
        charts: the SVG files there are; a section shows the one that bears its name.
        base: the directory of the page, which links are relative to.
    """
    links = {path.stem: path.relative_to(base).as_posix() for path in charts}
    parts = [_HEAD, _where(documents), _summary(documents)]
    if "overview" in links:
        parts.append(f"![Every target as a share of its limit]({links['overview']})\n")
    for document in documents:
        parts += _section(document, links.get(document["benchmark"]))
    return "\n".join(parts)


def _where(documents: Sequence[dict[str, Any]]) -> str:
    """Machines and versions: one line where all ran on the same."""
    lines = []
    for said, names in _grouped(
        (_machine(document["machine"]), document["benchmark"]) for document in documents
    ):
        lines.append(f"- {said}" + ("" if len(names) == len(documents) else f" ({_list(names)})"))
    versions: dict[str, set[str]] = {}
    for document in documents:
        for name, version in document["machine"]["versions"].items():
            versions.setdefault(name, set()).add(version)
    said = ", ".join(f"{name} {'/'.join(sorted(found))}" for name, found in versions.items())
    lines.append(f"- {said}")
    days = sorted({document["began"][:10] for document in documents})
    lines.append(f"- measured on {_list(days)}")
    quick = [document["benchmark"] for document in documents if document["quick"]]
    if quick:
        lines.append(f"- **quick runs, whose figures mean nothing:** {_list(quick)}")
    disturbed = [
        f"{document['benchmark']} ({document['machine']['cores_used_by_others']} cores)"
        for document in documents
        if document["machine"]["cores_used_by_others"] > 0.1
    ]
    if disturbed:
        lines.append(
            f"- **provisional, as other programs kept the machine busy:** {_list(disturbed)}"
        )
    return "\n".join(lines) + "\n"


def _machine(here: dict[str, Any]) -> str:
    return f"{here['cores']} cores, {here['processor']}, {here['system']}, {here['python']}"


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups.items()


def _summary(documents: Sequence[dict[str, Any]]) -> str:
    """How many targets are met; those that are not, by why; and the table of those asked for."""
    targets = [
        (document["benchmark"], target) for document in documents for target in document["targets"]
    ]
    judged = [(name, target) for name, target in targets if "limit" in target]
    met = sum(target["verdict"] == "met" for _, target in judged)
    lines = [f"**{met} of {len(judged)} targets are met.**", ""]
    missed = [
        f"- {name}: {target['what']}: {text_of(target['measured'])}, "
        f"{target['sense']} {text_of(target['limit'])}"
        for name, target in judged
        if target["verdict"] == "missed"
    ]
    if missed:
        lines += ["Missed:", "", *missed, ""]
    unsettled = [
        f"- {name}: {target['what']}, {target['sense']} {text_of(target['limit'])}"
        for name, target in judged
        if target["verdict"] == "not settled"
    ]
    if unsettled:
        lines += ["Not settled:", "", *unsettled, ""]
    asked = [target for _, target in targets if "contender" in target]
    if asked:
        lines.append(markdown(_marked(table_of(asked))))
    lines += [
        f"- {document['benchmark']}: skipped: {line}"
        for document in documents
        for line in document.get("skipped", ())
    ]
    return "\n".join(lines)


def _section(document: dict[str, Any], chart: str | None) -> list[str]:
    parts = [f"## {document['benchmark']}\n", f"{document['question']}\n"]
    if chart is not None:
        parts.append(f"![{document['question']}]({chart})\n")
    if document["targets"]:
        parts.append(markdown(_marked(table_of(document["targets"]))))
    parts += [markdown(Table(**table)) for table in document["tables"]]
    return parts


def _marked(table: Table) -> Table:
    """Return a table of targets with what is not met in bold."""
    rows = [
        [*row, verdict if str(verdict).startswith(("met", "reported")) else f"**{verdict}**"]
        for *row, verdict in table.rows
    ]
    return Table(table.title, table.columns, rows)


def markdown(table: Table) -> str:
    """Return a table under its title."""
    lines = [f"**{table.title}**", "", _row(table.columns)]
    lines.append(_row(["---", *["---:"] * (len(table.columns) - 1)]))
    lines += [_row([text_of(value) for value in row]) for row in table.rows]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
