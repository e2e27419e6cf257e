"""What does an ``emit`` cost that matches nothing, or one local function?

One that matches nothing is compared with an empty ``async def`` awaited, which is the least that
an awaited call can cost. One to a subscriber is compared with the buses that people use for that
alone. Theirs call the function, with blinker inside ``send_async`` and with pyee in a task for
each event; ours puts the event into the subscriber's lane, whose worker calls the function
behind the emitter's back. So all are timed until the function has run for the last event, in
bursts: of 100, as when a server handles what has arrived on its sockets, and one at a time, where
each event pays for a turn of the event loop of its own. What that takes at the least is listed: a
bare turn of the loop, one in which a waiting task is woken, as our worker is, and one in which a
task is started. Turns are waited for, not ``join`` and ``wait_for_complete``, which cost more.
Each bus hands the function the event's name or object, its data and its session.

A function registered with ``inline=True`` runs inside ``emit``, as blinker's do, and is compared
with them where the library has that option.
"""

from __future__ import annotations

import asyncio
import sys
from time import process_time
from typing import Any, Final

from blinker import Signal
from pyee.asyncio import AsyncIOEventEmitter

from benchmarks.features import RUNS_INLINE
from benchmarks.harness import main
from benchmarks.processes import run_loop
from benchmarks.result import Result
from benchmarks.traffic import APP, message, sessions
from benchmarks.turns import Turn, Turns, spread, take_turns
from relaybox_hooks import Event, Hooks, Webhook

_BURST: Final = 100
_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
_URL: Final = "http://127.0.0.1:9/never-called"

_DATA: Final = message(1)
(_SESSION,) = sessions(1)

EMPTY: Final = "empty async def"
NO_MATCH: Final = "emit, no match"
OTHER_APP: Final = "emit, other applications' only"
HOOKS: Final = "emit"
INLINE: Final = "emit, inline"
BLINKER: Final = "blinker send_async"
PYEE: Final = "pyee emit"
TURN: Final = "a turn of the loop"
WAKE: Final = "a task woken"
TASK: Final = "a task of its own"

#: How many times as long as blinker's call one event at a time may take. Tasks and turns of the
#: event loop have become cheaper with 3.12.
_OF_BLINKER: Final = 3.0 if sys.version_info < (3, 12) else 2.5
_INLINE_OF_BLINKER: Final = 0.8

#: Rounds and events of each, if it is to be quick and if not.
_SINGLY: Final = {True: (2, 20), False: (200, 1_000)}

#: How often each subscriber ran, by contender.
_ran: dict[str, int] = {}


async def empty() -> None:
    """The least that can be awaited."""


async def nothing(size: int) -> float:
    """One turn of the bare minimum."""
    began = process_time()
    for _ in range(size):
        await empty()
    return process_time() - began


def emitting(hooks: Hooks) -> Turn:
    """Turns of emits that match nothing, or whose function has run when ``emit`` returns."""

    async def turn(size: int) -> float:
        emit = hooks.emit
        began = process_time()
        for _ in range(size):
            await emit("room:publish", _DATA, _SESSION)
        return process_time() - began

    return turn


def through_inline(hooks: Hooks) -> Turn:
    """Turns of our emits that await the function."""
    _ran[INLINE] = 0

    @hooks.on("room:publish", inline=True)
    async def subscriber(event: Event[Any]) -> None:
        _ran[INLINE] += 1

    return emitting(hooks)


def through_hooks(hooks: Hooks, burst: int) -> Turn:
    """Turns of our emits, until the subscriber has run for all of them.

    Args:
        hooks: to which it is registered.
        burst: events that are emitted before it is waited for.
    """
    _ran[HOOKS] = 0

    @hooks.on("room:publish")
    async def subscriber(event: Event[Any]) -> None:
        _ran[HOOKS] += 1

    async def turn(size: int) -> float:
        emit, due = hooks.emit, _ran[HOOKS]
        began = process_time()
        for _ in range(size // burst):
            for _ in range(burst):
                await emit("room:publish", _DATA, _SESSION)
            due += burst
            while _ran[HOOKS] < due:  # noqa: ASYNC110 - an Event would have to be set by each
                await asyncio.sleep(0)
        return process_time() - began

    return turn


def through_blinker(signal: Signal) -> Turn:
    """Turns of blinker's; the receiver has run when ``send_async`` returns."""
    _ran[BLINKER] = 0

    async def receiver(sender: str, data: object, session: object) -> None:
        _ran[BLINKER] += 1

    signal.connect(receiver, weak=False)

    async def turn(size: int) -> float:
        send = signal.send_async
        began = process_time()
        for _ in range(size):
            await send("room:publish", data=_DATA, session=_SESSION)
        return process_time() - began

    return turn


def through_pyee(emitter: AsyncIOEventEmitter, burst: int) -> Turn:
    """Turns of pyee's."""
    _ran[PYEE] = 0

    async def listener(data: object, session: object) -> None:
        _ran[PYEE] += 1

    emitter.on("room:publish", listener)

    async def turn(size: int) -> float:
        emit, due = emitter.emit, _ran[PYEE]
        began = process_time()
        for _ in range(size // burst):
            for _ in range(burst):
                emit("room:publish", _DATA, _SESSION)
            due += burst
            while _ran[PYEE] < due:  # noqa: ASYNC110 - as ours are waited for
                await asyncio.sleep(0)
        return process_time() - began

    return turn


async def turning(size: int) -> float:
    """The least that anything in the background takes."""
    began = process_time()
    for _ in range(size):
        await asyncio.sleep(0)
    return process_time() - began


async def waking(size: int) -> float:
    """The same, of a background that is one task, which waits in between."""
    loop, woken = asyncio.get_running_loop(), 0
    waiting = loop.create_future()

    async def work() -> None:
        nonlocal waiting, woken
        while await waiting:
            waiting = loop.create_future()
            woken += 1

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    began = process_time()
    for due in range(1, size + 1):
        waiting.set_result(True)
        while woken < due:  # noqa: ASYNC110 - as the others are waited for
            await asyncio.sleep(0)
    took = process_time() - began
    waiting.set_result(False)
    await task
    return took


async def tasking(size: int) -> float:
    """The same, of a background that is a task for each event."""
    began = process_time()
    for _ in range(size):
        task = asyncio.create_task(empty())
        while not task.done():  # noqa: ASYNC110 - as the others are waited for
            await asyncio.sleep(0)
    return process_time() - began


async def unmatched(rounds: int, size: int) -> Turns:
    """Emits that match nothing, though webhooks are registered."""
    elsewhere = Webhook(_URL, ["room:join"], _KEY)
    of_others = Webhook(_URL, ["room:publish"], _KEY, app_pid=f"not-{APP}")
    async with Hooks([elsewhere]) as idle, Hooks([of_others]) as foreign:
        contenders = {EMPTY: nothing, NO_MATCH: emitting(idle), OTHER_APP: emitting(foreign)}
        return await take_turns(contenders, rounds=rounds, size=size)


async def one_subscriber(rounds: int, size: int, burst: int) -> tuple[Turns, dict[str, int]]:
    """Events to one function, and how often it ran."""
    _ran.clear()
    async with Hooks() as hooks, Hooks() as inline:
        contenders = {
            HOOKS: through_hooks(hooks, burst),
            BLINKER: through_blinker(Signal()),
            PYEE: through_pyee(AsyncIOEventEmitter(asyncio.get_running_loop()), burst),
        }
        if burst == 1:
            contenders |= {TURN: turning, WAKE: waking, TASK: tasking}
        if burst == 1 and RUNS_INLINE:
            contenders[INLINE] = through_inline(inline)
        turns = await take_turns(contenders, rounds=rounds, size=size)
        assert set(_ran.values()) == {(rounds + 1) * size}, _ran
        return turns, dict(_ran)


def measure_unmatched(rounds: int, size: int) -> Turns:
    """In this process."""
    return run_loop(unmatched(rounds, size))


def measure_bursts(rounds: int, size: int) -> Turns:
    """In this process."""
    return run_loop(one_subscriber(rounds, size, _BURST))[0]


def measure_singly(rounds: int, size: int) -> Turns:
    """In this process."""
    return run_loop(one_subscriber(rounds, size, 1))[0]


def singly(rounds: int, size: int) -> tuple[Turns, Result]:
    """Events to one function one at a time, and what is asked about them."""
    turns = spread(measure_singly, rounds, size)
    ours = [HOOKS, *([INLINE] * RUNS_INLINE)]
    targets = [
        turns.target(HOOKS, BLINKER, _OF_BLINKER, asked="CPU, one event at a time to a subscriber")
    ]
    skipped = []
    if RUNS_INLINE:
        asked = "CPU, one event to an inline subscriber, until it ran"
        targets.append(turns.target(INLINE, BLINKER, _INLINE_OF_BLINKER, asked=asked))
    else:
        skipped.append("emit: inline subscriber: on has no option inline")
    table = turns.table(
        "To one async subscriber until it ran, one at a time",
        [*ours, PYEE, TURN, WAKE, TASK],
        [BLINKER, PYEE],
    )
    return turns, Result(tables=[table], targets=targets, skipped=skipped, contenders=["blinker"])


def ask(quick: bool) -> Result:
    """Measure what is asked about one event at a time, and no more."""
    return singly(*_SINGLY[quick])[1]


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    rounds = 2 if quick else 200
    unheard_of = spread(measure_unmatched, rounds, 200 if quick else 5_000)
    bursts = spread(measure_bursts, rounds, 200 if quick else 1_000)
    single, asked = singly(*_SINGLY[quick])
    return Result(
        tables=[
            unheard_of.table("An emit that matches nothing", [NO_MATCH, OTHER_APP], [EMPTY]),
            bursts.table(
                f"To one async subscriber until it ran, {_BURST} at once", [HOOKS], [BLINKER, PYEE]
            ),
            *asked.tables,
        ],
        targets=[
            *asked.targets,
            unheard_of.target(NO_MATCH, EMPTY, 3.0),
            bursts.target(HOOKS, BLINKER, 1.0),
            bursts.target(HOOKS, PYEE, 0.6),
            single.target(HOOKS, PYEE, 0.6, "one at a time"),
        ],
        figures={
            "burst": _BURST,
            "no_match": unheard_of.seconds,
            "one_subscriber": bursts.seconds,
            "one_at_a_time": single.seconds,
        },
        contenders=["blinker", "pyee", "pyperf"],
        skipped=asked.skipped,
        samples=unheard_of.samples("no match")
        | bursts.samples("in bursts")
        | single.samples("one at a time"),
    )


if __name__ == "__main__":
    main("emit", __doc__, run)
