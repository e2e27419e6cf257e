"""Two checkouts are compared by ratios of medians with an interval; no test asserts a time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks.compare import QUESTIONS, Comparison, Question, in_turns, run_child
from benchmarks.compare_child import MEASURES
from benchmarks.estimates import ratio_interval, ratio_of_medians
from benchmarks.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m benchmarks.compare`` as a user would."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "benchmarks.compare", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_ratio_is_of_medians_so_that_one_slow_run_changes_nothing() -> None:
    assert ratio_of_medians([2.0, 2.0, 90.0], [3.0, 3.0, 0.1]) == 1.5


def test_interval_of_equal_values_is_their_ratio() -> None:
    assert ratio_interval([2.0] * 5, [3.0] * 5, Random(1)) == (1.5, 1.5)


def test_interval_includes_one_where_both_sides_are_drawn_alike() -> None:
    draw = Random(7)
    before, after = ([draw.gauss(10, 0.5) for _ in range(12)] for _ in range(2))
    low, high = ratio_interval(before, after, Random(1))
    assert low < 1 < high
    assert low <= ratio_of_medians(before, after) <= high


def test_interval_excludes_one_where_a_side_is_slower_than_its_spread() -> None:
    draw = Random(7)
    before = [draw.gauss(10, 0.2) for _ in range(12)]
    low, high = ratio_interval(before, [1.1 * each for each in before], Random(1))
    assert 1 < low < 1.1 < high


def test_interval_narrows_with_more_runs_and_depends_on_the_seed_alone() -> None:
    draw = Random(7)
    values = [draw.gauss(10, 1) for _ in range(100)]
    low, high = ratio_interval(values, values, Random(1))
    few_low, few_high = ratio_interval(values[:8], values[:8], Random(1))
    assert high - low < few_high - few_low
    assert ratio_interval(values, values, Random(1)) == (low, high)


@pytest.mark.parametrize(
    ("unit", "after", "interval", "holds"),
    [
        ("µs", 105.0, (1.04, 1.06), True),
        ("µs", 106.0, (1.04, 1.08), False),
        ("µs", 106.0, (0.99, 1.10), True),
        ("µs", 50.0, (0.4, 0.6), True),
        ("bytes", 103.0, (1.02, 1.04), True),
        ("bytes", 104.0, (0.99, 1.05), False),
    ],
)
def test_cpu_may_vary_within_its_interval_and_memory_may_not(
    unit: str, after: float, interval: tuple[float, float], holds: bool
) -> None:
    question = Question("something", "µs" if unit == "µs" else "bytes")
    comparison = Comparison("something", question, [100.0], [after], interval)
    assert comparison.holds is holds
    assert comparison.row()[-1] == ("holds" if holds else "FAILS")


def test_an_idle_webhook_has_a_limit_of_its_own() -> None:
    for after, holds in ((4096.0, True), (4097.0, False)):
        question = QUESTIONS["idle"]
        assert Comparison("idle", question, [4090.0], [after], (1.0, 1.0)).holds is holds


def test_sides_take_turns_forwards_and_backwards() -> None:
    assert in_turns(3) == [0, 1, 1, 0, 0, 1]


def test_every_question_has_its_measurement() -> None:
    assert list(QUESTIONS) == list(MEASURES)


def test_same_checkout_on_both_sides_answers_every_question() -> None:
    """A quick run is not judged: its figures mean nothing."""
    done = compare(str(ROOT), str(ROOT), "--quick", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = re.findall(r"^  (.+?)  +(µs|bytes) .* (?:holds|FAILS)$", done.stdout, re.MULTILINE)
    assert [what.partition(", registered")[0].partition(", delivered")[0] for what, _ in rows] == [
        each.asked for name, each in QUESTIONS.items() for _ in range(1 + (name == "idle"))
    ]
    assert [unit for _, unit in rows] == ["µs"] * 8 + ["bytes"] * 3


def test_questions_may_be_named_and_this_checkout_is_the_default() -> None:
    done = compare(str(ROOT), "emit-singly", "--quick", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert f"after:  {ROOT}" in done.stdout
    assert re.findall(r"^([\w-]+): \d+ s$", done.stdout, re.MULTILINE) == ["emit-singly"]


def test_a_child_measures_the_package_of_the_checkout_it_is_given(tmp_path: Path) -> None:
    """Another package of the same name is imported from the checkout, not from here."""
    package = tmp_path / "relaybox_hooks"
    package.mkdir()
    (package / "__init__.py").write_text('raise SystemExit("another package")')
    with pytest.raises(subprocess.CalledProcessError):
        run_child("emit-singly", tmp_path, "http://127.0.0.1:9", quick=True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nowhere"], "nowhere holds no relaybox_hooks package"),
        ([str(ROOT), "emit-twice"], "no question is called so"),
        ([str(ROOT), "idle", "emit-twice"], "no question is called emit-twice"),
    ],
)
def test_an_unknown_checkout_or_question_is_rejected(arguments: list[str], error: str) -> None:
    done = compare("--quick", *arguments)
    assert done.returncode == 2
    assert error in done.stderr
