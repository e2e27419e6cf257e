"""One measurement of :mod:`benchmarks.compare`, of the relaybox_hooks that is first on the path.

Run by its path and with ``-P``, so that it imports nothing of this checkout, and written with the
library's public API alone, so that it measures any checkout. It prints JSON: ``figures``, values
of the inner rounds in microseconds of CPU per event or in bytes; ``requests``, the number that the
sink must have received; and ``package``, the file that was imported.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, Final, TypeAlias

import relaybox_hooks
from relaybox_hooks import Hooks, Session, Webhook
from relaybox_hooks.journal import SQLiteJournal

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
_EVENT: Final = "room:publish"
_IN_FLIGHT: Final = 32
_BURST: Final = 100
_EMITTERS: Final = 256
#: Webhooks that are sent their event together: as many connections are open then.
_WAVE: Final = 100
#: Emits after which the event loop turns.
_TURN: Final = 50
#: Events pending before the first reading: workers and connections are there by then.
_WARM_UP: Final = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of the inner rounds by measure, and requests that the sink was sent."""

    figures: Mapping[str, Sequence[float]]
    requests: int = 0


#: Measures against a server's URL, in a short form if ``quick``.
Measure: TypeAlias = Callable[[str, bool], Awaitable[Measured]]


def session_of(number: int, app_pid: str = "chat") -> Session:
    """Return the session of one connection."""
    return Session(
        app_pid=app_pid,
        key_id="key-1",
        client_id=f"client-{number}",
        connection_id=f"connection-{number}",
        socket_id=f"socket-{number}",
        timestamp="2024-10-22T13:15:08.913Z",
    )


def message(number: int) -> Any:
    """Return data about as long as what people type."""
    return {
        "id": f"message-{number:09}",
        "body": {"text": "Shall we meet at eight, in front of the cinema? " * 3},
        "roomId": "chat:one",
        "timestamp": "2024-10-22T13:15:08.913Z",
        "event": "message",
    }


#: More connections than requests in flight, so that no order key waits for itself.
_CROWD: Final = [session_of(number) for number in range(512)]


async def cpu_per_event(
    one_round: Callable[[], Awaitable[object]], *, rounds: int, events: int
) -> Measured:
    """Return microseconds of CPU per event of each round, after one that warms up."""
    found = []
    gc.collect()
    gc.freeze()
    for _ in range(rounds + 1):
        gc.collect()
        began = process_time()
        await one_round()
        found.append((process_time() - began) / events * 1e6)
    return Measured({"": found[1:]})


def resident() -> int:
    """Return the bytes of this process that are in memory, without garbage."""
    gc.collect()
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


async def unmatched(url: str, quick: bool) -> Measured:
    """An emit that matches nothing, though a webhook is registered."""
    size, data, session = 200 if quick else 20_000, message(1), _CROWD[0]
    async with Hooks([Webhook(url, ["room:join"], _KEY)]) as hooks:

        async def one_round() -> None:
            emit = hooks.emit
            for _ in range(size):
                await emit(_EVENT, data, session)

        return await cpu_per_event(one_round, rounds=3 if quick else 150, events=size)


async def to_subscriber(burst: int, size: int, rounds: int) -> Measured:
    """Emits to one function until it has run for all of them, ``burst`` at a time."""
    ran, due, data, session = 0, 0, message(1), _CROWD[0]
    async with Hooks() as hooks:

        @hooks.on(_EVENT)
        async def subscriber(event: object) -> None:
            nonlocal ran
            ran += 1

        async def one_round() -> None:
            nonlocal due
            emit = hooks.emit
            for _ in range(size // burst):
                for _ in range(burst):
                    await emit(_EVENT, data, session)
                due += burst
                while ran < due:  # noqa: ASYNC110 - cheaper than join
                    await asyncio.sleep(0)

        return await cpu_per_event(one_round, rounds=rounds, events=size)


async def in_bursts(url: str, quick: bool) -> Measured:
    """Emits to one subscriber, as when a server handles what has arrived on its sockets."""
    return await to_subscriber(_BURST, 200 if quick else 4_000, 3 if quick else 150)


async def singly(url: str, quick: bool) -> Measured:
    """Emits to one subscriber, one at a time."""
    return await to_subscriber(1, 20 if quick else 1_000, 3 if quick else 100)


async def throughput(url: str, quick: bool) -> Measured:
    """Events to one webhook until all are delivered."""
    size, rounds = (64, 2) if quick else (1_000, 24)
    messages = [message(number) for number in range(size)]
    webhook = Webhook(f"{url}/one", [_EVENT], _KEY, concurrency=_IN_FLIGHT, queue_size=size)
    async with Hooks([webhook]) as hooks:

        async def one_round() -> None:
            for number, data in enumerate(messages):
                await hooks.emit(_EVENT, data, _CROWD[number % len(_CROWD)])
            await hooks.join()

        measured = await cpu_per_event(one_round, rounds=rounds, events=size)
        return Measured(measured.figures, hooks.stats().delivered)


async def fan_out(url: str, quick: bool) -> Measured:
    """One event to each of many webhooks until all have it."""
    webhooks, size, rounds = (10, 2, 2) if quick else (100, 4, 30)
    targets = [Webhook(f"{url}/{number}", [_EVENT], _KEY) for number in range(webhooks)]
    async with Hooks(targets) as hooks:

        async def one_round() -> None:
            for number in range(size):
                await hooks.emit(_EVENT, message(number), _CROWD[number])
                await hooks.join()

        measured = await cpu_per_event(one_round, rounds=rounds, events=size)
        return Measured(measured.figures, hooks.stats().delivered)


async def emit_concurrently(hooks: Hooks, size: int, emitters: int) -> None:
    """Emit ``size`` events from ``emitters`` tasks."""
    numbers = iter(range(size))

    async def emitter() -> None:
        for number in numbers:
            await hooks.emit(_EVENT, message(number), _CROWD[number % len(_CROWD)])

    await asyncio.gather(*(emitter() for _ in range(emitters)))


async def journal_accepts(url: str, quick: bool) -> Measured:
    """Events that a journal accepts for a webhook whose endpoint hangs."""
    size, rounds = (_EMITTERS, 2) if quick else (8_192, 6)
    webhook = Webhook(f"{url}/hang", [_EVENT], _KEY, id="hangs", concurrency=1)
    with TemporaryDirectory() as directory:
        journal = SQLiteJournal(Path(directory) / "hooks.db", durability="process")
        hooks = Hooks([webhook], journal=journal, logging=False)
        await hooks.start()
        measured = await cpu_per_event(
            lambda: emit_concurrently(hooks, size, _EMITTERS), rounds=rounds, events=size
        )
        pending = hooks.stats().pending
        await hooks.aclose(0)
    if pending != (rounds + 1) * size:
        raise RuntimeError(f"{pending} of {(rounds + 1) * size} events are pending")
    return measured


async def journal_delivers(url: str, quick: bool) -> Measured:
    """Events that are journaled and delivered to one webhook."""
    size, rounds = (64, 2) if quick else (500, 20)
    webhook = Webhook(f"{url}/one", [_EVENT], _KEY, id="one", concurrency=_IN_FLIGHT)
    with TemporaryDirectory() as directory:
        journal = SQLiteJournal(Path(directory) / "hooks.db", durability="process")
        async with Hooks([webhook], journal=journal, logging=False) as hooks:

            async def one_round() -> None:
                await emit_concurrently(hooks, size, _IN_FLIGHT)
                await hooks.join()

            measured = await cpu_per_event(one_round, rounds=rounds, events=size)
            return Measured(measured.figures, hooks.stats().delivered)


async def idle(url: str, quick: bool) -> Measured:
    """Bytes of an idle webhook, registered and after its first delivery."""
    webhooks = 1_000 if quick else 10_000
    apps = [f"app-{wave}" for wave in range(webhooks // _WAVE)]
    sessions = [session_of(0, app) for app in apps]

    def webhook(name: str, app: str) -> Webhook:
        return Webhook(f"{url}/hooks/{name}", ["room:*"], name.rjust(32, "k"), app_pid=app)

    async with Hooks() as hooks:

        async def deliver(sessions: Sequence[Session]) -> None:
            for session in sessions:
                await hooks.emit(_EVENT, message(0), session)
                await hooks.join()

        # Connections, caches and code that any number of webhooks share belong to none of them.
        for number in range(_WAVE):
            hooks.add_webhook(webhook(f"warm-up-{number}", "warm-up"))
        await deliver([session_of(0, "warm-up")])
        for number in range(_WAVE):
            hooks.remove_webhook(webhook(f"warm-up-{number}", "warm-up").id)
        base = resident()
        for number in range(webhooks):
            hooks.add_webhook(webhook(f"{number:05}", apps[number // _WAVE]))
        registered = resident() - base
        await deliver(sessions)
        delivered = resident() - base
        return Measured(
            {"registered": [registered / webhooks], "delivered": [delivered / webhooks]},
            _WAVE + webhooks,
        )


async def pending(url: str, quick: bool) -> Measured:
    """Bytes of a small event that is pending for an endpoint that hangs."""
    events = 1_000 if quick else 100_000
    webhook = Webhook(
        f"{url}/hang", ["room:join"], _KEY, queue_size=_WARM_UP + events, overflow="raise"
    )
    hooks = Hooks([webhook], logging=False)
    await hooks.start()
    crowd = [session_of(number) for number in range(1_000)]

    async def emit(count: int) -> None:
        for number in range(count):
            await hooks.emit("room:join", {"roomId": "chat:one"}, crowd[number % len(crowd)])
            if number % _TURN == 0:
                await asyncio.sleep(0)

    await emit(_WARM_UP)
    await asyncio.sleep(0.1)
    base = resident()
    await emit(events)
    grown = resident() - base
    held = hooks.stats().pending
    await hooks.aclose(0)
    if held != _WARM_UP + events:
        raise RuntimeError(f"{held} of {_WARM_UP + events} events are pending")
    return Measured({"": [grown / events]})


MEASURES: Final[Mapping[str, Measure]] = {
    "emit-unmatched": unmatched,
    "emit-bursts": in_bursts,
    "emit-singly": singly,
    "throughput": throughput,
    "throughput-uvloop": throughput,
    "fan-out": fan_out,
    "journal-accept": journal_accepts,
    "journal-deliver": journal_delivers,
    "idle": idle,
    "pending": pending,
}


async def measured(measure: Measure, url: str, quick: bool) -> Measured:
    """Measure, and raise an error that a task or a callback died of meanwhile."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    found = await measure(url, quick)
    gc.collect()
    if errors:
        raise RuntimeError(errors[0]["message"]) from errors[0].get("exception")
    return found


def main() -> None:
    """Answer one question and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("question", choices=MEASURES)
    parser.add_argument("url")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    factory = None
    if options.question.endswith("-uvloop"):
        import uvloop  # noqa: PLC0415 - the other questions are to be without it

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        found = runner.run(measured(MEASURES[options.question], options.url, options.quick))
    print(
        json.dumps(
            {
                "figures": found.figures,
                "requests": found.requests,
                "package": relaybox_hooks.__file__,
            }
        )
    )


if __name__ == "__main__":
    main()
