"""How do delivered events per second and their CPU scale with webhooks and bodies?

Every webhook has its own path and key at one receiver, which answers at once. As many deliveries
as the lanes take are pending all the time; 32 requests are in flight in all, or one at each
webhook where there are more than 32. CPU is that of the dispatcher's process, everything
included. Configurations take turns, forwards and backwards, and the median of the rounds counts.

The receiver's own share of a core is shown: where it comes near to 1 it is the receiver that was
measured. What it got is counted.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from benchmarks.bodies import EVENT, body_size, padded
from benchmarks.children import Child
from benchmarks.harness import main
from benchmarks.processes import run_loop
from benchmarks.result import Result, Table
from relaybox_hooks import Hooks, Session, Webhook

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
#: Hardly less is possible: ids, timestamp and the members' names take 258 bytes.
_SMALLEST: Final = 260
_BODY: Final = 1_000
_WEBHOOKS: Final = (1, 10, 100, 1_000)
_BODIES: Final = (_SMALLEST, 1_000, 10_000, 100_000)
_IN_FLIGHT: Final = 32
#: Deliveries that may be pending in all, so that the emitter is never far ahead.
_PENDING: Final = 2_000


@dataclass(frozen=True, slots=True)
class Round:
    """What one configuration did. Per second; microseconds of CPU; shares of a core."""

    webhooks: int
    body: int
    per_second: float
    cpu_per_delivery: float
    cpu_per_event: float
    sender_cores: float
    receiver_cores: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of every configuration, and about how many deliveries each makes."""

    rounds: int
    deliveries: int
    #: Bytes that a round sends at most: the larger the bodies the fewer.
    sent: int


_FULL: Final = Plan(rounds=3, deliveries=5_000, sent=200_000_000)
_QUICK: Final = Plan(rounds=1, deliveries=20, sent=1_000_000)


async def deliver(sink: Child, webhooks: int, body: int, deliveries: int) -> Round:
    """One round: events as fast as the lanes take them, until all have been delivered."""
    crowd = [Session(connection_id=f"c{number:03}") for number in range(10 * _IN_FLIGHT)]
    data: Any = padded(body, crowd[0])
    assert body_size(data, crowd[0]) == body
    in_flight = max(1, _IN_FLIGHT // webhooks)
    events = max(2, deliveries // webhooks)
    hooks = Hooks(
        [
            Webhook(sink.url(f"/{number}"), [EVENT], _KEY, concurrency=in_flight)
            for number in range(webhooks)
        ],
        queue_size=max(2, _PENDING // webhooks),
        logging=False,
    )
    async with hooks:
        await hooks.emit(EVENT, data, crowd[0])
        for number in range(in_flight):  # every connection is open, all code was run
            await hooks.emit(EVENT, data, crowd[number])
        await hooks.join()
        sink.take()
        gc.collect()
        wall, cpu, receiver = time.perf_counter(), time.process_time(), sink.cpu()
        for number in range(events):
            await hooks.emit(EVENT, data, crowd[number % len(crowd)])
        await hooks.join()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        receiver = sink.cpu() - receiver
    arrived = sum(len(each["received"]) for each in sink.take().values())
    assert arrived == events * webhooks, f"{arrived} of {events * webhooks} arrived"
    return Round(
        webhooks,
        body,
        per_second=arrived / wall,
        cpu_per_delivery=cpu / arrived * 1e6,
        cpu_per_event=cpu / events * 1e6,
        sender_cores=cpu / wall,
        receiver_cores=receiver / wall,
    )


def measure(plan: Plan) -> list[Round]:
    """All rounds of all configurations."""
    cases = [(webhooks, _BODY) for webhooks in _WEBHOOKS]
    cases += [(1, body) for body in _BODIES if body != _BODY]
    rounds = []
    with Child("benchmarks.servers.sink") as sink:
        for number in range(plan.rounds):
            for webhooks, body in cases if number % 2 == 0 else reversed(cases):
                deliveries = min(plan.deliveries, plan.sent // body)
                rounds.append(run_loop(deliver(sink, webhooks, body, deliveries)))
    return rounds


def summary(rounds: Sequence[Round]) -> list[Round]:
    """The medians of each configuration."""
    cases = sorted({(each.webhooks, each.body) for each in rounds})
    found = []
    for case in cases:
        of_one = [asdict(each) for each in rounds if (each.webhooks, each.body) == case]
        found.append(Round(**{name: median(one[name] for one in of_one) for name in of_one[0]}))
    return found


def table(title: str, first: str, rows: Sequence[tuple[int, Round]]) -> Table:
    """One line for each configuration."""
    columns = (first, "delivered/s", "µs CPU/delivery", "µs CPU/event", "sender", "receiver")
    return Table(
        title,
        columns,
        [
            (
                f"{value:,}",
                round(each.per_second),
                each.cpu_per_delivery,
                round(each.cpu_per_event),
                each.sender_cores,
                each.receiver_cores,
            )
            for value, each in rows
        ],
    )


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    logging.getLogger("relaybox_hooks").addHandler(logging.NullHandler())
    rounds = measure(_QUICK if quick else _FULL)
    found = summary(rounds)
    by_webhooks = [each for each in found if each.body == _BODY]
    by_body = [each for each in found if each.webhooks == 1]
    return Result(
        tables=[
            table(
                f"Webhooks that all get every event, bodies of {_BODY:,} bytes",
                "webhooks",
                [(each.webhooks, each) for each in by_webhooks],
            ),
            table("One webhook", "bytes of the body", [(each.body, each) for each in by_body]),
        ],
        targets=[],
        figures={
            "webhooks": [asdict(each) for each in by_webhooks],
            "bodies": [asdict(each) for each in by_body],
            "rounds": [asdict(each) for each in rounds],
        },
    )


if __name__ == "__main__":
    main("scaling", __doc__, run)
