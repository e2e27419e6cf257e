"""The process that is killed. It emits numbered events and reports each emit that has returned.

A plain module, run with ``-m``, that imports as little as it can: it is started again and again.
Its one argument is a :class:`Setup` as JSON; commands come as lines on its standard input, and
its end, however the parent goes, ends the process. Each line of its output is one ``write`` to a
pipe, made before anything else happens: what the parent can read has happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from relaybox_hooks import (
    Attempt,
    BreakerPolicy,
    Hooks,
    Observer,
    RetentionPolicy,
    RetryPolicy,
    Timeouts,
    Webhook,
)
from relaybox_hooks.journal import SQLiteJournal

KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
EVENT: Final = "count:up"
#: Order keys: few, so that many events share one, and more than a lane's deliveries in memory.
CONNECTIONS: Final = 12
ROOMS: Final = 5
#: Emits that are under way at the same time, and share transactions.
EMITTERS: Final = 8


@dataclass(frozen=True, slots=True)
class Setup:
    """What a child is made from; all of it is JSON.

    Attributes:
        path: of the journal.
        webhooks: by id, the arguments of each.
        run: which start of a child on this journal it is.
        retry, breaker, retention: the policies' arguments.
        padding: characters that make an event's body larger.
        death: the arguments of ``points.Death``, if it is to kill itself.
    """

    path: str
    webhooks: dict[str, dict[str, Any]]
    run: int = 0
    retry: dict[str, Any] = field(
        default_factory=lambda: {"attempts": 10_000, "initial": 0.01, "maximum": 0.1}
    )
    breaker: dict[str, Any] = field(
        default_factory=lambda: {"failures": 8, "cooldown": 0.02, "maximum": 0.1}
    )
    retention: dict[str, Any] = field(default_factory=dict)
    padding: int = 0
    death: dict[str, Any] | None = None


def say(line: str) -> None:
    """Report something that has happened."""
    os.write(1, f"{line}\n".encode())


class Attempts(Observer):
    """Counts attempts, for those who wait for some number of them."""

    def __init__(self) -> None:
        self._made = 0
        self._rung = asyncio.Event()

    def attempted(self, attempt: Attempt) -> None:
        self._made += 1
        self._rung.set()

    async def reach(self, number: int) -> None:
        """Wait until that many were made, and what they came to has been dealt with."""
        while self._made < number:
            self._rung.clear()
            await self._rung.wait()


def registered(webhooks: dict[str, dict[str, Any]]) -> list[Webhook]:
    """The webhooks of a set-up."""
    return [
        Webhook(events=["*"], signing_key=KEY, id=webhook_id, **rest)
        for webhook_id, rest in webhooks.items()
    ]


class Child:
    """Obeys the commands of its parent."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._numbers = count()
        self._random = random.Random(setup.run)
        self._attempts = Attempts()
        self.journal = SQLiteJournal(setup.path)
        self.hooks: Hooks[Any] = Hooks(
            registered(setup.webhooks),
            custom_events=[EVENT],
            queue_size=16,  # far fewer than are pending: most are read back
            concurrency=6,
            timeouts=Timeouts(total=0.5),
            retry=RetryPolicy(**setup.retry),
            breaker=BreakerPolicy(**setup.breaker),
            retention=RetentionPolicy(**setup.retention),
            journal=self.journal,
            observers=[self._attempts],
            logging=False,
        )

    async def emit(self, events: str) -> None:
        """Emit that many events, several at a time."""
        numbers = iter(range(int(events)))
        await asyncio.gather(*(self._emitter(numbers) for _ in range(EMITTERS)))
        say("emitted all")

    async def _emitter(self, turns: Iterator[int]) -> None:
        draw = self._random
        for _ in turns:
            # No one else gets a turn before the event has its place in the journal's order.
            number = next(self._numbers)
            connection = f"connection-{draw.randrange(CONNECTIONS)}"
            data = {
                "run": self._setup.run,
                "number": number,
                "roomId": f"room-{draw.randrange(ROOMS)}",
                "padding": "x" * self._setup.padding,
            }
            receipt = await self.hooks.emit(EVENT, data, {"connectionId": connection})
            if receipt.accepted:
                say(f"emitted {receipt.event_id} {number} {connection}")

    async def join(self) -> None:
        """Deliver everything, and report the journal's own count of what is pending."""
        await self.hooks.join()
        say(f"joined {self.journal.backlog().pending}")

    async def attempt(self, number: str) -> None:
        """Wait until that many attempts were made, and what they came to is durable."""
        await self._attempts.reach(int(number))
        await self.journal.flush()
        say("attempted")

    async def replay(self) -> None:
        """Send the dead letters again, until what came of them is durable."""
        report = await self.hooks.replay(rate=1000)
        await self.journal.flush()
        say(f"replayed {json.dumps(report)}")

    async def close(self) -> None:
        """End in good order."""
        report = await self.hooks.aclose(30)
        say(f"closed {report.ending} {report.left}")

    async def run(self) -> None:
        """Obey until the standard input ends or ``close`` was obeyed."""
        say("opening")
        await self.hooks.start()
        say("open")
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        commands = set()
        while line := await reader.readline():
            name, *arguments = line.decode().split()
            if name == "close":
                await self.close()
                return
            command = asyncio.ensure_future(getattr(self, name)(*arguments))
            command.add_done_callback(lambda done: done.cancelled() or done.result())
            commands.add(command)
        os._exit(1)  # the parent is gone


if __name__ == "__main__":
    given = Setup(**json.loads(sys.argv[1]))
    if given.death is not None:
        from crash.points import Death

        death = Death(**given.death)  # a file system layer that is forgotten is gone
        death.arm()
    asyncio.run(Child(given).run())
