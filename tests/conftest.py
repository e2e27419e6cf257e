"""What every test is held to: it leaves no task, no socket and no open session behind.

And what many begin with: a clock, an endpoint, an observer, a journal.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from support import Mood, Opened, Watch, dispatcher
from support.certificates import Certificate, make_certificate

from relaybox_hooks import Hooks, Webhook
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.testing import Answer, FaultReceiver, VirtualClock

_FDS = Path("/proc/self/fd")


def _sockets() -> set[str]:
    """The sockets this process has open, by inode."""
    found = set()
    for fd in _FDS.iterdir():
        try:
            target = os.readlink(fd)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Take what is there already out of the collections that the fixture below makes.

    With each module of tests there is more of it, and each test makes a collection.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_socket_left() -> Iterator[None]:
    """Fail a test that leaves a socket open; unclosed sessions warn when they are collected."""
    before = _sockets() if _FDS.exists() else set()
    yield
    gc.collect()
    if _FDS.exists():
        assert not _sockets() - before, "the test left sockets open"


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task running in its event loop."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = [
        task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()
    ]
    assert not left, f"the test left tasks: {left}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What a server on loopback shows its clients, and what they trust."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def mood() -> Mood:
    """What the receiver answers: 200, until a test has it otherwise."""
    return Mood(Answer())


@pytest.fixture
def unavailable(mood: Mood) -> None:
    """The receiver answers 503 to begin with."""
    mood.fault = Answer(503)


@pytest.fixture
async def receiver(mood: Mood) -> AsyncIterator[FaultReceiver]:
    """A webhook endpoint in the test's own process."""
    async with FaultReceiver(mood) as receiver:
        yield receiver


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Opened:
    """Hooks on the same file each time, closed at once in the end."""

    def opened(*webhooks: Webhook, **options: Any) -> AbstractAsyncContextManager[Hooks[Any]]:
        journal = SQLiteJournal(tmp_path / "hooks.db")
        return dispatcher(*webhooks, clock=clock, journal=journal, **options)

    return opened
