"""The README quotes only what the summary has and what has settled."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import quotes, summary
from benchmarks.paths import RESULTS, ROOT
from benchmarks.quotes import Quote, Source, problems

README = "# It\n\n## Tuning\n\n### How fast\n\n{}\n\n## Testing\n\nTakes 7.7 s.\n"
QUOTE = Quote(
    r"costs (\S+) µs, (\S+) times",
    [
        Source("it", "Cost", "ours", "µs", ratio="/ theirs"),
        Source("it", "Cost", "ours", "/ theirs"),
    ],
)
SETTLED = Quote(r"is (\S+) times", [Source("it", "Cost", "ours", "/ theirs", ratio="/ theirs")])


def entry(between: str = "0.45-0.52", **changes: Any) -> dict[str, Any]:
    columns = ["", "µs", "/ theirs", "quartiles"]
    rows = [["ours", 3.94, 0.5, between], ["theirs", 7.88, "", ""]]
    table = {"title": "Cost, medians of 9 rounds", "columns": columns, "rows": rows}
    return {"benchmark": "it", "targets": [], "tables": [table]} | changes


def test_readme_quotes_what_is_kept_and_has_settled() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert problems(readme, summary.read(RESULTS / summary.SUMMARY)) == []
    assert quotes.main() == 0


def test_quoted_ratio_that_has_not_settled_is_a_problem() -> None:
    """Its quartiles are more than 15 % of it apart, or are not known."""
    readme = README.format("It is 0.50 times theirs.")
    assert problems(readme, [entry()], [SETTLED]) == []
    for between in ("0.45-0.53", ""):
        (problem,) = problems(readme, [entry(between)], [SETTLED])
        assert problem.startswith("0.50 has not settled")


def test_rate_is_as_doubtful_as_its_ratio() -> None:
    found = problems(README.format("It costs 3.9 µs, 0.5 times."), [entry("0.40-0.60")], [QUOTE])
    assert [problem.partition(":")[0] for problem in found] == ["3.9 has not settled"]


def test_figure_that_is_another_in_the_summary_is_a_problem() -> None:
    (problem,) = problems(README.format("It costs 3.8 µs, 0.5 times."), [entry()], [QUOTE])
    assert problem.startswith("3.8 is 3.94 in the summary")


@pytest.mark.parametrize(
    "text",
    ["1.2 times as fast", "3,000 events per second", "\u00d7 2", "takes 12 ms", "holds 7 MiB"],
)
def test_figure_without_a_source_is_a_problem(text: str) -> None:
    (problem,) = problems(README.format(text), [entry()], [])
    assert problem.endswith("has no source in the summary")


def test_numbers_that_were_not_measured_need_no_source() -> None:
    readme = README.format("To 47 webhooks of `1.5 s`, bodies of 64 KiB.\n\n```\n1.5 s\n```")
    assert problems(readme, [entry()], []) == []


def test_quote_that_the_readme_has_lost_is_a_problem() -> None:
    (problem,) = problems(README.format(""), [entry()], [SETTLED])
    assert problem.startswith("the README no longer says")


def test_figure_that_the_summary_has_lost_is_a_problem() -> None:
    (problem,) = problems(README.format("It is 0.50 times theirs."), [], [SETTLED])
    assert problem.startswith("0.50 is not in the summary")


@pytest.mark.parametrize(
    "doubtful",
    [
        {"targets": [{"what": "it", "settled": False}]},
        {"tables": [{"title": "", "columns": ["", "/ theirs"], "rows": []}]},
        {"tables": [{"title": "", "columns": ["", "/ theirs", "µs"], "rows": []}]},
    ],
)
def test_chart_of_what_has_not_settled_says_so(doubtful: dict[str, Any]) -> None:
    chart = "![It](benchmarks/results/it.svg)\n\nIt beside theirs{}."
    said, unsaid = (README.format(chart.format(each)) for each in (", not\nsettled", ""))
    assert problems(said, [entry(**doubtful)], []) == []
    assert problems(unsaid, [entry()], []) == []
    (problem,) = problems(unsaid, [entry(**doubtful)], [])
    assert problem.startswith("it.svg shows what has not settled")
