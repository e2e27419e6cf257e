"""``deliveries`` and ``dead-letters``: what a journal file holds, chosen and shown."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from support.journals import dead, delivered
from support.programs import Call, Run

from relaybox_hooks import Session
from relaybox_hooks.journal import SQLiteJournal, StoredOutcome
from relaybox_hooks.wire.envelope import Envelope


async def fill(path: Path) -> None:
    """Three events: one pending at two webhooks, one delivered, one a dead letter."""
    now = time.time()

    def envelope(name: str, event_id: str, age: float) -> Envelope:
        data = {"roomId": "\x9b2J" if name == "room:leave" else "x"}
        return Envelope.encode(
            event_id, name, data, Session(client_id="zoe"), 10_000, time=now - age
        )

    async with SQLiteJournal(path) as journal:
        targets = [("crm", "zoe"), ("audit", None)]
        await journal.append_nowait(envelope("room:join", "e-1", 7200), targets)
        (second,) = await journal.append_nowait(envelope("room:join", "e-2", 60), [("crm", "zoe")])
        (third,) = await journal.append_nowait(envelope("room:leave", "e-3", 30), [("crm", "zoe")])
        delivered(journal, second, at=now - 59)
        reset = StoredOutcome(None, "Client\x1b[2JError", "reset")
        dead(journal, third, attempts=5, outcome=reset, at=now - 10)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    asyncio.run(fill(tmp_path / "hooks.db"))
    return "hooks.db"


def ids(call: Call, *arguments: str) -> list[str]:
    """The events and webhooks of what is found."""
    code, output, errors = call(*arguments, "--json")
    assert (code, errors) == (0, "")
    records = map(json.loads, output.splitlines())
    return [f"{record['id']} {record['webhook_id']}" for record in records]


async def test_the_installed_program_shows_deliveries(run: Run, tmp_path: Path) -> None:
    await fill(tmp_path / "hooks.db")
    code, output, errors = await run("deliveries", "hooks.db")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0].split() == ["emitted", "event", "id", "webhook", "state", "attempts"]
    assert [line.split()[2:6] for line in lines[1:5]] == [
        ["room:leave", "e-3", "crm", "exhausted"],
        ["room:join", "e-2", "crm", "delivered"],
        ["room:join", "e-1", "audit", "pending"],
        ["room:join", "e-1", "crm", "pending"],
    ]
    assert lines[1].endswith("  exhausted  5, Client�[2JError")
    assert lines[-1] == "4 shown; the journal has 2 pending, 1 delivered, 1 dead"
    code, output, _ = await run("dead-letters", "hooks.db")
    assert (code, output.split()[:2]) == (0, ["died", "event"])
    assert output.splitlines()[-1].startswith("1 shown")


def test_deliveries_are_chosen(call: Call, journal: str) -> None:
    show = ("deliveries", journal)
    everything = ["e-3 crm", "e-2 crm", "e-1 audit", "e-1 crm"]
    assert ids(call, *show) == everything
    assert ids(call, *show, "--event", "room:leave") == ["e-3 crm"]
    assert ids(call, *show, "--event-id", "e-2") == ["e-2 crm"]
    assert ids(call, *show, "--webhook", "audit") == ["e-1 audit"]
    assert ids(call, *show, "--status", "pending") == ["e-1 audit", "e-1 crm"]
    assert ids(call, *show, "--since", "1h") == ["e-3 crm", "e-2 crm"]
    assert ids(call, *show, "--until", "1h") == ["e-1 audit", "e-1 crm"]
    assert ids(call, *show, "--limit", "1") == ["e-3 crm"]


def test_dead_letters_are_chosen(call: Call, journal: str) -> None:
    show = ("dead-letters", journal)
    assert ids(call, *show) == ["e-3 crm"]
    assert ids(call, *show, "--limit", "1", "--webhook", "crm") == ["e-3 crm"]
    assert ids(call, *show, "--reason", "exhausted", "--since", "1m") == ["e-3 crm"]
    for other in (
        *(("--reason", "expired"), ("--webhook", "audit"), ("--event", "room:join")),
        *(("--event-id", "e-1"), ("--since", "1s"), ("--until", "1h")),
    ):
        assert ids(call, *show, *other) == []


def test_programs_read_all_of_a_delivery(call: Call, journal: str) -> None:
    record = json.loads(call("dead-letters", journal, "--json").output)
    assert record.pop("emitted_at") < record.pop("at")
    assert record == {
        "seq": 4,
        "event": "room:leave",
        "id": "e-3",
        "webhook_id": "crm",
        "key": "zoe",
        "state": "dead",
        "reason": "exhausted",
        "attempts": 5,
        "status": None,
        "error": "Client\x1b[2JError",
        "detail": "reset",
        "due_at": None,
        "data": {"roomId": "\x9b2J"},
        "session": Session(client_id="zoe").to_wire(),
    }


async def test_a_journal_in_use_is_said_to_be(run: Run, tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "hooks.db"):
        code, output, errors = await run("dead-letters", "hooks.db")
    assert (code, output) == (2, "")
    assert "hooks.db: it is open elsewhere and belongs to one process at a time: end" in errors


@pytest.mark.parametrize("command", ["deliveries", "dead-letters", "replay"])
def test_a_journal_that_is_not_there_is_not_made(call: Call, tmp_path: Path, command: str) -> None:
    (tmp_path / "hooks.toml").touch()
    code, _, errors = call(command, "nothing.db")
    assert code == 2
    assert "nothing.db: no such file" in errors
    assert not (tmp_path / "nothing.db").exists()


def test_a_file_that_is_no_journal_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "hooks.toml").write_text("queue_size = 5\n" * 100, encoding="utf-8")
    code, _, errors = call("deliveries", "hooks.toml")
    assert code == 2
    assert "not a journal: give another path" in errors


def test_an_empty_journal_is_a_yes(call: Call, tmp_path: Path) -> None:
    asyncio.run(_make(tmp_path / "hooks.db"))
    code, output, _ = call("deliveries", "hooks.db")
    assert (code, output) == (
        0,
        "0 shown; the journal has 0 pending, 0 delivered, 0 dead\n",
    )


async def _make(path: Path) -> None:
    async with SQLiteJournal(path):
        pass
