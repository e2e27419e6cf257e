"""Do memory and tasks stay flat while events are delivered to faulty endpoints for a long time?

A server emits at a steady rate to ten webhooks, whose endpoints are a process of their own that
answers late, never, badly or not at all now and then, and to two subscribers, one of which
raises. Every few seconds a webhook is removed and another one added. Resident memory, tasks,
open files and what is pending are read at regular moments; the slopes are those of the second
half, when bounded stores are full and caches are warm.

In the end every event is accounted for, on both sides, and the tasks are those of the beginning:
where that is not so, it fails. ``python -m benchmarks.soak --minutes 60`` takes an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import linear_regression, mean
from typing import Final

from benchmarks.children import Child
from benchmarks.harness import main
from benchmarks.processes import resident, run_loop
from benchmarks.result import Result, Table
from benchmarks.target import Target
from benchmarks.traffic import APP, message, sessions
from relaybox_hooks import (
    Attempt,
    BreakerPolicy,
    Event,
    Hooks,
    Observer,
    RetryPolicy,
    Stats,
    Timeouts,
    Webhook,
)

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
_MINUTES: Final = 10.0
_QUICK_MINUTES: Final = 0.1
#: Events per second: ten times as many deliveries, a quarter of what a core can do.
_RATE: Final = 60
_WEBHOOKS: Final = 10
_SAMPLES: Final = 60
#: Seconds after which a webhook is replaced by a new one.
_CHANGE: Final = 2.0
#: Few, so that their store is full long before the slopes are taken.
_LETTERS: Final = 500
#: Seconds that workers and endpoints have to come to rest once all is settled.
_REST: Final = 5.0
_MIB: Final = 1 << 20
#: MiB that may be gained in a minute: over ten minutes that is the allocator's noise.
_FLAT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Sample:
    """What was there ``seconds`` after the beginning; ``tasks`` is a mean since the last one."""

    seconds: float
    resident: int
    tasks: float
    files: int
    pending: int
    delivered: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Books:
    """Both sides' accounts in the end."""

    emitted: int
    accepted: int
    delivered: int
    failed: int
    dropped: int
    retried: int
    attempts: int
    timed_out: int
    subscribers: int
    requests: int
    answered_2xx: int
    tasks_before: int
    tasks_after: int


class JournalState(Observer):
    """Webhooks' attempts as the dispatcher tells them."""

    def __init__(self) -> None:
        self.attempts = self.timed_out = self.arrived = 0

    def attempted(self, attempt: Attempt) -> None:
        self.attempts += 1
        self.timed_out += attempt.outcome.error == "TimeoutError"

    def delivered(self, attempt: Attempt) -> None:
        self.arrived += 1


class Server:
    """What emits: its webhooks change while it does."""

    def __init__(self, faulty: Child) -> None:
        self._faulty = faulty
        self._made = 0
        self._crowd = sessions(100)
        self.ledger = JournalState()
        self.emitted = self.handed = self.handled = 0
        self.requests = self.answered_2xx = 0
        self.hooks = Hooks(
            retry=RetryPolicy(attempts=4, initial=0.1, maximum=1.0),
            timeouts=Timeouts(total=1.0),
            breaker=BreakerPolicy(failures=10, cooldown=0.5, maximum=1.0),
            overflow="drop_oldest",
            observers=[self.ledger],
            dead_letter_limit=_LETTERS,
            logging=False,
        )
        self.hooks.add_subscriber("room:publish", self._handle)
        self.hooks.add_subscriber("room:*", self._raise)
        for _ in range(_WEBHOOKS):
            self._add()

    async def _handle(self, event: Event) -> None:
        self.handled += 1

    def _raise(self, event: Event) -> None:
        self.handled += 1
        raise ValueError("this one always does")

    def _add(self) -> None:
        url = self._faulty.url(f"/{self._made}")
        self.hooks.add_webhook(Webhook(url, ["room:publish"], _KEY, app_pid=APP))
        self._made += 1

    def replace(self) -> None:
        """Remove the oldest webhook, whatever it still owes, and add a new one."""
        self.hooks.remove_webhook(self.hooks.webhooks[0].id)
        self._add()

    def ask_receiver(self) -> None:
        """Add up what the endpoints' process has seen, which forgets it."""
        seen = self._faulty.take()
        self.requests += seen["requests"]
        self.answered_2xx += seen["accepted"]

    async def emit(self) -> None:
        """One event."""
        session = self._crowd[self.emitted % len(self._crowd)]
        receipt = await self.hooks.emit("room:publish", message(self.emitted), session)
        self.emitted += 1
        self.handed += receipt.accepted + receipt.dropped

    async def sample(self, seconds: float, tasks: float) -> Sample:
        """What is there now."""
        stats = self.hooks.stats()
        settled = stats.delivered + stats.failed + stats.dropped
        assert stats.accepted == settled + stats.pending == self.handed, f"lost track:\n{stats}"
        return Sample(
            seconds,
            resident(),
            tasks,
            len(os.listdir("/proc/self/fd")),
            stats.pending,
            stats.delivered,
            len(await self.hooks.dead_letters()),
        )


async def soak(minutes: float) -> tuple[list[Sample], Books]:
    """Emit for ``minutes``, then let everything settle and compare the accounts."""
    before = len(asyncio.all_tasks())
    with Child("benchmarks.servers.faulty") as faulty:
        server = Server(faulty)
        async with server.hooks:
            samples = await _emit_steadily(server, minutes * 60)
            await server.hooks.join()
            await _rest(server, before)
            after = len(asyncio.all_tasks())
            stats = server.hooks.stats()
        return samples, _balanced(server, stats, before, after)


async def _rest(server: Server, tasks: int) -> None:
    """Give workers and endpoints the moment that they need after the last status line, which
    settles a delivery: the response is read to its end, and the endpoint sees that it was."""
    until = time.perf_counter() + _REST
    while time.perf_counter() < until:
        server.ask_receiver()
        if len(asyncio.all_tasks()) == tasks and server.answered_2xx >= server.ledger.arrived:
            break
        await asyncio.sleep(0.05)


async def _emit_steadily(server: Server, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    tasks: list[int] = []
    began = time.perf_counter()
    for number in range(1, round(_RATE * seconds) + 1):
        due = began + number / _RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await server.emit()
        tasks.append(len(asyncio.all_tasks()))
        if number % round(_RATE * _CHANGE) == 0:
            server.replace()
        if number % max(1, round(_RATE * seconds / _SAMPLES)) == 0:
            server.ask_receiver()
            gc.collect()
            samples.append(await server.sample(number / _RATE, mean(tasks)))
            tasks.clear()
    return samples


def _balanced(server: Server, stats: Stats, before: int, after: int) -> Books:
    """Both sides' accounts, once they agree.

    A whole 2xx is a delivery, unless the attempt had timed out in the moment before; a
    delivery is a whole 2xx.
    """
    ledger = server.ledger
    books = Books(
        server.emitted,
        stats.accepted,
        stats.delivered,
        stats.failed,
        stats.dropped,
        stats.retried,
        ledger.attempts,
        ledger.timed_out,
        server.handled,
        server.requests,
        server.answered_2xx,
        before,
        after,
    )
    assert stats.pending == 0, books
    assert stats.accepted == stats.delivered + stats.failed + stats.dropped == server.handed, books
    assert ledger.arrived <= server.answered_2xx <= ledger.arrived + ledger.timed_out, books
    assert ledger.attempts >= server.requests >= server.answered_2xx, books
    assert server.handled == 2 * server.emitted, books
    assert after == before, books
    return books


def slope(samples: Sequence[Sample], figure: str) -> float:
    """What a figure gains in a minute, by the second half of the samples."""
    half = samples[len(samples) // 2 :]
    times = [each.seconds / 60 for each in half]
    return linear_regression(times, [getattr(each, figure) for each in half]).slope


def run(quick: bool, minutes: float | None = None) -> Result:
    """Soak and put into tables."""
    logging.getLogger("relaybox_hooks").addHandler(logging.NullHandler())
    if minutes is None:
        minutes = _QUICK_MINUTES if quick else _MINUTES
    samples, books = run_loop(soak(minutes))
    memory, tasks = slope(samples, "resident") / _MIB, slope(samples, "tasks")
    columns = ("s", "MiB", "tasks", "files", "pending", "delivered", "dead letters")
    rows = [
        (
            f"{each.seconds:.1f}",
            each.resident / _MIB,
            each.tasks,
            each.files,
            each.pending,
            each.delivered,
            each.dead_letters,
        )
        for each in samples[2::3]
    ]
    title = f"{minutes:g} minutes, {_RATE} events/s to {_WEBHOOKS} webhooks and 2 subscribers"
    return Result(
        tables=[
            Table(title, columns, rows),
            Table(
                "Slopes of the second half",
                ("", "a minute"),
                [
                    ("MiB", memory),
                    ("tasks", tasks),
                    ("files", slope(samples, "files")),
                    ("pending", slope(samples, "pending")),
                ],
            ),
            Table(
                "In the end, all accounted for",
                ("", "count"),
                [(name.replace("_", " "), count) for name, count in asdict(books).items()],
            ),
        ],
        targets=[
            Target("MiB gained in a minute", memory, _FLAT),
            Target("tasks left in the end", books.tasks_after - books.tasks_before, 0),
        ],
        figures={
            "minutes": minutes,
            "samples": [asdict(each) for each in samples],
            "books": asdict(books),
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--minutes", type=float)
    options, sys.argv[1:] = parser.parse_known_args()
    main("soak", __doc__, partial(run, minutes=options.minutes))
