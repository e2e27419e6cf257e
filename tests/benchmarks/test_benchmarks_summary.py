"""The summary keeps of each run what the page and the charts show, and no more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import results, summary
from benchmarks.__main__ import ORDER
from benchmarks.paths import RESULTS, ROOT
from benchmarks.target import Target


def run_of(name: str, began: str = "2024-10-22T13:15:08+00:00", **changes: Any) -> dict[str, Any]:
    """A raw run as a benchmark writes it."""
    machine = {
        "cores": 2,
        "processor": "a processor",
        "system": "Linux 6",
        "python": "CPython 3.11.7",
        "versions": {"aiohttp": "3.14.0"},
        "cores_used_by_others": 0.0,
    }
    ratios = [0.8765432, 0.8865432, 0.8665432]
    target = Target.of_ratios("ratio", ratios, 1 / 3, contender="another").as_json()
    table = {"title": "Title", "columns": ["", "n"], "rows": [["one", 12345.6789], ["two", 7]]}
    return {
        "benchmark": name,
        "question": "How much?",
        "began": began,
        "quick": False,
        "machine": machine,
        "targets": [target],
        "tables": [table],
        "figures": {"samples": list(range(1000))},
    } | changes


def test_kept_page_is_what_the_kept_summary_says() -> None:
    entries = summary.read(RESULTS / summary.SUMMARY)
    measured = [entry["benchmark"] for entry in entries]
    assert measured == [name for name in ORDER if name in measured]
    charts = [RESULTS / "overview.svg", *(RESULTS / f"{name}.svg" for name in measured)]
    page = results.text(entries, charts, results.PAGE.parent)
    assert page == results.PAGE.read_text(encoding="utf-8")


def test_kept_results_are_one_summary_and_the_charts_that_are_shown(tmp_path: Path) -> None:
    shown = {
        Path(link).name
        for page in (results.PAGE, ROOT / "README.md")
        for link in re.findall(r"\]\((\S*results/\S+)\)", page.read_text(encoding="utf-8"))
    }
    kept = {path.name for path in RESULTS.iterdir()}
    assert kept == shown | {summary.SUMMARY}
    text = (RESULTS / summary.SUMMARY).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 400
    summary.write(tmp_path / "again.json", json.loads(text))
    assert (tmp_path / "again.json").read_text(encoding="utf-8") == text


def test_entry_has_the_digits_that_are_shown_and_no_samples() -> None:
    entry = summary.entry_of(run_of("other"))
    assert entry["tables"][0]["rows"] == [["one", 12345.68], ["two", 7]]
    (target,) = entry["targets"]
    assert (target["measured"], target["limit"], target["verdict"]) == (0.8765, 0.3333, "missed")
    assert (target["quartiles"], target["settled"]) == ([0.8715, 0.8815], True)
    assert "figures" not in entry
    assert "series" not in entry


def test_series_have_four_significant_digits_and_exact_counts() -> None:
    timed = {"bare": {"seconds": [0.08961]}, "hooks": {"seconds": [0.06076]}}
    runs = {"asyncio": {"events": 1000} | timed}
    entry = summary.entry_of(run_of("throughput", figures={"runs": runs}))
    assert entry["series"] == {"loops": ["asyncio"], "bare": [11159], "hooks": [16458]}
    waiting = {"body": 300, "keys": "alike", "waiting": "turn", "beyond_body": 408.8873}
    entry = summary.entry_of(run_of("pending", figures={"pending": [waiting]}))
    assert entry["series"] == {"300 bytes, keys alike": 408.9}


def test_latest_run_of_each_is_kept_in_the_order_of_the_page() -> None:
    earlier = [run_of("b", "2024-10-02"), run_of("a", "2024-10-02"), run_of("else", "2024-10-02")]
    later = [run_of("a", "2024-10-03"), run_of("b", "2024-10-01"), run_of("c", "2024-10-03")]
    merged = summary.merge(earlier, later, ["c", "b", "a"])
    assert [(each["benchmark"], each["began"]) for each in merged] == [
        ("c", "2024-10-03"),
        ("b", "2024-10-02"),
        ("a", "2024-10-03"),
        ("else", "2024-10-02"),
    ]


def test_only_charts_of_new_runs_are_drawn(tmp_path: Path) -> None:
    """A chart is not drawn again for another version of matplotlib alone."""
    runs, kept, page = tmp_path / "runs", tmp_path / "kept", tmp_path / "PAGE.md"
    runs.mkdir()
    for name in ("a", "b"):
        (runs / f"{name}.json").write_text(json.dumps(run_of(name)))
    charts = [kept / "overview.svg", kept / "a.svg", kept / "b.svg"]
    assert results.write(runs, kept, page, ["a", "b"]) == [page, *charts]
    for chart in charts:
        chart.write_text("as it was")
    results.write(runs, kept, page, ["a", "b"])
    assert {chart.read_text() for chart in charts} == {"as it was"}
    (runs / "b.json").write_text(json.dumps(run_of("b", "2024-10-23T00:00:00+00:00")))
    (runs / "a.json").unlink()
    results.write(runs, kept, page, ["a", "b"])
    assert [chart.read_text() == "as it was" for chart in charts] == [False, True, False]
    assert re.findall(r"^## (\w+)$", page.read_text(), re.MULTILINE) == ["a", "b"]


def test_packed_json_is_the_same_value_in_few_lines(tmp_path: Path) -> None:
    entries = [run_of(name, figures={"rows": [['say "no"', 1.5, None]] * 40}) for name in "ab"]
    path = tmp_path / "made" / "summary.json"
    summary.write(path, entries)
    assert summary.read(path) == entries
    assert len(path.read_text().splitlines()) < 50
    assert summary.read(tmp_path / "none.json") == []
