"""What does each option change in what a delivered event costs?

Events of 512 connections, all in one room, go to one webhook and are timed until all are
delivered: with the defaults, and with one thing changed at a time. All take turns in one process,
forwards and backwards; each round's ratio is to the defaults' of the same turn. The whole is done
on asyncio and on uvloop, each in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Final

from aiohttp import ClientSession, TCPConnector

from benchmarks.bare import KEY, SESSIONS, by_turns, ratios
from benchmarks.children import Child
from benchmarks.estimates import quartiles
from benchmarks.harness import main
from benchmarks.processes import in_fresh_process, run_loop
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.throughput import LOOPS, Loop
from benchmarks.traffic import message
from relaybox_hooks import Attempt, Hooks, Observer, Receipt, Session, Webhook

DEFAULTS: Final = "the defaults"


@dataclass(frozen=True, slots=True)
class Plan:
    """Events of a round, and how many rounds count."""

    events: int
    rounds: int


_FULL: Final = Plan(events=500, rounds=14)
_QUICK: Final = Plan(events=40, rounds=1)


class Counter(Observer):
    """The least that an observer of every event does."""

    def __init__(self) -> None:
        self.count = 0

    def emitted(self, name: str, receipt: Receipt) -> None:
        self.count += 1

    def attempted(self, attempt: Attempt) -> None:
        self.count += 1


@dataclass(frozen=True, slots=True)
class Run:
    """What one setting came to on one loop: seconds and CPU seconds of each round."""

    loop: Loop
    setting: str
    events: int
    seconds: list[float]
    cpu: list[float]


def settings(hosts: ClientSession) -> dict[str, dict[str, Any]]:
    """What is changed, as one would write it."""
    return {
        DEFAULTS: {},
        "concurrency=1": {"concurrency": 1},
        "concurrency=64": {"concurrency": 64},
        'order_by="none"': {"order_by": "none"},
        'order_by="room"': {"order_by": "room"},
        "breaker=None": {"breaker": None},
        "max_age=60": {"max_age": 60},
        "observers=[...]": {"observers": [Counter()]},
        "http_session=...": {"http_session": hosts},
    }


#: What a server hands to emit instead of the one Session of its connection.
SESSION_FORMS: Final[dict[str, Callable[[Session], Any]]] = {
    "a new Session for each event": replace,
    "a mapping for each event": Session.to_wire,
}


def rounds_of(
    hooks: Hooks, plan: Plan, form: Callable[[Session], Any] | None, cpu: list[float]
) -> Callable[[], Awaitable[float]]:
    """Rounds of events, each until it is delivered; returns their seconds."""
    messages = [message(number) for number in range(plan.events)]

    async def one_round() -> float:
        gc.collect()
        began, cpu_began = time.perf_counter(), time.process_time()
        for number, data in enumerate(messages):
            session = SESSIONS[number % len(SESSIONS)]
            await hooks.emit("room:publish", data, form(session) if form else session)
        await hooks.join()
        cpu.append(time.process_time() - cpu_began)
        return time.perf_counter() - began

    return one_round


async def _measure(loop: Loop, plan: Plan) -> tuple[list[Run], int]:
    with Child("benchmarks.servers.sink", "--awake") as sink:
        async with AsyncExitStack() as stack:
            hosts = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
            changes = settings(hosts) | {name: {} for name in SESSION_FORMS}
            cpu: dict[str, list[float]] = {name: [] for name in changes}
            contenders = []
            for name, options in changes.items():
                webhook = Webhook(sink.url("/tuned"), ["room:publish"], KEY)
                hooks = await stack.enter_async_context(Hooks([webhook], **options))
                contenders.append(rounds_of(hooks, plan, SESSION_FORMS.get(name), cpu[name]))
            seconds = await by_turns(contenders, plan.rounds)
        received = len(sink.take()["/tuned"]["received"])
    found = zip(changes, seconds, cpu.values(), strict=True)
    return [Run(loop, name, plan.events, wall, spent[1:]) for name, wall, spent in found], received


def measure(loop: Loop, plan: Plan) -> tuple[list[Run], int]:
    """All settings on one event loop, and what the sink got; call it in a process of its own."""
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - the other loop's process is to be without it

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return run_loop(_measure(loop, plan))


def table(runs: Sequence[Run]) -> Table:
    """The settings of one loop, each beside the defaults."""
    defaults = runs[0]
    rows: list[list[str | float]] = [
        [
            each.setting,
            round(each.events / median(each.seconds)),
            median(faster := ratios(defaults.seconds, each.seconds)),
            text_of_pair(quartiles(faster)),
            median(each.cpu) / each.events * 1e6,
            median(dearer := ratios(each.cpu, defaults.cpu)),
            text_of_pair(quartiles(dearer)),
        ]
        for each in runs
    ]
    columns = ["", "delivered/s", "/ defaults", "quartiles", "µs CPU", "/ defaults", "quartiles"]
    return Table(
        f"On {defaults.loop}, medians of {len(defaults.seconds)} rounds of {defaults.events}",
        columns,
        rows,
    )


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    found = [in_fresh_process(measure, loop, plan) for loop in LOOPS]
    return Result(
        tables=[table(runs) for runs, _ in found],
        targets=[],
        figures={
            "runs": [asdict(each) for runs, _ in found for each in runs],
            "received": [received for _, received in found],
        },
        contenders=("uvloop",),
    )


if __name__ == "__main__":
    main("tuning", __doc__, run)
