"""``python -m benchmarks targets`` asks what is asked of a release, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import idle, results, targets
from benchmarks.bare import prepared
from benchmarks.children import Child
from benchmarks.idle import Idle, Idling
from benchmarks.paths import ROOT
from benchmarks.raw import RawClient, request_of
from benchmarks.result import Result
from benchmarks.target import MOST_RUNS, Target

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as a user would."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "benchmarks", "targets", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_every_target_is_printed_in_one_table_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    before = results.PAGE.read_bytes()
    done = command("--quick", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "its figures mean nothing" in done.stdout
    document = json.loads((tmp_path / "targets.json").read_text(encoding="utf-8"))
    table = done.stdout.partition("\nTargets\n")[2]
    assert list(document["figures"]) == list(targets.QUESTIONS)
    for each in document["targets"]:
        assert each["what"] in table
        assert each["contender"]
        assert each["verdict"] in table
    limits = [each.get("limit") for each in document["targets"]]
    for limit in (2.2, 2.5, 0.45, 0.40, 2.0, None, 0.5, 10.0, 25.0, 1.2, 4096):
        assert limit in limits
    assert results.PAGE.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["targets.json"]


def test_questions_may_be_named(tmp_path: Path) -> None:
    done = command("--quick", "--output", str(tmp_path), "idle")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "targets.json").read_text(encoding="utf-8"))
    assert list(document["figures"]) == ["idle"]


def test_an_unknown_question_is_rejected() -> None:
    done = command("--quick", "idel")
    assert done.returncode == 2
    assert "no question is called idel" in done.stderr


def test_each_question_is_asked_again_by_itself_until_it_settles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What never settles is decided by its stand-in, which is shown too; others are left out."""
    asked: list[str] = []

    def calm(quick: bool) -> Result:
        asked.append("calm")
        return Result([], [Target.of_ratios("calm", [1.0, 1.0], 2.0, contender="it")])

    def wild(quick: bool) -> Result:
        asked.append("wild")
        rate = Target.of_ratios("rate", [0.5, 1.5], 2.0, contender="it", stand_in="CPU")
        cpu = Target.of_ratios("CPU", [3.0, 3.0], 2.0)
        return Result([], [rate, cpu, Target("other", 1.0, 2.0)], skipped=["wild: half of it"])

    monkeypatch.setattr(targets, "QUESTIONS", {"calm": calm, "wild": wild})
    result = targets.run(quick=False)
    assert asked == ["calm", *["wild"] * MOST_RUNS]
    assert [(each.what, each.verdict) for each in result.targets] == [
        ("calm", "met"),
        ("rate", "missed"),
        ("CPU", "missed"),
    ]
    assert result.skipped == ["wild: half of it"]
    asked.clear()
    targets.run(quick=True, names=["wild"])
    assert asked == ["wild"]


def test_transport_and_parser_of_a_kept_connection_are_not_the_webhooks() -> None:
    """Two webhooks of three keep one."""
    found = Idling(Idle(3, 2000.0, 5000.0, 2 / 3, 0, 0, {}), connection=1800.0)
    assert found.beside_connections == 5000 - 1200
    assert (found.target.measured, found.target.limit) == (3800, 4096)
    assert found.table.rows[1][1:] == (2 / 3,)


def test_a_connection_by_itself_takes_memory() -> None:
    result = idle.ask(quick=True)
    assert result.figures["connection"] > 0
    assert result.figures["by_rss"]["webhooks"] == 200


async def test_raw_client_sends_fixed_bytes_as_often_as_it_is_told() -> None:
    with Child("benchmarks.servers.sink") as sink:
        (post,) = prepared([sink.url("/raw")])
        assert request_of(post).endswith(b"\r\n\r\n" + post.body)
        async with RawClient(post, connections=3) as raw:
            await raw.send(10)
            await raw.send(1)
        assert len(sink.take()["/raw"]["received"]) == 11
