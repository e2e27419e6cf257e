"""How much memory does a pending event take beyond its body?

Events are emitted to one webhook whose endpoint never answers, so that they stay pending, and
resident memory is read before and after, each time in a fresh interpreter. Their order keys are
all distinct (every event of another connection, whose session the server has forgotten since)
or all alike. The number of events is one past which the table of keys has just grown.

An event that waits for a retry holds more: its place in the schedule and what its last attempt
came to. That is measured too, at an endpoint that answers 500; it takes an attempt for each.

tracemalloc, in runs of its own, tells which file allocated what.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from benchmarks.bodies import EVENT, body_size, padded
from benchmarks.children import Child
from benchmarks.features import room_for_bytes
from benchmarks.harness import main
from benchmarks.paths import ROOT
from benchmarks.processes import in_fresh_process, resident, run_loop
from benchmarks.result import Result, Table
from benchmarks.target import Target
from relaybox_hooks import Attempt, Hooks, Observer, RetryPolicy, Session, Timeouts, Webhook

Keys: TypeAlias = Literal["distinct", "alike"]
Waiting: TypeAlias = Literal["turn", "retry"]

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
#: Bytes that a pending event may hold besides its body.
_LIMIT: Final = 700
#: Just past 2/3 of 2**16, where a dict grows.
_MANY: Final = 44_000
#: Events that are pending before the first reading: workers and connections are there by then.
_WARM_UP: Final = 200
#: Emits after which the event loop turns.
_TURN: Final = 50
#: Seconds in which nothing times out and nothing is tried again.
_LONG: Final = 86_400


class Case(NamedTuple):
    """What is pending: what it waits for, its order keys, bytes of a body, how many events."""

    waiting: Waiting
    keys: Keys
    body: int
    events: int


#: Of the largest as many as fit into 200 MB, with which a page more or less does not show.
_CASES: Final[Sequence[Case]] = (
    *(Case("turn", keys, 300, _MANY) for keys in ("distinct", "alike")),
    *(Case("turn", keys, 1_000, _MANY) for keys in ("distinct", "alike")),
    *(Case("turn", keys, 10_000, 11_000) for keys in ("distinct", "alike")),
    *(Case("turn", keys, 100_000, 2_000) for keys in ("distinct", "alike")),
    Case("retry", "distinct", 1_000, 10_000),
)
_TRACED: Final[Sequence[Case]] = (
    Case("turn", "distinct", 1_000, 6_000),
    Case("turn", "alike", 1_000, 6_000),
    Case("retry", "distinct", 1_000, 6_000),
)


@dataclass(frozen=True, slots=True)
class Pending:
    """What one pending event takes, bytes; ``files`` is what tracemalloc saw, by file."""

    waiting: Waiting
    keys: Keys
    body: int
    events: int
    beyond_body: float
    files: dict[str, float]

    @property
    def name(self) -> str:
        """What was measured, for people."""
        then = ", waiting for a retry" if self.waiting == "retry" else ""
        return f"body of {self.body:,} bytes, keys {self.keys}{then}"


class _Attempts(Observer):
    count = 0

    def attempted(self, attempt: Attempt) -> None:
        self.count += 1


def hold(case: Case, traced: bool) -> Pending:
    """Let events be pending and see what each takes."""
    with Child("benchmarks.servers.sick") as sick:
        url = sick.url("/hang" if case.waiting == "turn" else "/error")
        return run_loop(_hold(case, url, traced))


async def _hold(case: Case, url: str, traced: bool) -> Pending:
    webhook = Webhook(
        url,
        [EVENT],
        _KEY,
        queue_size=_WARM_UP + case.events,
        overflow="raise",
        **room_for_bytes(2 * (_WARM_UP + case.events) * (case.body + _LIMIT)),
        timeouts=Timeouts(total=_LONG),
        retry=RetryPolicy(initial=_LONG, maximum=_LONG, jitter=0),
        breaker=None,
    )
    attempts = _Attempts()
    hooks = Hooks([webhook], observers=[attempts], logging=False)
    await hooks.start()
    data = padded(case.body, _session(case, 0))
    assert body_size(data, _session(case, 0)) == case.body
    await _emit(hooks, case, data, range(_WARM_UP))
    await _settle(hooks, case, attempts)
    if traced:
        tracemalloc.start()
    before = _held(traced)
    await _emit(hooks, case, data, range(_WARM_UP, _WARM_UP + case.events))
    await _settle(hooks, case, attempts)
    beyond = (_held(traced) - before) / case.events - case.body
    files = _by_file(case.events) if traced else {}
    tracemalloc.stop()
    assert hooks.stats().pending == _WARM_UP + case.events
    await hooks.aclose(0)
    return Pending(*case, beyond, files)


def _session(case: Case, number: int) -> Session:
    """Another connection's each time, or always the same one's; its id is as long as in life."""
    number = number if case.keys == "distinct" else 0
    return Session(app_pid="chat", client_id="zoe", connection_id=f"connection-{number:012}")


async def _emit(hooks: Hooks, case: Case, data: Any, numbers: range) -> None:
    for number in numbers:
        await hooks.emit(EVENT, data, _session(case, number))
        if number % _TURN == 0:
            await asyncio.sleep(0)


async def _settle(hooks: Hooks, case: Case, attempts: _Attempts) -> None:
    """Wait until nothing more will happen: as much is in flight as may be, or all was tried."""
    at_once = 16 if case.keys == "distinct" else 1
    while True:
        stats = hooks.stats()
        (target,) = stats.targets.values()
        if case.waiting == "retry" and attempts.count == stats.pending:
            break
        if case.waiting == "turn" and target.in_flight == at_once:
            break
        await asyncio.sleep(0.01)


def _held(traced: bool) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] if traced else resident()


def _by_file(events: int) -> dict[str, float]:
    """Bytes per event by the module, or the package, that allocated them."""
    sizes: Counter[str] = Counter()
    for line in tracemalloc.take_snapshot().statistics("filename"):
        path = Path(line.traceback[0].filename)
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.parent.name
        sizes[name] += line.size
    return {name: size / events for name, size in sizes.most_common() if size > events}


def tables(by_rss: Sequence[Pending], traced: Sequence[Pending]) -> list[Table]:
    """Bytes beyond the body, and who holds them."""
    files: Counter[str] = Counter()
    for each in traced:
        files.update(each.files)
    return [
        Table(
            "Resident bytes of a pending event beyond its body",
            ("", "events", "bytes"),
            [(each.name, each.events, each.beyond_body) for each in by_rss],
        ),
        Table(
            "Who holds what tracemalloc sees, the body included",
            ("", *(each.name for each in traced)),
            [
                (name, *(each.files.get(name, 0.0) for each in traced))
                for name, _ in files.most_common()
            ],
        ),
    ]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    cases, traced_cases = _CASES, _TRACED
    if quick:
        cases, traced_cases = (
            [case._replace(events=100) for case in (*some[:1], *some[-1:])]
            for some in (_CASES, _TRACED)
        )
    found = [in_fresh_process(hold, case, traced=False) for case in cases]
    traced = [in_fresh_process(hold, case, traced=True) for case in traced_cases]
    return Result(
        tables=tables(found, traced),
        targets=[Target(f"bytes beyond a {each.name}", each.beyond_body, _LIMIT) for each in found],
        figures={
            "pending": [asdict(each) for each in found],
            "traced": [asdict(each) for each in traced],
        },
    )


if __name__ == "__main__":
    main("pending", __doc__, run)
