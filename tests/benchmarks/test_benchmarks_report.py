"""Short runs end in JSON, a summary, charts and a page, and a short soak accounts for all; no test
asserts a time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from benchmarks import results, summary
from benchmarks.bodies import body_size, padded
from benchmarks.charts import draw
from benchmarks.paths import RESULTS, ROOT
from benchmarks.result import Table
from relaybox_hooks import Session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_NAMES: Final = ("scaling", "pending", "journal")
_LIMIT_LABEL: Final = "1 is the limit; green is met, red is missed, grey has not settled"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` with ``arguments`` in the project's directory."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a short soak and two short benchmarks left their results."""
    directory = tmp_path_factory.mktemp("results")
    before = sorted(RESULTS.glob("*")), results.PAGE.exists() and results.PAGE.read_bytes()
    soak = python("benchmarks.soak", "--minutes", "0.1", "--output", str(directory))
    assert soak.returncode == 0, soak.stderr
    done = python("benchmarks", "--quick", "--output", str(directory), *_NAMES)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for path in ("RESULTS.md", "overview.svg", *(f"{name}.svg" for name in _NAMES), "soak.svg"):
        assert str(directory / path) in done.stdout
    after = sorted(RESULTS.glob("*")), results.PAGE.exists() and results.PAGE.read_bytes()
    assert after == before
    return directory


@pytest.fixture(scope="module")
def page(output: Path) -> str:
    return (output / "RESULTS.md").read_text(encoding="utf-8")


def figures(output: Path, name: str) -> Any:
    return json.loads((output / f"{name}.json").read_text(encoding="utf-8"))["figures"]


def test_page_has_a_section_for_each_with_its_question_in_their_order(page: str) -> None:
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == [*_NAMES, "soak"]
    for question in re.findall(r"^## \w+\n\n(.*)\n", page, re.MULTILINE):
        assert question.endswith("?")


def test_page_says_where_it_was_measured_and_that_quick_runs_mean_nothing(page: str) -> None:
    assert f"CPython {sys.version.split()[0]}" in page
    assert "aiohttp 3." in page
    assert "quick runs, whose figures mean nothing:** scaling, pending, journal" in page


def test_page_holds_every_table_and_target(output: Path, page: str) -> None:
    for name in (*_NAMES, "soak"):
        document = json.loads((output / f"{name}.json").read_text(encoding="utf-8"))
        for table in document["tables"]:
            assert results.markdown(Table(**table)) in page
        for target in document["targets"]:
            what, verdict = re.escape(target["what"]), target["verdict"]
            assert re.search(rf"^\| {what} \|.* (\*\*)?{verdict}", page, re.MULTILINE)


def test_page_links_only_files_that_are_there(output: Path, page: str) -> None:
    links = re.findall(r"\]\((.+?)\)", page)
    assert links == ["overview.svg", *(f"{name}.svg" for name in _NAMES), "soak.svg"]
    assert all((output / link).is_file() for link in links)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("overview", {"Measured, as a share of what is allowed", _LIMIT_LABEL}),
        ("scaling", {"delivered per second", "webhooks, each gets every event", "1,000"}),
        ("pending", {"bytes", "300 bytes, keys distinct"}),
        ("journal", {"Events accepted per second", "bare loop", "events pending"}),
        ("soak", {"Resident memory", "MiB", "minutes"}),
    ],
)
def test_charts_are_labelled_and_transparent(output: Path, name: str, labels: set[str]) -> None:
    source = (output / f"{name}.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(source)  # noqa: S314 - our own
    texts = {element.text for element in root.iter() if element.text}
    assert labels <= texts
    # Neither a page's white nor its black is painted over, or written on in the same colour.
    assert not re.search(r"fill: #(fff|000)", source)


def test_throughput_is_drawn_beside_the_bare_loop_on_each_event_loop(tmp_path: Path) -> None:
    """The medians of the rounds, per second."""
    timed = {"bare": {"seconds": [0.5, 0.4, 9.0]}, "hooks": {"seconds": [0.2, 0.25, 0.1]}}
    runs = {loop: {"events": 1000} | timed for loop in ("asyncio", "uvloop")}
    document = {
        "benchmark": "throughput",
        "question": "How fast?",
        "began": "2024-10-22T13:15:08+00:00",
        "quick": False,
        "machine": {},
        "targets": [],
        "tables": [],
        "figures": {"runs": runs},
    }
    (path,) = draw([summary.entry_of(document)], tmp_path, changed=())
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own
    texts = {element.text for element in root.iter() if element.text}
    assert {"asyncio", "uvloop", "a bare loop of posts", "2,000", "5,000"} <= texts


def test_emit_is_drawn_with_every_contender_in_each_situation(tmp_path: Path) -> None:
    """Medians in microseconds."""
    document = {
        "benchmark": "emit",
        "question": "How dear?",
        "began": "2024-10-22T13:15:08+00:00",
        "quick": False,
        "machine": {},
        "targets": [],
        "tables": [],
        "figures": {
            "burst": 100,
            "no_match": {"emit, no match": [1.25e-6], "empty async def": [0.5e-6]},
            "one_subscriber": {"emit": [2e-6, 2.5e-6, 9e-6], "pyee emit": [5e-6]},
            "one_at_a_time": {"emit": [8e-6], "a turn of the loop": [2.25e-6]},
        },
    }
    (path,) = draw([summary.entry_of(document)], tmp_path, changed=())
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own
    texts = {element.text for element in root.iter() if element.text}
    assert {"To one function, 100 at once", "a turn of the loop", "1.25", "2.50", "2.25"} <= texts


def test_results_without_targets_or_a_chart_of_their_own_need_no_chart(tmp_path: Path) -> None:
    document = {
        "benchmark": "other",
        "question": "What else?",
        "began": "2024-10-22T13:15:08+00:00",
        "quick": False,
        "machine": {
            "cores": 2,
            "processor": "a processor",
            "system": "Linux 6",
            "python": "CPython 3.11.7",
            "versions": {"aiohttp": "3.14.0"},
            "cores_used_by_others": 0.0,
        },
        "targets": [],
        "tables": [{"title": "Title", "columns": ["", "n"], "rows": [["a|b", 1000]]}],
        "figures": {},
    }
    (tmp_path / "other.json").write_text(json.dumps(document))
    page = tmp_path / "RESULTS.md"
    assert results.write(tmp_path, tmp_path, page, ["other"]) == [page]
    assert page.read_text().endswith(
        "## other\n\nWhat else?\n\n**Title**\n\n|  | n |\n| --- | ---: |\n| a\\|b | 1,000 |\n"
    )


def test_scaling_counts_every_delivery_at_the_receiver(output: Path) -> None:
    found = figures(output, "scaling")
    assert [each["webhooks"] for each in found["webhooks"]] == [1, 10, 100, 1000]
    assert [each["body"] for each in found["bodies"]] == [260, 1000, 10_000, 100_000]
    for each in (*found["webhooks"], *found["bodies"]):
        assert each["per_second"] > 0
        assert each["cpu_per_event"] >= each["cpu_per_delivery"] > 0


def test_pending_events_of_each_kind_are_measured(output: Path) -> None:
    found = figures(output, "pending")
    for each in (*found["pending"], *found["traced"]):
        assert each["events"] == 100
    assert {each["waiting"] for each in found["pending"]} == {"turn", "retry"}
    assert all(each["files"] for each in found["traced"])
    assert "relaybox_hooks/wire/envelope.py" in found["traced"][0]["files"]


def test_a_journal_has_stored_and_delivered_what_it_was_measured_with(output: Path) -> None:
    """Both contenders committed every event; what was left pending was found again."""
    found = figures(output, "journal")
    assert [(each["durability"], each["emitters"]) for each in found["accepted"]] == [
        (durability, emitters) for durability in ("process", "power") for emitters in (1, 32, 256)
    ]
    for each in found["accepted"]:
        assert {len(each["seconds"][name]) for name in ("hooks", "bare loop")} == {1}
        assert each["stored"] >= 2 * each["emitters"]
        assert 0 < each["p50"] <= each["p99"]
    assert found["filled"]["events"] == list(range(0, 5001, 500))
    assert min(found["filled"]["resident"]) > 0
    assert found["reopened"]["pending"] == 5000
    assert found["reopened"]["received"] >= found["reopened"]["delivered"] >= 500


def test_soak_accounts_for_every_event_and_leaves_no_task(output: Path) -> None:
    """Under faults, with webhooks that come and go. What is compared is compared in the soak
    as well, which would have failed."""
    books = figures(output, "soak")["books"]
    assert books["emitted"] == 360
    assert books["accepted"] == 12 * books["emitted"]
    assert books["accepted"] == books["delivered"] + books["failed"] + books["dropped"]
    assert books["tasks_after"] == books["tasks_before"]
    assert books["requests"] >= books["answered_2xx"] > 0
    assert books["retried"] > 0
    samples = figures(output, "soak")["samples"]
    assert len(samples) == 60
    assert all(each["resident"] > 0 and each["tasks"] >= 1 for each in samples)


@pytest.mark.parametrize("size", [260, 1_000, 100_000])
def test_padded_bodies_have_the_size_asked_for(size: int) -> None:
    session = Session(connection_id="c000")
    assert body_size(padded(size, session), session) == size
    assert padded(100, session) is None
