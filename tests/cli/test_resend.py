"""Dead letters sent again: what holds for the attempts, and in what order things happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.journals import append_dead

from relaybox_hooks import EgressPolicy, Hooks, Timeouts, Webhook
from relaybox_hooks.cli.resend import resend
from relaybox_hooks.config import Configuration
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.outcome import Outcome
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, MemoryJournal


@pytest.fixture
async def journal() -> AsyncIterator[MemoryJournal]:
    """Two dead letters for ``crm``."""
    made = MemoryJournal()
    await made.open()
    await append_dead(made, "crm", "crm")
    yield made
    await made.aclose()


def crm(url: str) -> tuple[Webhook]:
    return (Webhook(url, ["*"], "key", id="crm"),)


async def test_time_outs_and_egress_of_the_configuration_hold(journal: MemoryJournal) -> None:
    letters = await journal.dead_letters()
    errors: list[str | None] = []

    def note(letter: DeadLetter, outcome: Outcome | None) -> None:
        assert outcome is not None
        errors.append(outcome.error)

    async with FaultReceiver(Hang()) as receiver:
        impatient = Configuration({"timeouts": Timeouts(total=0.05)}, crm(receiver.url))
        assert (await resend(journal, impatient, letters[:1], note, rate=1000)).failed == 1
        public = Configuration({"egress": EgressPolicy.PUBLIC_ONLY}, crm(receiver.url))
        assert (await resend(journal, public, letters[:1], note, rate=1000)).failed == 1
        assert len(receiver.requests) == 1
    assert errors == ["TimeoutError", "EgressError"]


@pytest.mark.parametrize(("keepalive", "connections"), [(0, 2), (60, 1)])
async def test_keepalive_of_the_configuration_holds(
    journal: MemoryJournal, keepalive: int, connections: int
) -> None:
    letters = await journal.dead_letters()
    async with FaultReceiver() as receiver:
        said = Configuration({"keepalive": keepalive}, crm(receiver.url))
        assert await resend(journal, said, letters, _ignore, rate=1000) == (2, 0, 0)
        assert receiver.connections == connections


async def test_a_rate_keeps_the_next_letter_waiting(journal: MemoryJournal) -> None:
    """With an hour between two letters the first one is settled and the second has not left."""
    letters = await journal.dead_letters()
    sent: asyncio.Queue[str] = asyncio.Queue()
    async with FaultReceiver() as receiver:
        sending = asyncio.create_task(
            resend(
                journal,
                Configuration({}, crm(receiver.url)),
                letters,
                lambda letter, _: sent.put_nowait(letter.event_id),
                rate=1 / 3600,
            )
        )
        assert await sent.get() == "e-0"
        sending.cancel()
        await asyncio.wait([sending])
        assert [request.event_id for request in receiver.requests] == ["e-0"]
    assert [letter.envelope.id for letter in await journal.dead_letters()] == ["e-1"]


async def test_a_410_is_remembered_by_the_journal(tmp_path: Path) -> None:
    """What a second replay goes by, and the server when it starts again; until the URL changes."""
    path = tmp_path / "hooks.db"
    async with FaultReceiver([Answer(410)]) as receiver:
        said = Configuration({}, crm(receiver.url))
        async with SQLiteJournal(path) as journal:
            await append_dead(journal, "crm", "crm")
            letters = await journal.dead_letters()
            for report in ((0, 1, 1), (0, 0, 2)):
                assert await resend(journal, said, letters, _ignore, rate=1000) == report
        async with Hooks(said.webhooks, journal=SQLiteJournal(path)) as hooks:
            assert not hooks.webhooks[0].enabled
        async with SQLiteJournal(path) as journal:
            moved = Configuration({}, crm(receiver.url_for("/moved")))
            assert await resend(journal, moved, letters, _ignore, rate=1000) == (2, 0, 0)


def _ignore(letter: DeadLetter, outcome: Outcome | None) -> None:
    """Progress that no test looks at."""
