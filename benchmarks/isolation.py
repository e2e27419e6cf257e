"""What do three sick webhooks cost the healthy ones beside them?

Fifty webhooks are sent every event, at a third of the rate that they can take when all are
healthy. In the one configuration all are; in the others three are sick: one hangs, one drips
half of its answers byte by byte and resets the other half, one answers 500. The time from
``emit`` to the receiver having the whole request is compared for the other 47, the same ones
each time. Configurations take turns in short rounds, forwards and backwards, so that a machine
that becomes slower does so for all; each round's ratio is to the healthy round next to it.

Beside the 99th percentile stands that of the turns of the event loop, in CPU time of its thread,
which other programs on the machine do not lengthen.

With the default breaker a sick endpoint is mostly left alone; so there is a third configuration
that keeps attacking it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any, Final

from benchmarks.children import Child
from benchmarks.estimates import percentile, quartiles
from benchmarks.harness import main
from benchmarks.loop_turns import LoopTurns, lag
from benchmarks.processes import run_loop
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.servers.sink import now
from benchmarks.target import Target
from benchmarks.traffic import message, sessions
from relaybox_hooks import BreakerPolicy, Hooks, Timeouts, Webhook

_WEBHOOKS: Final = 50
#: Where the sick ones stand among them: deliveries begin in the order of registration, so the
#: first is in everyone's way.
_SICK: Final = {0: "/hang", 17: "/drip", 34: "/error"}
_COMPARED: Final = "/compared"
#: More connections than requests in flight per webhook, so that no key waits for itself.
_SESSIONS: Final = sessions(64)
#: Events before the calibration: the connections open, the code warms up.
_WARM_UP: Final = 10
_LIMIT: Final = 1.2
#: What is compared, and what its target is called.
_FIGURES: Final = {"p50": "p50", "p99": "p99", "lag": "loop lag in CPU time"}
_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Whether the three are sick, and what protects the dispatcher from them."""

    name: str
    sick: bool
    breaker: BreakerPolicy | None = BreakerPolicy()  # noqa: RUF009 - frozen


HEALTHY: Final = Configuration("50 healthy", sick=False)
SICK: Final = Configuration("47 and 3 sick", sick=True)
UNPROTECTED: Final = Configuration("47 and 3 sick, no breaker", sick=True, breaker=None)


@dataclass(frozen=True, slots=True)
class Round:
    """What one configuration did in a few seconds; milliseconds, shares of a core."""

    configuration: str
    p50: float
    p99: float
    sent: int
    received: int
    emitter_late_p99: float
    emitter_cpu: float
    lag: float
    sick: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long it all takes, seconds. A sick webhook times out before the warm-up is over."""

    calibration: float
    pairs: int
    warm_up: float
    measured: float


_FULL: Final = Plan(calibration=2.0, pairs=12, warm_up=1.5, measured=3.0)
_QUICK: Final = Plan(calibration=0.1, pairs=1, warm_up=0.1, measured=0.3)


def webhooks(configuration: Configuration, sink: Child, sick: Child) -> list[Webhook]:
    """The fifty, in their order; the three differ in nothing but their URL."""
    return [
        Webhook(
            (sick.url(_SICK[place]) if configuration.sick else sink.url("/other"))
            if place in _SICK
            else sink.url(_COMPARED),
            ["room:publish"],
            _KEY,
            name=f"webhook-{place}",
            # The emitter is never to wait for the sick; their lanes fill during the warm-up.
            overflow="drop_oldest",
            queue_size=50 if place in _SICK else 1000,
            timeouts=Timeouts(total=1.0) if place in _SICK else None,
            breaker=configuration.breaker if place in _SICK else "default",
        )
        for place in range(_WEBHOOKS)
    ]


async def capacity(sink: Child, sick: Child, seconds: float) -> float:
    """Events per second to fifty healthy webhooks, each event sent when the last has arrived."""
    async with Hooks(webhooks(HEALTHY, sink, sick)) as hooks:
        for number in count(-_WARM_UP):
            if number == 0:
                began = time.perf_counter()
            session = _SESSIONS[number % len(_SESSIONS)]
            await hooks.emit("room:publish", message(number), session)
            await hooks.join()
            if number > 0 and (elapsed := time.perf_counter() - began) > seconds:
                break
    sink.take()
    return (number + 1) / elapsed


async def play(
    configuration: Configuration,
    sink: Child,
    sick: Child,
    rate: float,
    plan: Plan,
    turns: LoopTurns,
) -> Round:
    """One round: warm up, emit steadily, and ask the sink what arrived when."""
    gc.collect()
    hooks = Hooks(webhooks(configuration, sink, sick))
    await hooks.start()
    await emit_steadily(hooks, rate, plan.warm_up)
    turns.take()
    cpu, wall, begin = time.process_time(), time.perf_counter(), now()
    late = await emit_steadily(hooks, rate, plan.measured)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    behind = lag(turns.take())
    stats = await settled(hooks)
    await hooks.aclose(0)
    samples, seen = sink.take()[_COMPARED], sick.take()
    latencies = [
        (received - sent) / 1000
        for sent, received in zip(samples["sent"], samples["received"], strict=True)
        if sent >= begin
    ]
    return Round(
        configuration.name,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        sent=len(late) * (_WEBHOOKS - len(_SICK)),
        received=len(latencies),
        emitter_late_p99=percentile(late, 0.99) * 1000,
        emitter_cpu=cpu / wall,
        lag=behind,
        sick={
            path: {
                "requests": seen.get(path, 0),
                "delivered": stats[f"webhook-{place}"].delivered,
                "failed": stats[f"webhook-{place}"].failed,
                "dropped": stats[f"webhook-{place}"].dropped,
            }
            for place, path in _SICK.items()
            if configuration.sick
        },
    )


async def emit_steadily(hooks: Hooks, rate: float, seconds: float) -> list[float]:
    """Emit on schedule whatever becomes of it; returns how late each emit was, seconds."""
    late = []
    began = time.perf_counter()
    for number in range(max(1, round(rate * seconds))):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late.append(time.perf_counter() - due)
        session = _SESSIONS[number % len(_SESSIONS)]
        await hooks.emit("room:publish", message(number, at=now()), session)
    return late


async def settled(hooks: Hooks) -> dict[str, Any]:
    """Wait until the compared webhooks have all they were sent; the counts, by name."""
    sick = {f"webhook-{place}" for place in _SICK}
    while True:
        stats = {target.name: target for target in hooks.stats().targets.values()}
        if not any(target.pending for name, target in stats.items() if name not in sick):
            return stats
        await asyncio.sleep(0.01)


async def measure(plan: Plan, turns: LoopTurns) -> tuple[float, list[list[Round]]]:
    """The rate, and for each configuration its rounds, in the order of the pairs."""
    order = (HEALTHY, SICK, UNPROTECTED)
    rounds: list[list[Round]] = [[] for _ in order]
    with Child("benchmarks.servers.sink") as sink, Child("benchmarks.servers.sick") as sick:
        rate = await capacity(sink, sick, plan.calibration) / 3
        for number in range(plan.pairs):
            for place in (0, 1, 2) if number % 2 == 0 else (2, 1, 0):
                rounds[place].append(await play(order[place], sink, sick, rate, plan, turns))
    return rate, rounds


def ratios(rounds: Sequence[Round], healthy: Sequence[Round], figure: str) -> list[float]:
    """Each round's figure over that of the healthy round of the same turn."""
    return [
        getattr(one, figure) / getattr(other, figure)
        for one, other in zip(rounds, healthy, strict=True)
    ]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    logging.getLogger("relaybox_hooks").addHandler(logging.NullHandler())
    turns = LoopTurns()
    rate, rounds = run_loop(measure(_QUICK if quick else _FULL, turns), turns.new_loop)
    healthy = rounds[0]
    latency: list[list[str | float]] = []
    sickness: list[list[str | float]] = []
    targets = []
    for of_one in rounds:
        name = of_one[0].configuration
        row: list[str | float] = [name]
        for figure, what in _FIGURES.items():
            found = ratios(of_one, healthy, figure)
            row += [median(getattr(each, figure) for each in of_one), median(found)]
            row += [text_of_pair(quartiles(found))]
            if of_one is not healthy:
                stand_in = f"{_FIGURES['lag']}, {name} / 50 healthy" if figure == "p99" else None
                targets.append(
                    Target.of_ratios(
                        f"{what}, {name} / 50 healthy", found, _LIMIT, stand_in=stand_in
                    )
                )
        row += [median(each.emitter_late_p99 for each in of_one)]
        row += [median(each.emitter_cpu for each in of_one)]
        row += [sum(each.sent - each.received for each in of_one)]
        latency.append(row)
        for path in of_one[0].sick:
            met = [each.sick[path] for each in of_one]
            sickness.append([f"{name}: {path}", *(sum(one[key] for one in met) for key in met[0])])
    columns = ["", "p50 ms", "ratio", "quartiles", "p99 ms", "ratio", "quartiles"]
    columns += ["lag ms of CPU", "ratio", "quartiles", "emit late p99 ms", "CPU", "lost"]
    title = (
        f"Emit to received, {rate:.0f} events/s to 50 webhooks, medians of {len(healthy)} rounds"
    )
    return Result(
        tables=[
            Table(title, columns, latency),
            Table(
                "What the sick endpoints met, all rounds",
                ("", "requests", "delivered", "given up", "dropped"),
                sickness,
            ),
        ],
        targets=targets,
        figures={
            "events_per_second": rate,
            "rounds": [as_json(each) for of_one in rounds for each in of_one],
        },
    )


def as_json(one: Round) -> dict[str, Any]:
    """A round's figures by name."""
    return {name: getattr(one, name) for name in Round.__slots__}


if __name__ == "__main__":
    main("isolation", __doc__, run)
