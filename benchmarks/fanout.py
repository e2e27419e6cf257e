"""What does each delivery of one event to 1,000 webhooks cost above the bare POST?

One event is emitted to a thousand webhooks, each with its own path and key. The bare POSTs go to
the same thousand URLs, all at once too, with bytes that were encoded and signed beforehand: one
task each, ``async with session.post`` and a time-out of five seconds. Compared is CPU time of
the process. Both take turns, forwards and backwards, and keep their thousand connections.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.bare import KEY, SESSIONS, by_turns, open_bare, post_all, prepared
from benchmarks.children import Child
from benchmarks.harness import main
from benchmarks.processes import run_loop
from benchmarks.result import Result, Table, Target
from benchmarks.traffic import message
from relaybox_hooks import Hooks, Webhook

#: Microseconds.
_LIMIT: Final = 8.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How many webhooks get the event, and how many rounds count."""

    webhooks: int
    rounds: int


_FULL: Final = Plan(webhooks=1000, rounds=40)
_QUICK: Final = Plan(webhooks=50, rounds=1)


async def measure(plan: Plan) -> tuple[list[list[float]], int]:
    """CPU microseconds per delivery by round, of the POSTs and of the library; and how many
    requests the sink had."""
    with Child("benchmarks.servers.sink", "--awake") as sink:
        urls = [sink.url(f"/hooks/{number:04}") for number in range(plan.webhooks)]
        posts = prepared(urls)
        webhooks = [
            Webhook(url, ["room:*"], f"{number:04}{KEY[4:]}") for number, url in enumerate(urls)
        ]
        async with open_bare() as session, Hooks(webhooks) as hooks:

            async def bare_round() -> float:
                gc.collect()
                cpu = time.process_time()
                await post_all(session, posts, len(posts))
                return (time.process_time() - cpu) / len(posts) * 1e6

            async def hooks_round() -> float:
                gc.collect()
                cpu = time.process_time()
                await hooks.emit("room:publish", message(0), SESSIONS[0])
                await hooks.join()
                return (time.process_time() - cpu) / len(posts) * 1e6

            figures = await by_turns((bare_round, hooks_round), plan.rounds)
        taken = sink.take()
    return figures, sum(len(each["received"]) for each in taken.values())


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    (bare, ours), received = run_loop(measure(plan))
    above = [one - other for one, other in zip(ours, bare, strict=True)]
    rows: list[list[str | float]] = [
        [name, median(found), f"{min(found):.0f}-{max(found):.0f}"]
        for name, found in (("bare POST", bare), ("hooks", ours), ("hooks above it", above))
    ]
    title = f"One event to {plan.webhooks:,} webhooks, medians of {plan.rounds} rounds"
    return Result(
        tables=[Table(title, ("", "CPU us per delivery", "range"), rows)],
        targets=[Target("CPU us per delivery above the bare POST", median(above), _LIMIT)],
        figures={
            "webhooks": plan.webhooks,
            "bare": bare,
            "hooks": ours,
            "above": above,
            "received": received,
        },
    )


if __name__ == "__main__":
    main("fanout", __doc__, run)
