"""The examples as their readers run them: programs, read line by line and stopped by signals."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from support import KEY
from support.examples import Chat, Endpoint, OpenChat, Receiver, Run
from support.programs import Program

from relaybox_hooks.testing import FaultReceiver

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Starts a program of ``examples/``; those still running in the end are ended, last first."""
    started: list[Program] = []

    async def run(name: str, *arguments: str) -> Program:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "default::ResourceWarning", str(EXAMPLES / name), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "RELAYBOX_SIGNING_KEY": KEY, "PYTHONIOENCODING": "utf-8"},
        )
        program = Program(process)
        started.append(program)
        return program

    yield run
    for program in reversed(started):
        if program.running:
            await program.give_up()


@pytest.fixture
async def receiver(run: Run) -> Receiver:
    program = await run("receiver.py", "--port", "0", "--json")
    return Receiver(program, json.loads(await program.line())["listening"])


@pytest.fixture
async def open_chat(run: Run) -> AsyncIterator[OpenChat]:
    """Starts a chat server at a free port."""
    chats: list[Chat] = []

    async def open_chat(*arguments: str) -> Chat:
        program = await run("chat_server.py", "--port", "0", *arguments)
        url = (await program.line()).removeprefix("chat at ").split(",")[0]
        chats.append(Chat(program, url))
        return chats[-1]

    yield open_chat
    for chat in chats:
        await chat.aclose()


@pytest.fixture
async def chat(open_chat: OpenChat, receiver: Receiver) -> Chat:
    """A chat server whose events go to the receiver."""
    return await open_chat("--webhook", receiver.url)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with FaultReceiver() as receiver:
        yield Endpoint(receiver)
