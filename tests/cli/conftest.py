"""The installed program, run as its users run it: a process, its output, signals."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
from support import KEY

from relaybox_hooks.cli import main

PROGRAM: Final = Path(sys.executable).with_name("relaybox-hooks")

#: What would let a test's outcome depend on who runs it.
_NOT_OURS: Final = (
    "COLUMNS",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "PY_COLORS",
    "RELAYBOX_SIGNING_KEY",
)


def _environment() -> dict[str, str]:
    """What programs of the tests find in it, without a signing key."""
    ours = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    return {**ours, "PYTHONWARNINGS": "default::ResourceWarning"}


class Ended(NamedTuple):
    """What a program came to."""

    code: int
    output: str
    errors: str


class Running:
    """A program that runs, read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._lines = process.stdout

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
        """How it ends; after a signal, if one is given. Fails if it does not end in time."""
        if number is not None:
            self._process.send_signal(number)
        async with asyncio.timeout(20):
            output, errors = await self._process.communicate(given.encode())
        assert self._process.returncode is not None
        return Ended(self._process.returncode, output.decode(), errors.decode())

    async def give_up(self) -> None:
        """End it, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


Start: TypeAlias = Callable[..., Coroutine[Any, Any, Running]]
Run: TypeAlias = Callable[..., Coroutine[Any, Any, Ended]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the program in a directory of its own, with these additions to its environment."""
    started: list[Running] = []

    async def start(*arguments: str, **environment: str) -> Running:
        process = await asyncio.create_subprocess_exec(
            str(PROGRAM),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={**_environment(), **environment},
        )
        started.append(Running(process))
        return started[-1]

    yield start
    for running in started:
        await running.give_up()


@pytest.fixture
def run(start: Start) -> Run:
    """Runs the program to its end."""

    async def run(*arguments: str, given: str = "", **environment: str) -> Ended:
        running = await start(*arguments, **environment)
        return await running.ends(given=given)

    return run


def _read_all(terminal: int) -> str:
    """What is written to a terminal until nobody has it open any more."""
    written = b""
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # what Linux says then
            data = b""
        if not data:
            return written.decode()
        written += data


Terminal: TypeAlias = Callable[..., Coroutine[Any, Any, str]]


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """Runs the program to its end on a terminal, without input; returns what it wrote there."""

    async def terminal(*arguments: str, **environment: str) -> str:
        ours, theirs = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                str(PROGRAM),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                cwd=tmp_path,
                env={**_environment(), "TERM": "xterm-256color", **environment},
            )
            os.close(theirs)
            async with asyncio.timeout(20):
                written = await asyncio.to_thread(_read_all, ours)
                await process.wait()
            return written
        finally:
            os.close(ours)

    return terminal


Call: TypeAlias = Callable[..., Ended]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Runs the program to its end in the tests' own process, which takes no time to start."""
    for name in _NOT_OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["relaybox-hooks", *arguments])
        try:
            code = main()
        except SystemExit as ending:
            code = int(ending.code or 0)
        return Ended(code, *capsys.readouterr())

    return call


class Listening:
    """A running ``relaybox-hooks listen --json``."""

    def __init__(self, program: Running, url: str) -> None:
        self.program = program
        self.url = url


Listen: TypeAlias = Callable[..., Coroutine[Any, Any, Listening]]


@pytest.fixture
def listen(start: Start) -> Listen:
    """Starts ``listen`` at a free port with the tests' key."""

    async def listen(*options: str) -> Listening:
        program = await start("listen", "--port", "0", "--json", "--key", KEY, *options)
        return Listening(program, (await program.record())["url"])

    return listen
