"""The microbenchmarks in their short form: what they compare does the same work, and all of it;
no test asserts a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pyperf  # type: ignore[import-untyped]
import pytest

from benchmarks import emit
from benchmarks.features import RUNS_INLINE
from benchmarks.paths import ROOT
from benchmarks.pyperf_file import save
from benchmarks.turns import Turns, plain, spread, take_turns

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_NAMES: Final = ("emit", "wire", "registry", "imports")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each of them writes in its short form."""
    output = tmp_path_factory.mktemp("results")
    for name in _NAMES:
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--output", str(output)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    return {
        name: json.loads((output / f"{name}.json").read_text(encoding="utf-8")) for name in _NAMES
    }


def limits(document: Any) -> list[tuple[str, float]]:
    return [(each["what"], each["limit"]) for each in document["targets"]]


@pytest.mark.parametrize("name", _NAMES)
def test_each_asks_a_question_and_has_a_figure_for_every_target(
    documents: dict[str, Any], name: str
) -> None:
    document = documents[name]
    assert document["benchmark"] == name
    assert document["question"].endswith("?")
    assert document["quick"] is True
    assert all(each["measured"] > 0 for each in document["targets"])


@pytest.mark.parametrize("burst", [1, 100])
async def test_emit_is_timed_until_every_function_ran_for_every_event(burst: int) -> None:
    """Three turns, the first of which does not count."""
    _, ran = await emit.one_subscriber(rounds=2, size=200, burst=burst)
    names = {"emit", "blinker send_async", "pyee emit"}
    if RUNS_INLINE and burst == 1:
        names.add("emit, inline")
    assert ran == dict.fromkeys(names, 600)


def test_emit_is_compared_in_bursts_and_one_at_a_time(documents: dict[str, Any]) -> None:
    assert documents["emit"]["figures"]["burst"] == 100
    blinker = 3.0 if sys.version_info < (3, 12) else 2.5
    inline = [("CPU, one event to an inline subscriber, until it ran", 0.8)] * RUNS_INLINE
    assert limits(documents["emit"]) == [
        ("CPU, one event at a time to a subscriber", blinker),
        *inline,
        ("emit, no match / empty async def", 3.0),
        ("emit / blinker send_async", 1.0),
        ("emit / pyee emit", 0.6),
        ("emit / pyee emit, one at a time", 0.6),
    ]
    skipped = ["emit: inline subscriber: on has no option inline"] * (not RUNS_INLINE)
    assert documents["emit"]["skipped"] == skipped
    assert {"blinker", "pyee"} <= set(documents["emit"]["machine"]["versions"])


def test_wire_targets_are_shares_of_the_obvious_way(documents: dict[str, Any]) -> None:
    """That both ways make the same signatures, the benchmark checks before it measures."""
    assert limits(documents["wire"]) == [
        ("encode and sign / rfc8785 + json + hmac.new", 1 / 12),
        ("parse and verify / json + rfc8785 + json + hmac.new", 1 / 6),
    ]
    assert "rfc8785" in documents["wire"]["machine"]["versions"]


def test_registry_delivers_to_those_that_want_the_event_and_no_others(
    documents: dict[str, Any],
) -> None:
    """Three turns, the first of which does not count, of 5 emits, or of 1 to all of five."""
    figures = documents["registry"]["figures"]
    assert figures["delivered"] == {
        "1 webhook": 15,
        "20 webhooks, 1 wants it": 15,
        "5 webhooks of 1 applications, all want it": 15,
        "50 webhooks of 10 applications, all want it": 15,
        "5 webhooks of 1 applications, 1 of each wants it": 15,
        "50 webhooks of 10 applications, 1 of each wants it": 15,
    }
    assert figures["received"] == 90
    assert [limit for _, limit in limits(documents["registry"])] == [1.1, 1.2, 1.2]


def test_imports_are_of_whole_interpreters_in_alternation(documents: dict[str, Any]) -> None:
    seconds = documents["imports"]["figures"]["seconds"]
    assert {name: len(each) for name, each in seconds.items()} == {
        "import relaybox_hooks": 2,
        "import aiohttp": 2,
        "pass": 2,
    }
    assert limits(documents["imports"]) == [("import relaybox_hooks / import aiohttp", 1.15)]


async def test_turns_go_forwards_and_backwards_and_the_first_round_does_not_count() -> None:
    order = []

    async def one(size: int) -> float:
        order.append("one")
        return 2.0 * size

    async def other(size: int) -> float:
        order.append("other")
        return 1.0 * size

    turns = await take_turns({"one": one, "other": other}, rounds=2, size=10)
    assert order == ["one", "other", "other", "one", "one", "other"]
    assert turns.seconds == {"one": [2.0, 2.0], "other": [1.0, 1.0]}
    assert turns.target("one", "other", 3.0).measured == 2.0


def its_own_process(rounds: int, size: int) -> Turns:
    """As long as the process's number, so that it shows who measured."""
    return Turns({"one": [float(os.getpid())] * rounds, "other": [float(size)] * rounds})


def test_rounds_are_spread_over_fresh_processes_and_kept_for_pyperf(tmp_path: Path) -> None:
    turns = spread(its_own_process, rounds=11, size=7)
    assert turns.runs == [2] * 5
    assert turns.seconds["other"] == [7.0] * 10
    assert len(set(turns.seconds["one"])) == 5
    save(tmp_path / "made" / "it.json", turns.samples("asked"))
    kept = pyperf.BenchmarkSuite.load(str(tmp_path / "made" / "it.json"))
    assert kept.get_benchmark_names() == ["asked: one", "asked: other"]
    assert kept.get_benchmark("asked: one").get_nrun() == 5
    assert list(kept.get_benchmark("asked: one").get_values()) == turns.seconds["one"]


def test_few_rounds_are_one_process() -> None:
    turns = spread(its_own_process, rounds=2, size=7)
    assert (turns.runs, len(set(turns.seconds["one"]))) == ([2], 1)


async def test_a_plain_turn_calls_its_function_as_often_as_it_is_told() -> None:
    calls = []
    assert await plain(lambda: calls.append(1))(7) >= 0
    assert len(calls) == 7


def test_what_few_processes_need_is_imported_where_they_do() -> None:
    """Together they would take as long as a dozen of our own modules."""
    script = "import sys, aiohttp, relaybox_hooks; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)  # noqa: S603 - ourselves
    loaded = set(done.stdout.decode().split())
    assert "relaybox_hooks.hooks" in loaded
    assert not loaded & {"anyio", "concurrent.futures.thread", "difflib", "rfc8785"}


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which the machine was slow for both changes none of them."""
    turns = Turns({"one": [1.0, 10.0, 1.0], "other": [2.0, 20.0, 2.0]})
    assert turns.ratios("one", "other") == [0.5, 0.5, 0.5]
    assert turns.target("one", "other", 1.0).verdict == "met"
    assert turns.microseconds("one") == 1e6
    table = turns.table("title", ["one"], ["other"])
    assert table.rows == [["one", 1e6, 0.5, "0.50-0.50"], ["other", 2e6, "", ""]]
