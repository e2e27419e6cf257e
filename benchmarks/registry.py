"""Does an ``emit`` cost more where many webhooks are registered that do not want it?

1,000 webhooks of which one wants the event are compared with that one alone, and 100,000 webhooks
of 1,000 applications with the hundred of a single application: once where all of a hundred want
the event, and once where one of them does. Only ``emit`` is timed, until it returns. The requests
it leads to are made between the turns, to a sink in another process, and counted.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from time import process_time
from typing import Final

from benchmarks.children import Child
from benchmarks.harness import main
from benchmarks.processes import run_loop
from benchmarks.result import Result
from benchmarks.traffic import APP, message, sessions
from benchmarks.turns import Turn, Turns, take_turns
from relaybox_hooks import Hooks, Webhook

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
_WANTED: Final = "room:publish"
_OTHERS: Final = ("room:join", "room:leave", "presence:join", "presence:leave")
_DATA: Final = message(1)
(_SESSION,) = sessions(1)

ONE: Final = "1 webhook"
MANY: Final = "{:,} webhooks, 1 wants it"
ALL: Final = "{:,} webhooks of {:,} applications, all want it"
FEW: Final = "{:,} webhooks of {:,} applications, 1 of each wants it"


def some(count: int, wanting: int, url: str, app_pid: str | None = None) -> list[Webhook]:
    """``count`` webhooks; the last ``wanting`` want the event, the others what is never emitted."""
    return [
        Webhook(
            url,
            [_WANTED if number >= count - wanting else _OTHERS[number % len(_OTHERS)]],
            _KEY,
            name=f"{app_pid}-{number}",
            app_pid=app_pid,
        )
        for number in range(count)
    ]


def of_applications(apps: int, each: int, wanting: int, url: str) -> list[Webhook]:
    """``each`` webhooks of each application; the one that emits is in the middle."""
    names = [APP if number == apps // 2 else f"app-{number}" for number in range(apps)]
    return [webhook for name in names for webhook in some(each, wanting, url, name)]


def emitting(hooks: Hooks) -> Turn:
    """Turns of emits, each of which is delivered before the next turn begins."""

    async def turn(size: int) -> float:
        emit = hooks.emit
        began = process_time()
        for _ in range(size):
            await emit(_WANTED, _DATA, _SESSION)
        took = process_time() - began
        await hooks.join()
        return took

    return turn


async def measure(
    registered: dict[str, list[Webhook]], rounds: int, size: int
) -> tuple[Turns, dict[str, int]]:
    """The turns of each set of webhooks, and how many deliveries each came to."""
    async with AsyncExitStack() as stack:
        hooks = {
            name: await stack.enter_async_context(Hooks(webhooks))
            for name, webhooks in registered.items()
        }
        contenders = {name: emitting(each) for name, each in hooks.items()}
        turns = await take_turns(contenders, rounds=rounds, size=size)
        return turns, {name: each.stats().delivered for name, each in hooks.items()}


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    rounds, webhooks, apps, each = (2, 20, 10, 5) if quick else (101, 1_000, 1_000, 100)
    total = apps * each
    many, all_, few = MANY.format(webhooks), ALL.format(total, apps), FEW.format(total, apps)
    all_of_one, few_of_one = ALL.format(each, 1), FEW.format(each, 1)
    with Child("benchmarks.servers.sink") as sink:
        url = sink.url("/")
        one = {ONE: some(1, 1, url), many: some(webhooks, 1, url)}
        plenty = {
            all_of_one: of_applications(1, each, each, url),
            all_: of_applications(apps, each, each, url),
        }
        sparse = {
            few_of_one: of_applications(1, each, 1, url),
            few: of_applications(apps, each, 1, url),
        }
        size = 5 if quick else 20
        of_one, delivered = run_loop(measure(one, rounds, size))
        of_all, delivered_to_all = run_loop(measure(plenty, rounds, 1))
        of_few, delivered_to_few = run_loop(measure(sparse, rounds, size))
        received = len(sink.take()["/"]["received"])
    return Result(
        tables=[
            of_one.table("An emit that one webhook wants", [many], [ONE]),
            of_all.table(f"An emit that {each} webhooks want", [all_], [all_of_one]),
            of_few.table("An emit that one webhook of an application wants", [few], [few_of_one]),
        ],
        targets=[
            of_one.target(many, ONE, 1.1),
            of_all.target(all_, all_of_one, 1.2),
            of_few.target(few, few_of_one, 1.2),
        ],
        figures={
            "rounds": rounds,
            "delivered": delivered | delivered_to_all | delivered_to_few,
            "received": received,
            "seconds": of_one.seconds | of_all.seconds | of_few.seconds,
        },
        contenders=["pyperf"],
        samples=of_one.samples("1 wants it")
        | of_all.samples("all want it")
        | of_few.samples("1 of each wants it"),
    )


if __name__ == "__main__":
    main("registry", __doc__, run)
