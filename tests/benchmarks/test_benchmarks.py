"""Each benchmark runs in its short form and produces its table and JSON; no test asserts a time."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.children import Child
from benchmarks.estimates import percentile
from benchmarks.machine import machine
from benchmarks.paths import RESULTS, ROOT
from benchmarks.processes import run_loop
from benchmarks.result import Table
from benchmarks.servers.sink import now

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_CONFIGURATIONS: Final = ("50 healthy", "47 and 3 sick", "47 and 3 sick, no breaker")

#: Starts a sink, tells its process id, and never stops by itself.
_PARENT: Final = """
import signal
from benchmarks.children import Child
with Child("benchmarks.servers.sink") as sink:
    print(sink.pid, flush=True)
    signal.pause()
"""


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m benchmarks`` as a user would."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What isolation and memory print and write in their short form."""
    output = tmp_path_factory.mktemp("results")
    before = sorted(RESULTS.glob("*"))
    done = benchmarks("--quick", "--output", str(output), "isolation", "memory")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(RESULTS.glob("*")) == before
    return done.stdout, output


@pytest.fixture(scope="module")
def isolation(quick: tuple[str, Path]) -> Any:
    return json.loads((quick[1] / "isolation.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def memory(quick: tuple[str, Path]) -> Any:
    return json.loads((quick[1] / "memory.json").read_text(encoding="utf-8"))


def test_results_tell_what_they_were_measured_on(isolation: Any, memory: Any) -> None:
    for name, document in (("isolation", isolation), ("memory", memory)):
        assert document["benchmark"] == name
        assert document["question"].endswith("?")
        assert document["quick"] is True
        here = document["machine"]
        assert here["cores"] == machine()["cores"]
        assert here["python"].endswith(".".join(map(str, sys.version_info[:3])))
        assert {"relaybox-hooks", "aiohttp"} <= set(here["versions"])
        assert here["cores_used_by_others"] >= 0
        assert all(
            {"what", "measured", "limit", "sense", "runs", "verdict"} <= set(each)
            for each in document["targets"]
        )


def test_printed_are_the_tables_that_were_written(
    quick: tuple[str, Path], isolation: Any, memory: Any
) -> None:
    for document in (isolation, memory):
        assert f"{document['benchmark']}: {document['question']}" in quick[0]
        for table in document["tables"]:
            assert str(Table(**table)) in quick[0]
        for target in document["targets"]:
            assert target["what"] in quick[0]


def test_isolation_compares_the_same_webhooks_and_loses_nothing(isolation: Any) -> None:
    """In each configuration all 47 got every event, and only there where they should be are
    endpoints sick."""
    rounds = {each["configuration"]: each for each in isolation["figures"]["rounds"]}
    assert tuple(rounds) == _CONFIGURATIONS
    assert len({each["sent"] for each in rounds.values()}) == 1
    for name, each in rounds.items():
        assert each["received"] == each["sent"] > 0
        assert each["sent"] % 47 == 0
        assert 0 < each["p50"] <= each["p99"]
        assert each["lag"] > 0
        assert set(each["sick"]) == (
            set() if name == "50 healthy" else {"/hang", "/drip", "/error"}
        )
        for met in each["sick"].values():
            assert met["requests"] > 0
            assert met["delivered"] <= met["requests"]
        assert each["sick"].get("/hang", {"delivered": 0})["delivered"] == 0
        assert each["sick"].get("/error", {"delivered": 0})["delivered"] == 0


def test_isolation_targets_are_ratios_to_the_healthy(isolation: Any) -> None:
    assert [(each["what"], each["limit"]) for each in isolation["targets"]] == [
        (f"{figure}, {name} / 50 healthy", 1.2)
        for name in _CONFIGURATIONS[1:]
        for figure in ("p50", "p99", "loop lag in CPU time")
    ]


def test_memory_accounts_for_every_event_of_a_dead_endpoint(memory: Any) -> None:
    runs = memory["figures"]["dead"]
    assert [each["name"] for each in runs] == [
        "refuses, breaker",
        "refuses, no breaker",
        "hangs, no breaker",
    ]
    for each in runs:
        assert each["emits"] == list(range(0, 2001, 200))
        assert len(each["resident"]) == 11
        assert min(each["resident"]) > 0
        assert each["dropped"] + each["failed"] + each["pending"] == 2000
        assert each["letters"] == each["dropped"] + each["failed"]
        assert each["attempts"] > 0


def test_memory_finds_no_task_of_an_idle_webhook(memory: Any) -> None:
    for each in (memory["figures"]["idle"], memory["figures"]["idle_traced"]):
        assert each["webhooks"] == 200
        assert each["tasks_registered"] == 0
        assert each["tasks_delivered"] == 0
    assert memory["figures"]["connection"] > 0
    traced = memory["figures"]["idle_traced"]
    assert 0 < traced["registered"] < traced["delivered"]
    assert "relaybox_hooks/lanes/webhook_lane.py" in traced["files"]
    assert memory["figures"]["idle"]["files"] == {}


def test_list_shows_each_with_its_question_and_runs_none() -> None:
    done = benchmarks("--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert {"isolation", "memory"} <= {line.split()[0] for line in lines}
    assert all(line.endswith("?") for line in lines)


def test_an_unknown_name_is_refused() -> None:
    done = benchmarks("--quick", "memroy")
    assert done.returncode == 2
    assert "no benchmark is called memroy" in done.stderr


def test_sink_answers_and_notes_when_each_request_was_sent_and_received() -> None:
    """A body without ``at`` counts as sent at 0; what was taken is forgotten."""
    with Child("benchmarks.servers.sink") as sink:
        connection = http.client.HTTPConnection("127.0.0.1", sink.port)
        before = now()
        for body in (b'{"data":{"at":123}}', b"{}"):
            connection.request("POST", "/a", body)
            assert connection.getresponse().read() == b""
        connection.request("POST", "/b", b"")
        assert connection.getresponse().status == 204
        connection.close()
        taken = sink.take()
        assert {path: each["sent"] for path, each in taken.items()} == {"/a": [123, 0], "/b": [0]}
        times = [before, *taken["/a"]["received"], *taken["/b"]["received"], now()]
        assert times == sorted(times)
        assert sink.take() == {}


def test_sink_reads_requests_in_pieces_and_several_at_once() -> None:
    request = b'POST /x HTTP/1.1\r\ncontent-length: 8\r\n\r\n{"at":7}'
    with Child("benchmarks.servers.sink") as sink:
        with socket.create_connection(("127.0.0.1", sink.port)) as client:
            client.sendall(request[:50])
            client.sendall(request[50:] + request + request[:20])
            client.sendall(request[20:])
            answers = b""
            while answers.count(b"204") < 3:
                answers += client.recv(1000)
        assert sink.take()["/x"]["sent"] == [7, 7, 7]


@pytest.mark.parametrize("module", ["benchmarks.servers.sink", "benchmarks.servers.sick"])
def test_a_child_ends_with_its_parent(module: str) -> None:
    """However the parent goes: here it is killed and can tidy up nothing."""
    script = _PARENT.replace("benchmarks.servers.sink", module)
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        ended = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert select.select([ended], [], [], 0) == ([], [], [])
            parent.kill()
            assert select.select([ended], [], [], 30) == ([ended], [], [])
        finally:
            os.close(ended)


def test_an_error_that_nobody_saw_fails_the_benchmark() -> None:
    """A task that dies on the way would make figures of something else."""

    async def work() -> int:
        async def die() -> None:
            raise ZeroDivisionError

        await asyncio.wait([asyncio.create_task(die())])
        return 1

    with pytest.raises(RuntimeError, match="1 errors went unhandled") as caught:
        run_loop(work())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_table_aligns_numbers_right_under_their_columns() -> None:
    table = Table("Title", ("", "n", "ratio"), [("one", 1_000_000, 1.005), ("eleven", 2, "new")])
    assert str(table).splitlines() == [
        "Title",
        "                  n  ratio",
        "  ------  ---------  -----",
        "  one     1,000,000   1.00",
        "  eleven          2    new",
    ]


def test_percentile_is_a_measured_value() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7
