"""The surviving side: starts and kills the processes, and compares accepted with received."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from crash.child import Setup
from support.journals import integrity

from relaybox_hooks.testing import FaultReceiver, FaultScript, ReceivedRequest
from relaybox_hooks.testing.faults import Fault
from relaybox_hooks.testing.script import Script

#: Another seed is another run: ``RELAYBOX_CRASH_SEED=7 pytest -s tests/crash``.
SEED: Final = int(os.environ.get("RELAYBOX_CRASH_SEED", "1"))

_TESTS: Final = Path(__file__).parents[1]
#: Seconds after which what must come about is taken to be in vain. A busy machine is slow.
_IN_VAIN: Final = 60.0
#: Bytes of a body's end that differ between attempts: the timestamp, a quote and a brace.
_ENDING: Final = 26


class Bell:
    """Lets one wait for anything that its owner rings for."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something has changed."""
        self._rung.set()

    async def until(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        """Wait until ``condition()`` holds.

        Raises:
            TimeoutError: it does not come to hold; ``what()`` tells how things stand.
        """
        try:
            async with asyncio.timeout(_IN_VAIN):
                while not condition():
                    self._rung.clear()
                    await self._rung.wait()
        except TimeoutError as error:
            raise TimeoutError(what()) from error


class Rings(FaultScript):
    """A script that rings for each request."""

    def __init__(self, script: Script | None, bell: Bell) -> None:
        self._script = FaultScript.of(script)
        self._bell = bell

    def accept(self, connection: int) -> Fault | None:
        return self._script.accept(connection)

    def begin(self, connection: int, turn: int) -> Fault | None:
        return self._script.begin(connection, turn)

    def choose(self, request: ReceivedRequest) -> Fault:
        self._bell.ring()
        return self._script.choose(request)


class Emitted(NamedTuple):
    """An emit that has returned: which start of a child made it, its number, and its key."""

    run: int
    number: int
    connection: str


class Child:
    """A running process. What it said is in ``lines``.

    Attributes:
        emitted: by event id.
        ended: its exit status, once it has ended; ``-9`` if it was killed.
    """

    def __init__(self, setup: Setup, process: asyncio.subprocess.Process, bell: Bell) -> None:
        self.setup = setup
        self.lines: list[str] = []
        self.emitted: dict[str, Emitted] = {}
        self.ended: int | None = None
        self.process = process
        self.bell = bell
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.endswith(b"\n"):  # or else it died in the middle of one
                self._said(line.decode().rstrip())
        self.ended = await self.process.wait()
        self.bell.ring()

    def _said(self, line: str) -> None:
        self.lines.append(line)
        word, *rest = line.split()
        if word == "emitted" and rest[0] != "all":
            self.emitted[rest[0]] = Emitted(self.setup.run, int(rest[1]), rest[2])
        self.bell.ring()

    def tell(self, *commands: str) -> None:
        """Give it commands."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{command}\n" for command in commands).encode())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` holds or it has ended."""
        await self.bell.until(lambda: condition() or self.ended is not None, self._standing)

    async def emits(self, more: int) -> None:
        """Wait until that many more emits have returned."""
        number = len(self.emitted) + more
        await self.until(lambda: len(self.emitted) >= number)

    async def says(self, words: str) -> str:
        """Wait until it has said a line that begins with ``words``; returns the rest of it."""
        await self.until(lambda: self.said(words))
        assert self.said(words), self._standing()
        return next(line for line in self.lines if line.startswith(words))[len(words) :].strip()

    def said(self, words: str) -> bool:
        """Whether it has said a line that begins with ``words``."""
        return any(line.startswith(words) for line in self.lines)

    async def kill(self) -> bool:
        """Kill it, hear out what it said before, and tell whether that was what ended it."""
        if self.ended is None:
            os.kill(self.process.pid, signal.SIGKILL)
        await self.end()
        return self.ended == -signal.SIGKILL

    async def end(self) -> int:
        """Wait for its end and hear it out; returns its exit status."""
        await self.until(lambda: False)
        await self._reading
        assert self.ended in (0, -signal.SIGKILL), self._standing()
        return self.ended

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let every thread of it stand still meanwhile."""
        os.kill(self.process.pid, signal.SIGSTOP)
        threads, in_vain = Path(f"/proc/{self.process.pid}/task"), time.monotonic() + _IN_VAIN
        try:
            for thread in threads.iterdir():
                while (thread / "stat").read_text().rpartition(") ")[2][0] != "T":
                    assert time.monotonic() < in_vain, self._standing()
                    os.sched_yield()
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def _standing(self) -> str:
        return f"run {self.setup.run}, exit status {self.ended}: {self.lines[-30:]}"


@dataclass(slots=True)
class Account:
    """What became of the events; printed, it is the line that a test ends with."""

    accepted: int
    received: int
    lost: int
    duplicates: int
    kills: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {number:,}" for name, number in asdict(self).items())


class Scene:
    """A journal's file, a receiver that outlives whoever writes to it, and what was accepted.

    Attributes:
        accepted: all emits that have returned, by event id.
        kills: how many children were killed.
    """

    def __init__(self, path: Path, receiver: FaultReceiver, bell: Bell, **setup: Any) -> None:
        self.path = path
        self.receiver = receiver
        self.bell = bell
        self.accepted: dict[str, Emitted] = {}
        self.kills = 0
        self.runs = 0
        webhooks = {
            order: {"url": receiver.url_for(f"/{order}"), "order_by": order}
            for order in ("connection", "room", "none")
        }
        self.setup: dict[str, Any] = {"path": str(path), "webhooks": webhooks} | setup

    @asynccontextmanager
    async def child(self, **setup: Any) -> AsyncIterator[Child]:
        """A child on the journal; it is killed at the latest when the block ends."""
        self.runs += 1
        given = Setup(**(self.setup | setup | {"run": self.runs}))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "crash.child", json.dumps(asdict(given))),
            cwd=_TESTS,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        child = Child(given, process, self.bell)
        try:
            yield child
        finally:
            self.kills += await child.kill()
            self.accepted |= child.emitted

    async def requests(self, more: int, child: Child) -> None:
        """Wait until that many more requests were received, or the child has no more to make."""
        number = len(self.receiver.requests) + more
        await child.until(lambda: len(self.receiver.requests) >= number or child.said("joined"))

    async def drain(self, **setup: Any) -> None:
        """Let a last child deliver everything and close."""
        async with self.child(**setup) as last:
            last.tell("join")
            assert await last.says("joined") == "0"
            last.tell("close")
            assert await last.says("closed") == "drained 0"
            assert await last.end() == 0
        assert integrity(self.path) == "ok"
        assert [each.name for each in self.path.parent.glob("hooks.db*")] == ["hooks.db"]

    def took(self, webhook_id: str) -> set[str]:
        """The events that were answered 2xx at this webhook's endpoint."""
        return {
            str(each.event_id) for each in self.receiver.accepted if each.webhook_id == webhook_id
        }

    def account(self) -> Account:
        """Hold what was received against what was accepted.

        Raises:
            AssertionError: something was lost, has overtaken, or differs from its duplicate.
        """
        order_keys = {"connection": _connection_of, "room": _room_of}
        firsts: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        bodies: dict[str, bytes] = {}
        ids: dict[tuple[int, int], str] = {}
        seen: set[tuple[str, str]] = set()
        for request in self.receiver.requests:
            webhook_id, event_id = str(request.webhook_id), str(request.event_id)
            body = request.json()
            number = body["data"]["run"], body["data"]["number"]
            if event_id in self.accepted:
                assert number == self.accepted[event_id][:2]
            assert ids.setdefault(number, event_id) == event_id, number
            stable = request.body[:-_ENDING]
            assert bodies.setdefault(event_id, stable) == stable, event_id
            if (webhook_id, event_id) not in seen:
                seen.add((webhook_id, event_id))
                if webhook_id in order_keys:
                    firsts[webhook_id, order_keys[webhook_id](body)].append(number)
        for key, numbers in firsts.items():
            assert numbers == sorted(numbers), key
        took = Counter((each.webhook_id, each.event_id) for each in self.receiver.accepted)
        missing = [
            (webhook_id, emitted)
            for webhook_id in self.setup["webhooks"]
            for event_id, emitted in self.accepted.items()
            if not took[webhook_id, event_id]
        ]
        account = Account(
            accepted=len(self.accepted) * len(self.setup["webhooks"]),
            received=len(took),
            lost=len(missing),
            duplicates=took.total() - len(took),
            kills=self.kills,
        )
        assert not missing, f"{account}: {missing[:20]}"
        return account


@asynccontextmanager
async def scene(path: Path, script: Script | None = None, **setup: Any) -> AsyncIterator[Scene]:
    """A journal that is not there yet, and a receiver that answers by ``script``."""
    print(f"\nseed {SEED}")
    bell = Bell()
    async with FaultReceiver(Rings(script, bell)) as receiver:
        yield Scene(path / "hooks.db", receiver, bell, **setup)


def _connection_of(body: Any) -> str:
    return str(body["session"]["connectionId"])


def _room_of(body: Any) -> str:
    return str(body["data"]["roomId"])
