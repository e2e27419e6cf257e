"""A child process that writes JSON, an object a line, and is told things by a line each."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

_TESTS: Final = Path(__file__).parents[1]
#: Seconds after which a line of a process is awaited in vain.
_IN_VAIN: Final = 30.0
#: Bytes of a line of a process, at most.
_LINE: Final = 2**28


class Process:
    """A process that writes JSON, an object a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input, self._output = process.stdin, process.stdout

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def record(self) -> dict[str, Any]:
        """Return its next object.

        Raises:
            TimeoutError: there is none.
        """
        async with asyncio.timeout(_IN_VAIN):
            line = await self._output.readline()
        assert line, f"a process has ended: {self._process}"
        record: dict[str, Any] = json.loads(line)
        return record

    def tell(self) -> None:
        """Give it a line."""
        self._input.write(b"\n")

    def end_input(self) -> None:
        """Give it no more lines."""
        self._input.close()

    async def finish(self) -> None:
        """End its input, and wait for its end."""
        self.end_input()
        async with asyncio.timeout(_IN_VAIN):
            assert await self._process.wait() == 0

    async def kill(self) -> None:
        """Kill it, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        self._input.close()
        await self._process.wait()


@asynccontextmanager
async def process(module: str, setup: Any) -> AsyncIterator[Process]:
    """Return a running process of a module of ``hostile``; it is dead when the block has ended."""
    started = Process(
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", f"hostile.{module}", json.dumps(asdict(setup))),
            cwd=_TESTS,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE,
        )
    )
    try:
        yield started
    finally:
        await started.kill()
