"""The benchmarks of delivery run in their short form; no test asserts a time."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from benchmarks import echo, fanout, latency, throughput, tuning
from benchmarks.bare import by_turns, prepared, ratios
from benchmarks.result import Result

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def targets(result: Result) -> list[tuple[str, float]]:
    return [(each.what, each.at_most) for each in result.targets]


def test_throughput_delivers_all_on_both_loops() -> None:
    """Each contender had a warm-up and one round, and the sink received both in full."""
    result = throughput.run(quick=True)
    runs: list[Any] = result.figures["runs"]
    assert [each["loop"] for each in runs] == ["asyncio", "uvloop"]
    for each in runs:
        assert each["received"] == 2 * 2 * each["events"]
        assert {len(each[name]) for name in ("bare", "hooks", "bare_cpu", "hooks_cpu")} == {1}
        assert each["sink_per_second"] > 0
    assert targets(result) == [
        ("seconds, hooks / bare loop, asyncio", 1.0),
        ("seconds, hooks / bare loop, uvloop", 1.0),
        ("sink used, asyncio", 1 / 3),
        ("sink used, uvloop", 1 / 3),
    ]


def test_tuning_delivers_all_with_every_setting_on_both_loops() -> None:
    result = tuning.run(quick=True)
    runs: list[Any] = result.figures["runs"]
    for loop, received in zip(("asyncio", "uvloop"), result.figures["received"], strict=True):
        of_one = [each for each in runs if each["loop"] == loop]
        assert of_one[0]["setting"] == tuning.DEFAULTS
        assert received == sum(2 * each["events"] for each in of_one)
        assert {len(each["cpu"]) for each in of_one} == {1}


def test_fanout_reaches_every_webhook() -> None:
    result = fanout.run(quick=True)
    assert result.figures["received"] == 2 * 2 * result.figures["webhooks"]
    assert targets(result) == [("CPU us per delivery above the bare POST", 8.0)]


def test_latency_loses_nothing() -> None:
    result = latency.run(quick=True)
    assert result.figures["events_per_second"] > 0
    for each in result.figures["contenders"].values():
        assert each["lost"] == 0
        assert 0 < each["p50"][0] <= each["p99"][0]
    assert targets(result) == [("p99, hooks / bare loop", 1.5)]


def test_echo_delivers_an_event_for_each_message_of_the_hooked_path() -> None:
    result = echo.run(quick=True)
    paths, events = result.figures["paths"], result.figures["events"]
    for each in paths.values():
        assert each["echoed"] == each["sent"] > 0
        assert 0 < each["p50"][0] <= each["p99"][0]
    assert events["delivered"] == events["received"] == paths["hooked"]["sent"]
    assert events["failed"] == 0
    assert targets(result) == [("p99, with hooks / without", 1.5)]


async def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    async def contend(name: str) -> float:
        order.append(name)
        return float(len(order))

    figures = await by_turns((lambda: contend("a"), lambda: contend("b")), 2)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert figures == [[3.0, 6.0], [4.0, 5.0]]
    assert ratios(figures[1], figures[0]) == [4 / 3, 5 / 6]


def test_prepared_posts_are_signed_each_for_itself() -> None:
    posts = prepared(["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"])
    assert [each.url[-2:] for each in posts] == ["/a", "/b"]
    signatures = {each.headers["X-Relaybox-Webhook-Signature"] for each in posts}
    assert {len(each) for each in signatures} == {64}
    assert len(signatures) == len({each.body for each in posts}) == 2
