"""Dead letters sent again: what holds for the attempts, and in what order things happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from relaybox_hooks import EgressPolicy, Session, Timeouts, Webhook
from relaybox_hooks.cli.resend import send_again
from relaybox_hooks.config import Configuration
from relaybox_hooks.dispatch.retry import Outcome
from relaybox_hooks.journal import MemoryJournal, StoredOutcome
from relaybox_hooks.testing import FaultReceiver, Hang
from relaybox_hooks.wire.envelope import Envelope


@pytest.fixture
async def journal() -> AsyncIterator[MemoryJournal]:
    """Two dead letters for ``crm``."""
    made = MemoryJournal()
    await made.open()
    for event_id in ("e-1", "e-2"):
        envelope = Envelope.encode(event_id, "room:join", None, Session(), 10_000, time=time.time())
        (seq,) = await made.append(envelope, [("crm", None)])
        failed = StoredOutcome(503, None, "")
        made.bury(seq, "exhausted", attempts=5, outcome=failed, at=time.time())
    yield made
    await made.aclose()


def crm(url: str) -> tuple[Webhook]:
    return (Webhook(url, ["*"], "key", id="crm"),)


async def test_time_outs_and_egress_of_the_configuration_hold(journal: MemoryJournal) -> None:
    letters = await journal.dead_letters()
    errors: list[str | None] = []

    def tell(_: object, outcome: Outcome | None) -> None:
        assert outcome is not None
        errors.append(outcome.error)

    async with FaultReceiver(Hang()) as receiver:
        impatient = Configuration({"timeouts": Timeouts(total=0.05)}, crm(receiver.url))
        assert (await send_again(journal, impatient, letters[:1], tell, rate=1000)).failed == 1
        public = Configuration({"egress": EgressPolicy.PUBLIC_ONLY}, crm(receiver.url))
        assert (await send_again(journal, public, letters[:1], tell, rate=1000)).failed == 1
        assert len(receiver.requests) == 1
    assert errors == ["TimeoutError", "EgressError"]


async def test_a_rate_keeps_the_next_letter_waiting(journal: MemoryJournal) -> None:
    """With an hour between two letters the first one is settled and the second has not left."""
    letters = await journal.dead_letters()
    told: asyncio.Queue[str] = asyncio.Queue()
    async with FaultReceiver() as receiver:
        sending = asyncio.create_task(
            send_again(
                journal,
                Configuration({}, crm(receiver.url)),
                letters,
                lambda letter, _: told.put_nowait(letter.envelope.id),
                rate=1 / 3600,
            )
        )
        assert await told.get() == "e-1"
        sending.cancel()
        await asyncio.wait([sending])
        assert [request.event_id for request in receiver.requests] == ["e-1"]
    assert [letter.envelope.id for letter in await journal.dead_letters()] == ["e-2"]
