"""What tests of failing deliveries begin with: a clock, a receiver in some mood, a journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from support_retry import Mood, Opened, Watch, dispatcher

from relaybox_hooks import Hooks, Webhook
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.testing import Answer, FaultReceiver, VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def mood() -> Mood:
    return Mood(Answer(503))


@pytest.fixture
async def receiver(mood: Mood) -> AsyncIterator[FaultReceiver]:
    async with FaultReceiver(mood) as receiver:
        yield receiver


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Opened:
    """Hooks on the same file each time, closed at once in the end."""

    def opened(*webhooks: Webhook, **options: Any) -> AbstractAsyncContextManager[Hooks[Any]]:
        journal = SQLiteJournal(tmp_path / "hooks.db")
        return dispatcher(*webhooks, clock=clock, journal=journal, **options)

    return opened
