"""The installed program, run as its users run it: a process, its output, signals."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from support import KEY
from support.programs import Call, Ended, Listen, Listening, Program, Run, Start, Terminal

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


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the program in a directory of its own, with these additions to its environment."""
    started: list[Program] = []

    async def start(*arguments: str, **environment: str) -> Program:
        process = await asyncio.create_subprocess_exec(
            str(PROGRAM),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={**_environment(), **environment},
        )
        started.append(Program(process))
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


@pytest.fixture
def listen(start: Start) -> Listen:
    """Starts ``listen`` at a free port with the tests' key."""

    async def listen(*options: str) -> Listening:
        program = await start("listen", "--port", "0", "--json", "--key", KEY, *options)
        return Listening(program, (await program.record())["url"])

    return listen
