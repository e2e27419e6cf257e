"""What does each delivery of one event to 1,000 webhooks cost beside the bare POST?

One event is emitted to a thousand webhooks, each with its own path and key. The bare POSTs go to
the same thousand URLs, all at once too, with bytes that were encoded and signed beforehand: one
task each, ``async with session.post`` and a time-out of five seconds. Compared is CPU time of
the process. Both take turns, forwards and backwards, and keep their connections: a thousand, and
in a run of its own 512, where every other POST waits for one. With 512 the two do not do the same:
the bare POSTs go to one host, and one uses the connection of another; a webhook's connections are
its own, and it has lost them to other webhooks by the next event, so that each delivery dials.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from benchmarks.bare import (
    KEY,
    SESSIONS,
    Timed,
    open_bare,
    post_all,
    prepared,
    ratios,
    side_by_side,
)
from benchmarks.children import Child
from benchmarks.estimates import quartiles
from benchmarks.features import BOUNDS_CONNECTIONS, room
from benchmarks.harness import main
from benchmarks.machine import raise_file_limit
from benchmarks.processes import in_fresh_process, run_loop
from benchmarks.raw import sink_rate
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.target import Target
from benchmarks.traffic import message
from relaybox_hooks import Hooks, Webhook

#: Share of the bare POST's CPU time that a delivery may cost.
_LIMIT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How many webhooks get the event, the connections that each contender may open in one run
    and another, how many rounds count, and requests that the sink is flooded with."""

    webhooks: int
    rooms: tuple[int, ...]
    rounds: int
    flood: int


_FULL: Final = Plan(webhooks=1000, rooms=(1000, 512), rounds=40, flood=30_000)
_QUICK: Final = Plan(webhooks=50, rooms=(50, 25), rounds=1, flood=2_000)


@dataclass(frozen=True, slots=True)
class Run:
    """What both came to with room for so many connections, and what the sink got of it all."""

    room: int
    webhooks: int
    bare: Timed
    hooks: Timed
    received: int
    sink_per_second: float

    @property
    def spare(self) -> float:
        """How many times as much as the faster one sent the sink could take."""
        fastest = min(median(self.bare.seconds), median(self.hooks.seconds))
        return self.sink_per_second * fastest / self.webhooks


async def _measure(plan: Plan, connections: int) -> Run:
    with Child("benchmarks.servers.sink", "--awake") as sink:
        urls = [sink.url(f"/hooks/{number:04}") for number in range(plan.webhooks)]
        posts = prepared(urls)
        webhooks = [
            Webhook(url, ["room:*"], f"{number:04}{KEY[4:]}") for number, url in enumerate(urls)
        ]
        # Without the warning that there are fewer connections than webhooks: that is asked about.
        bus = Hooks(webhooks, logging=False, **room(connections))
        async with open_bare(connections) as session, bus as hooks:

            async def emit() -> None:
                await hooks.emit("room:publish", message(0), SESSIONS[0])
                await hooks.join()

            found = await side_by_side(
                {"bare": lambda: post_all(session, posts, len(posts)), "hooks": emit}, plan.rounds
            )
        received = sum(len(each["received"]) for each in sink.take().values())
    return Run(
        connections,
        plan.webhooks,
        **found,
        received=received,
        sink_per_second=sink_rate(plan.flood),
    )


def measure(plan: Plan, connections: int) -> Run:
    """The rounds with room for so many connections; call it in a process of its own."""
    raise_file_limit()
    return run_loop(_measure(plan, connections))


def table(run: Run, rounds: int) -> Table:
    """CPU time and rate of both."""
    shares = ratios(run.hooks.cpu, run.bare.cpu)
    rows: list[list[str | float]] = []
    for name, timed in (("bare POST", run.bare), ("hooks", run.hooks)):
        ours = timed is run.hooks
        rows.append(
            [
                name,
                round(run.webhooks / median(timed.seconds)),
                median(timed.cpu) / run.webhooks * 1e6,
                median(shares) if ours else "",
                text_of_pair(quartiles(shares)) if ours else "",
            ]
        )
    title = f"One event to {run.webhooks:,} webhooks, room for {run.room:,} connections"
    columns = ("", "delivered/s", "CPU µs per delivery", "/ bare POST", "quartiles")
    return Table(f"{title}, medians of {rounds} rounds", columns, rows)


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    # Without the option there is room for any number, which is the first of these.
    rooms = plan.rooms if BOUNDS_CONNECTIONS else plan.rooms[:1]
    runs = [in_fresh_process(measure, plan, connections) for connections in rooms]
    skipped = [
        f"fanout: room for {connections:,} connections: Hooks has no option max_connections"
        for connections in plan.rooms[len(rooms) :]
    ]
    figures: dict[str, Any] = {"webhooks": plan.webhooks, "runs": [asdict(each) for each in runs]}
    return Result(
        tables=[table(each, plan.rounds) for each in runs],
        targets=[
            Target.of_ratios(
                f"CPU per delivery, one event to {each.webhooks:,} webhooks, "
                f"room for {each.room:,} connections",
                ratios(each.hooks.cpu, each.bare.cpu),
                _LIMIT,
                contender="bare POST",
                spare=each.spare,
            )
            for each in runs
        ],
        figures=figures,
        skipped=skipped,
    )


if __name__ == "__main__":
    main("fanout", __doc__, run)
