"""How long until the receiver has an event, at half of the maximum rate?

An event is emitted, or posted by a bare loop, on schedule: at half of the rate that the slower
of the two reaches at its best. The time from then until the sink has the whole request is
compared. The bare loop is a queue and 32 tasks, each of which does ``async with session.post``,
with a time-out of five seconds, of bytes that were encoded and signed beforehand but for the
moment they are sent at. Both take turns in short rounds, forwards and backwards; each round's
ratio is to the bare round of the same turn. Beside the 99th percentile stands that of the turns of
the event loop, in CPU time of its thread, which other programs on the machine do not lengthen.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Final

from aiohttp import ClientSession

from benchmarks.bare import (
    IN_FLIGHT,
    KEY,
    SESSIONS,
    Post,
    by_turns,
    open_bare,
    post_all,
    prepared,
    ratios,
)
from benchmarks.children import Child
from benchmarks.estimates import percentile, quartiles
from benchmarks.harness import main
from benchmarks.loop_turns import LoopTurns, lag
from benchmarks.processes import run_loop
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.servers.sink import now
from benchmarks.target import Target
from benchmarks.traffic import message
from relaybox_hooks import Hooks, Webhook

_LIMIT: Final = 1.5
_PATH: Final = "/compared"
#: Where the moment goes in a body that was made for another.
_SENT: Final = b'"at":0'


@dataclass(frozen=True, slots=True)
class Plan:
    """Events of the calibration; rounds that count, and how long each is, seconds."""

    calibration: int
    rounds: int
    warm_up: float
    measured: float


_FULL: Final = Plan(calibration=4000, rounds=16, warm_up=0.3, measured=2.0)
_QUICK: Final = Plan(calibration=64, rounds=1, warm_up=0.05, measured=0.2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Milliseconds of one contender, by round, and how many of its requests were lost."""

    p50: list[float]
    p99: list[float]
    late_p99: list[float]
    lag: list[float]
    lost: int


async def steadily(
    send: Callable[[int], Awaitable[object]], rate: float, seconds: float
) -> list[float]:
    """Send on schedule whatever becomes of it; returns how late each was, seconds."""
    late = []
    began = time.perf_counter()
    for number in range(max(1, round(rate * seconds))):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late.append(time.perf_counter() - due)
        await send(number)
    return late


class BareLoop:
    """A queue of moments and the tasks that post a body for each."""

    def __init__(self, session: ClientSession, post: Post) -> None:
        self._session = session
        self._post = post
        self._before, _, self._after = post.body.partition(_SENT)
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(IN_FLIGHT)]

    async def send(self, number: int) -> None:
        """Have a body posted that tells this moment."""
        self._queue.put_nowait(now())

    async def join(self) -> None:
        """Wait until all are answered."""
        await self._queue.join()

    async def aclose(self) -> None:
        """End the tasks."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self) -> None:
        url, headers = self._post.url, self._post.headers
        while True:
            body = b'%b"at":%d%b' % (self._before, await self._queue.get(), self._after)
            async with self._session.post(url, data=body, headers=headers):
                pass
            self._queue.task_done()


async def fastest(session: ClientSession, hooks: Hooks, posts: list[Post]) -> float:
    """Events per second that the slower contender reaches, each at its best of three rounds."""
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(3):
        began = time.perf_counter()
        await post_all(session, posts, IN_FLIGHT)
        seconds[0].append(time.perf_counter() - began)
        began = time.perf_counter()
        for number in range(len(posts)):
            await hooks.emit("room:publish", message(number), SESSIONS[number % len(SESSIONS)])
        await hooks.join()
        seconds[1].append(time.perf_counter() - began)
    return len(posts) / max(map(min, seconds))


async def measure(plan: Plan, turns: LoopTurns) -> tuple[float, list[Outcome]]:
    """The rate, and what the bare loop and the library came to, on the loop with these turns."""
    with Child("benchmarks.servers.sink") as sink:
        posts = prepared([sink.url(_PATH)] * plan.calibration)
        webhook = Webhook(
            sink.url(_PATH),
            ["room:publish"],
            KEY,
            concurrency=IN_FLIGHT,
            queue_size=plan.calibration,
        )
        async with open_bare() as session, Hooks([webhook]) as hooks:
            rate = await fastest(session, hooks, posts) / 2
            sink.take()
            bare = BareLoop(session, posts[0])

            async def emit(number: int) -> None:
                client = SESSIONS[number % len(SESSIONS)]
                await hooks.emit("room:publish", message(number, at=now()), client)

            outcomes = [Outcome([], [], [], [], 0), Outcome([], [], [], [], 0)]
            lost = [0, 0]

            async def play(
                place: int,
                send: Callable[[int], Awaitable[None]],
                join: Callable[[], Awaitable[None]],
            ) -> float:
                gc.collect()
                await steadily(send, rate, plan.warm_up)
                begin = now()
                turns.take()
                late = await steadily(send, rate, plan.measured)
                outcomes[place].lag.append(lag(turns.take()))
                await join()
                samples = sink.take()[_PATH]
                waited = [
                    (received - sent) / 1000
                    for sent, received in zip(samples["sent"], samples["received"], strict=True)
                    if sent >= begin
                ]
                lost[place] += len(late) - len(waited)
                outcomes[place].p50.append(percentile(waited, 0.5))
                outcomes[place].late_p99.append(percentile(late, 0.99) * 1000)
                return percentile(waited, 0.99)

            p99 = await by_turns(
                (
                    lambda: play(0, bare.send, bare.join),
                    lambda: play(1, emit, hooks.join),
                ),
                plan.rounds,
            )
            await bare.aclose()
    return rate, [
        Outcome(each.p50[1:], found, each.late_p99[1:], each.lag[1:], missed)
        for each, found, missed in zip(outcomes, p99, lost, strict=True)
    ]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    turns = LoopTurns()
    rate, outcomes = run_loop(measure(plan, turns), turns.new_loop)
    bare, hooks = outcomes
    rows: list[list[str | float]] = []
    for name, each in (("bare loop", bare), ("hooks", hooks)):
        row: list[str | float] = [name]
        for figure in ("p50", "p99", "lag"):
            by_round = ratios(getattr(each, figure), getattr(bare, figure))
            row += [median(getattr(each, figure)), median(by_round)]
            row += [text_of_pair(quartiles(by_round))]
        rows.append([*row, median(each.late_p99), each.lost])
    columns = ["", "p50 ms", "ratio", "quartiles", "p99 ms", "ratio", "quartiles"]
    columns += ["lag ms of CPU", "ratio", "quartiles", "late p99 ms", "lost"]
    title = f"Emit to received at {rate:.0f} events/s, medians of {plan.rounds} rounds"
    behind = "loop lag in CPU time, hooks / bare loop"
    return Result(
        tables=[Table(title, columns, rows)],
        targets=[
            Target.of_ratios(
                "p99, hooks / bare loop", ratios(hooks.p99, bare.p99), _LIMIT, stand_in=behind
            ),
            Target.of_ratios(behind, ratios(hooks.lag, bare.lag), _LIMIT),
        ],
        figures={
            "events_per_second": rate,
            "contenders": {
                name: {field: getattr(each, field) for field in Outcome.__slots__}
                for name, each in zip(("bare", "hooks"), outcomes, strict=True)
            },
        },
    )


if __name__ == "__main__":
    main("latency", __doc__, run)
