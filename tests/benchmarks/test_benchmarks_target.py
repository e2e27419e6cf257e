"""A figure that has not settled is marked and decides nothing; no test asserts a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from benchmarks import results, summary
from benchmarks.estimates import has_settled, quartiles
from benchmarks.harness import main
from benchmarks.loop_turns import LoopTurns, lag
from benchmarks.processes import run_loop
from benchmarks.result import Result, Table, table_of, unaccompanied
from benchmarks.target import MOST_RUNS, Target, share_of_limit, until_settled

CALM = [0.99, 1.0, 1.01]
WILD = [0.5, 1.0, 1.5]
RATE = "delivered per second"
CPU = "CPU per event"


def target(
    ratios: Sequence[float] = CALM, limit: float = 2.0, what: str = RATE, **options: str
) -> Target:
    return Target.of_ratios(what, ratios, limit, stand_in=options.get("stand_in"))


def test_ratio_has_settled_up_to_quartiles_15_percent_of_it_apart() -> None:
    assert has_settled(2.0, (1.9, 2.2))
    assert not has_settled(2.0, (1.9, 2.21))
    assert has_settled(0.2, (0.18, 0.21))
    assert not has_settled(0.2, (0.17, 0.21))


def test_ratio_whose_quartiles_are_not_known_has_not_settled() -> None:
    assert quartiles([1.0]) is None
    assert quartiles([1.0, 2.0, 3.0]) == (1.5, 2.5)
    assert not has_settled(1.0, None)
    assert target([1.0]).verdict == "not settled"


def test_unsettled_ratio_is_neither_met_nor_missed() -> None:
    assert target(WILD, limit=2.0).verdict == "not settled"
    assert target(WILD, limit=0.1).verdict == "not settled"
    assert target(CALM, limit=2.0).verdict == "met"
    assert target(CALM, limit=0.9).verdict == "missed"


@pytest.mark.parametrize(
    ("sense", "limit", "verdict"),
    [
        ("at most", 1.2, "met"),
        ("at most", 1.19, "missed"),
        ("at least", 1.2, "met"),
        ("at least", 1.21, "missed"),
        ("at most", None, "reported"),
    ],
)
def test_figure_that_is_no_ratio_is_held_against_its_limit(
    sense: str, limit: float | None, verdict: str
) -> None:
    side = "at least" if sense == "at least" else "at most"
    found = Target("bytes", 1.2, limit, "at least" if side == "at least" else "at most")
    assert (found.verdict, found.settled) == (verdict, True)
    assert "settled" not in found.as_json()


def test_shares_grow_past_one_on_the_wrong_side_of_either_limit() -> None:
    assert share_of_limit(Target("a", 3.0, 2.0).as_json()) == 1.5
    assert share_of_limit(Target("a", 2.0, 3.0, "at least").as_json()) == 1.5
    assert share_of_limit(Target("a", 3.0, 0).as_json()) is None
    assert share_of_limit(Target("a", 3.0, None).as_json()) is None


def runs_of(*runs: Sequence[Target]) -> tuple[Callable[[], Sequence[Target]], Iterator[object]]:
    """One run after the other, and what is left of them."""
    left = iter(runs)
    return lambda: next(left), left


def test_target_is_measured_again_until_it_settles() -> None:
    measure, left = runs_of([target(WILD)], [target(WILD)], [target(CALM)], [target(CALM)])
    _, (found,) = until_settled(measure, list, MOST_RUNS)
    assert (found.verdict, found.runs) == ("met", 3)
    assert len(list(left)) == 1


def test_target_keeps_the_first_run_that_it_settled_in() -> None:
    """While another of the same benchmark goes on."""
    measure, _ = runs_of(
        [target([1.0, 1.0], what="a"), target(WILD, what="b")],
        [target([1.1, 1.1], what="a"), target(CALM, what="b")],
    )
    _, found = until_settled(measure, list, MOST_RUNS)
    assert [(each.what, each.measured, each.runs) for each in found] == [
        ("a", 1.0, 1),
        ("b", 1.0, 2),
    ]


@pytest.mark.parametrize(("cpu", "verdict"), [(0.9, "met"), (2.1, "missed")])
def test_cpu_decides_for_a_rate_that_did_not_settle_in_five_runs(cpu: float, verdict: str) -> None:
    run = [target(WILD, stand_in=CPU), target([cpu, cpu], what=CPU)]
    measure, left = runs_of(*[run] * 6)
    _, (rate, decider) = until_settled(measure, list, MOST_RUNS)
    assert len(list(left)) == 6 - 5
    assert (rate.verdict, rate.settled, rate.runs) == (verdict, False, 5)
    assert (decider.verdict, decider.runs) == (verdict, 1)
    row = table_of([rate.as_json()]).rows[0]
    assert row[-2:] == ["no", f"{verdict}, decided by CPU per event: {cpu:.2f}"]


def test_what_does_not_settle_either_decides_nothing() -> None:
    run = [target(WILD, stand_in=CPU), target(WILD, what=CPU)]
    _, (rate, cpu) = until_settled(lambda: run, list, MOST_RUNS)
    assert rate.verdict == cpu.verdict == "not settled"
    assert table_of([rate.as_json()]).rows[0][-1] == "not settled in 5 runs"


def test_stand_in_does_not_decide_before_the_five_runs_are_over() -> None:
    run = [target(WILD, stand_in=CPU), target(CALM, what=CPU)]
    _, (rate, _) = until_settled(lambda: run, list, 4)
    assert rate.verdict == "not settled"


def test_page_lists_what_is_asked_first_and_marks_what_has_not_settled() -> None:
    asked = Target.of_ratios("asked", [2.0, 2.0], 2.2, sense="at least", contender="bare loop")
    doubtful = Target.of_ratios("doubtful", WILD, 2.0, contender="another", spare=6.25)
    document = {
        "benchmark": "it",
        "question": "How?",
        "began": "2024-10-22T13:15:08+00:00",
        "quick": False,
        "machine": {
            "cores": 2,
            "processor": "a processor",
            "system": "Linux 6",
            "python": "CPython 3.11.7",
            "versions": {},
            "cores_used_by_others": 0.0,
        },
        "targets": [each.as_json() for each in (asked, doubtful, Target("other", 1.0, 2.0))],
        "skipped": ["it: inline: no option"],
        "tables": [],
        "figures": {},
    }
    entry = summary.entry_of(document)
    page = results.text([entry], [], results.PAGE.parent)
    first, _, section = page.partition("## it")
    assert "**1 of 3 targets are met.**" in first
    assert "- it: asked: 2.00, at least 2.20" in first
    assert "Not settled:\n\n- it: doubtful, at most 2.00\n" in first
    head = "|  | contender | target | measured | quartiles | settled | sink to spare |  |"
    assert head in first
    row = "| doubtful | another | at most 2.00 | 1.00 | 0.75-1.25 | no | 6.2 times "
    assert f"{row}| **not settled** |" in first
    assert "| asked | bare loop | at least 2.20 | 2.00 | 2.00-2.00 | yes |  | **missed** |" in first
    assert "| other |" not in first
    assert "| other |" in section
    assert "- it: skipped: it: inline: no option" in first


@pytest.mark.parametrize(
    ("columns", "alone"),
    [
        (["", "hooks/s"], ["'hooks/s' without CPU"]),
        (["", "hooks/s", "CPU µs"], []),
        (["", "events per second"], ["'events per second' without CPU"]),
        (["", "per second of CPU"], []),
        (["", "p50 ms", "p99 ms"], ["'p99 ms' without lag"]),
        (["", "p99 ms", "lag ms of CPU"], []),
        (["", "ms", "µs"], []),
    ],
)
def test_rates_have_cpu_and_99th_percentiles_have_loop_lag_beside_them(
    columns: list[str], alone: list[str]
) -> None:
    assert unaccompanied([Table("", columns, [])]) == alone
    assert unaccompanied([Table("", ("", ""), [(name, 1.0) for name in columns])]) == alone


def test_targets_of_rates_and_percentiles_name_their_stand_ins() -> None:
    lags = [target(what="p99", stand_in="loop lag"), target(what="loop lag")]
    assert unaccompanied([], lags) == []
    assert unaccompanied([], lags[:1]) == ["'p99' without a stand-in of lag"]
    assert unaccompanied([], [target()]) == [f"{RATE!r} without a stand-in of CPU"]
    assert unaccompanied([], [target(stand_in=CPU), target(what=CPU)]) == []


def test_benchmark_that_shows_a_rate_alone_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["it", "--quick"])
    with pytest.raises(ValueError, match="'events/s' without CPU"):
        main("it", "How?", lambda quick: Result([Table("", ("", "events/s"), [])], []))


def test_turns_of_the_loop_are_noted_one_by_one() -> None:
    turns = LoopTurns()

    async def work() -> int:
        await asyncio.sleep(0)
        turns.take()
        for _ in range(5):
            await asyncio.sleep(0)
        return len(turns.take())

    assert run_loop(work(), turns.new_loop) == 5
    assert lag([]) == 0.0
    assert lag([float(each) for each in range(1, 101)]) == 99.0


def test_turn_counts_the_cpu_time_that_its_thread_used() -> None:
    """Not what it waited: a turn that computes is longer than one that blocks for longer."""
    turns = LoopTurns()

    async def work() -> list[float]:
        await asyncio.sleep(0)
        turns.take()
        time.sleep(0.3)  # noqa: ASYNC251 - blocking is what is tested
        await asyncio.sleep(0)
        sum(range(1_000_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return turns.take()

    blocks, computes, rests = run_loop(work(), turns.new_loop)
    assert 0 < blocks < computes
    assert 0 < rests < computes
