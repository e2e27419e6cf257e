"""Programs that run in processes of their own: their output, their end, signals."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias


class Ended(NamedTuple):
    """The end of a program."""

    code: int
    output: str
    errors: str


class Program:
    """A program that runs, read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._lines = process.stdout

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def line(self) -> str:
        """The next line of its output."""
        async with asyncio.timeout(20):
            line = await self._lines.readline()
        assert line, f"the program ended: {await self.ends()}"
        return line.decode().rstrip("\n")

    async def record(self) -> dict[str, Any]:
        """The next line, which is a JSON object."""
        record: dict[str, Any] = json.loads(await self.line())
        return record

    async def ends(self, number: signal.Signals | None = None, *, given: str = "") -> Ended:
        """Its exit code and the rest of its output; after a signal, if one is given.

        Fails if it does not end in time.
        """
        if number is not None:
            self._process.send_signal(number)
        async with asyncio.timeout(60 if number is None else 20):
            output, errors = await self._process.communicate(
                given.encode() if self._process.stdin else None
            )
        assert self._process.returncode is not None
        return Ended(self._process.returncode, output.decode(), errors.decode())

    async def give_up(self) -> None:
        """End it, if it still runs: gently first, for the processes that it started."""
        if not self.running:
            return
        try:
            await self.ends(signal.SIGTERM)
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()


class Listening(NamedTuple):
    """A running ``relaybox-hooks listen --json``."""

    program: Program
    url: str


#: Fixtures: what starts a program, and what waits for its end.
Start: TypeAlias = Callable[..., Coroutine[Any, Any, Program]]
Run: TypeAlias = Callable[..., Coroutine[Any, Any, Ended]]
#: Runs the program in the tests' own process.
Call: TypeAlias = Callable[..., Ended]
#: Runs the program on a terminal; returns what it wrote there.
Terminal: TypeAlias = Callable[..., Coroutine[Any, Any, str]]
#: Starts ``listen``.
Listen: TypeAlias = Callable[..., Coroutine[Any, Any, Listening]]
