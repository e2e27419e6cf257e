"""The benchmarks of delivery run in their short form; no test asserts a time."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import pytest

from benchmarks import echo, fanout, https, latency, stalls, throughput, tuning
from benchmarks.bare import by_turns, prepared, ratios, side_by_side
from benchmarks.features import BOUNDS_BYTES, BOUNDS_CONNECTIONS, room, room_for_bytes
from benchmarks.result import Result
from benchmarks.tls import can_certify
from relaybox_hooks import Hooks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def targets(result: Result) -> list[tuple[str, float | None]]:
    return [(each.what, each.limit) for each in result.targets]


def test_throughput_delivers_all_on_both_loops_beside_two_contenders() -> None:
    """Each had a warm-up and one round, and the sink received all in full."""
    result = throughput.run(quick=True)
    runs = result.figures["runs"]
    assert list(runs) == ["asyncio", "uvloop"]
    for each in runs.values():
        assert each["received"] == 2 * 3 * each["events"]
        for name in ("bare", "hooks", "raw"):
            assert (len(each[name]["seconds"]), len(each[name]["cpu"])) == (1, 1)
        assert each["sink_per_second"] > 0
    assert targets(result) == [
        ("delivered per second, one webhook, 32 in flight, asyncio", 2.2),
        ("CPU per delivered event, asyncio", 0.45),
        ("CPU per delivered event, asyncio, beside the limit", 2.0),
        ("sink used, asyncio", 1 / 3),
        ("delivered per second, one webhook, 32 in flight, uvloop", 2.5),
        ("CPU per delivered event, uvloop", 0.40),
        ("CPU per delivered event, uvloop, beside the limit", None),
        ("sink used, uvloop", 1 / 3),
    ]
    assert result.targets[0].sense == "at least"
    assert all(each.spare for each in result.targets if each.contender)


@pytest.mark.skipif(not can_certify(), reason="openssl makes the certificate")
def test_https_delivers_all_over_tls() -> None:
    result = https.run(quick=True)
    assert result.figures["received"] == 2 * 2 * result.figures["events"]
    assert result.figures["raw"] is None
    assert targets(result) == [("CPU per event over https, one webhook, 32 in flight", 0.6)]


def test_https_says_so_where_no_certificate_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "can_certify", lambda: False)
    result = https.run(quick=True)
    assert (result.targets, len(result.skipped)) == ([], 1)


def test_tuning_delivers_all_with_every_setting_on_both_loops() -> None:
    result = tuning.run(quick=True)
    runs: list[Any] = result.figures["runs"]
    for loop, received in zip(("asyncio", "uvloop"), result.figures["received"], strict=True):
        of_one = [each for each in runs if each["loop"] == loop]
        assert of_one[0]["setting"] == tuning.DEFAULTS
        assert received == sum(2 * each["events"] for each in of_one)
        assert {len(each["cpu"]) for each in of_one} == {1}


def test_fanout_reaches_every_webhook_with_room_for_all_and_for_half() -> None:
    """Half only where the library has an option for it; else that is said."""
    result = fanout.run(quick=True)
    runs = result.figures["runs"]
    assert [each["room"] for each in runs] == ([50, 25] if BOUNDS_CONNECTIONS else [50])
    for each in runs:
        assert each["received"] == 2 * 2 * each["webhooks"]
    assert len(result.skipped) == 2 - len(runs)
    assert targets(result) == [
        (
            f"CPU per delivery, one event to 50 webhooks, room for {each['room']:,} connections",
            0.5,
        )
        for each in runs
    ]


def test_stalls_are_turns_of_events_to_webhooks_with_and_without_connections() -> None:
    result = stalls.run(quick=True)
    for run in result.figures["runs"]:
        events = [(each["collecting"], each["cold"]) for each in run["events"]]
        assert events == [(False, True), (False, False), (True, True), (True, False)] * 2
        assert all(each["offering"] > 0 and each["later"] > 0 for each in run["events"])
        assert run["failed"] == 0
    limits = [limit for _, limit in targets(result)]
    assert limits == [10.0, 10.0, 10.0, 10.0, 25.0, 10.0, 25.0, 10.0]


async def test_room_is_an_option_of_hooks_only_where_they_have_it() -> None:
    async with Hooks(**room(7)):
        assert room(7) == ({"max_connections": 7} if BOUNDS_CONNECTIONS else {})
    assert room_for_bytes(7) == ({"max_pending_bytes": 7} if BOUNDS_BYTES else {})


def test_latency_loses_nothing() -> None:
    result = latency.run(quick=True)
    assert result.figures["events_per_second"] > 0
    for each in result.figures["contenders"].values():
        assert each["lost"] == 0
        assert 0 < each["p50"][0] <= each["p99"][0]
        assert each["lag"][0] > 0
    assert targets(result) == [
        ("p99, hooks / bare loop", 1.5),
        ("loop lag in CPU time, hooks / bare loop", 1.5),
    ]


def test_echo_delivers_an_event_for_each_message_of_the_hooked_path() -> None:
    result = echo.run(quick=True)
    paths, events = result.figures["paths"], result.figures["events"]
    for each in paths.values():
        assert each["echoed"] == each["sent"] > 0
        assert 0 < each["p50"][0] <= each["p99"][0]
        assert each["lag"][0] > 0
    assert events["delivered"] == events["received"] == paths["hooked"]["sent"]
    assert events["failed"] == 0
    assert targets(result) == [
        ("websocket echo p99 while 1,000 events/s are delivered", 1.2),
        ("loop lag in CPU time while 1,000 events/s are delivered", 1.2),
    ]


async def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    async def contend(name: str) -> float:
        order.append(name)
        return float(len(order))

    figures = await by_turns((lambda: contend("a"), lambda: contend("b")), 2)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert figures == [[3.0, 6.0], [4.0, 5.0]]
    assert ratios(figures[1], figures[0]) == [4 / 3, 5 / 6]


async def test_side_by_side_times_the_rounds_that_count() -> None:
    calls: list[str] = []

    async def contend(name: str) -> None:
        calls.append(name)

    found = await side_by_side({name: partial(contend, name) for name in "ab"}, 2)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert {name: (len(each.seconds), len(each.cpu)) for name, each in found.items()} == {
        "a": (2, 2),
        "b": (2, 2),
    }


def test_prepared_posts_are_signed_each_for_itself() -> None:
    posts = prepared(["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"])
    assert [each.url[-2:] for each in posts] == ["/a", "/b"]
    signatures = {each.headers["X-Relaybox-Webhook-Signature"] for each in posts}
    assert {len(each) for each in signatures} == {64}
    assert len(signatures) == len({each.body for each in posts}) == 2
