"""The gateway while it closes: an emit on its way to the journal is still accounted for."""

from __future__ import annotations

import asyncio

import pytest
from support import Mood, Opened, emit, soon, webhook_to

from relaybox_hooks.testing import FaultReceiver, Hang

pytestmark = pytest.mark.usefixtures("unavailable")


async def test_an_emit_that_was_on_its_way_at_closing_is_in_the_report(
    opened: Opened, receiver: FaultReceiver, mood: Mood
) -> None:
    mood.fault = Hang()
    async with opened(webhook_to(receiver)) as hooks:
        await emit(hooks)
        emission = asyncio.ensure_future(hooks.emit("room:join", {"roomId": "r"}))
        await asyncio.sleep(0)
        report = await soon(hooks.aclose(timeout=0))
        assert (await emission).accepted == 1
        assert report.left == 2
