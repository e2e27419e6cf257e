"""``replay``: dead letters sent again, what becomes of them, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from support import KEY
from support.journals import append_dead
from support.programs import Run, Terminal

from relaybox_hooks import WebhookVerifier
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.testing import Answer, FaultReceiver


def configuration(path: Path, url: str, *names: str, more: str = "") -> Path:
    """A file with these webhooks, whose paths are their names."""
    path.write_text(
        more
        + "".join(
            f'[webhooks.{name}]\nurl = "{url}{name}"\nevents = ["*"]\nsigning_key = "{KEY}"\n'
            for name in names
        ),
        encoding="utf-8",
    )
    return path


async def test_what_arrives_is_a_dead_letter_no_longer(run: Run, tmp_path: Path) -> None:
    """The installed program, told twice: the second time there is nothing left to send."""
    async with SQLiteJournal(tmp_path / "hooks.db") as journal:
        sent = await append_dead(journal, "crm", "crm", "crm")
    async with FaultReceiver() as receiver:
        configuration(tmp_path / "hooks.toml", receiver.url, "crm")
        code, output, errors = await run("replay", "hooks.db", "--rate", "1000")
        assert (code, errors) == (0, "")
        assert output == "3 dead letters: 3 delivered, 0 failed, 0 skipped\n"
        code, output, _ = await run("replay", "hooks.db", "--config", "hooks.toml")
        assert (code, output) == (0, "0 dead letters: 0 delivered, 0 failed, 0 skipped\n")
    assert [request.event_id for request in receiver.requests] == sent
    verifier = WebhookVerifier(KEY)
    for request in receiver.requests:
        assert verifier.verify(request.headers, request.body).webhook_id == "crm"
    async with SQLiteJournal(tmp_path / "hooks.db") as journal:
        delivered = await journal.deliveries(status="delivered")
        assert {letter.attempts for letter in delivered} == {6}


async def test_what_does_not_arrive_is_a_no(run: Run, tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "hooks.db") as journal:
        await append_dead(journal, "crm", "gone", "gone", "off", "old", "crm", "code")
    answers = {"/crm": Answer(500), "/gone": Answer(410)}
    async with FaultReceiver(answers) as receiver:
        file = configuration(tmp_path / "hooks.toml", receiver.url, "crm", "gone", "off")
        with file.open("a", encoding="utf-8") as more:
            more.write("enabled = false\n")
            more.write(f'[webhooks.code]\nurl = "{receiver.url}"\nevents = ["*"]\n')
            more.write('signing_key = "key"\nprofile = "oauth"\n')
        code, output, errors = await run("replay", "hooks.db", "--rate", "1000")
    assert (code, errors) == (1, "")
    assert output.splitlines() == [
        "failed   room:join e-0 to crm: status 500",
        "failed   room:join e-1 to gone: status 410: the endpoint is gone for good",
        "skipped  webhook gone is disabled: it answered 410 Gone, or the server disabled it",
        "skipped  webhook off is disabled in hooks.toml",
        "skipped  webhook old is not in hooks.toml",
        "failed   room:join e-5 to crm: status 500",
        "skipped  webhook code has the profile 'oauth', which is in code: use hooks.replay()",
        "7 dead letters: 0 delivered, 3 failed, 4 skipped",
    ]
    async with SQLiteJournal(tmp_path / "hooks.db") as journal:
        letters = await journal.dead_letters(webhook_id="crm")
    assert [(letter.attempts, letter.reason) for letter in letters] == [(6, "exhausted")] * 2
    assert {letter.outcome and letter.outcome.status for letter in letters} == {500}


async def test_a_terminal_shows_a_bar(terminal: Terminal, tmp_path: Path) -> None:
    """What does not arrive stands above it, and in the end it is gone."""
    async with SQLiteJournal(tmp_path / "hooks.db") as journal:
        await append_dead(journal, "crm", "crm")
    async with FaultReceiver(Answer(500)) as receiver:
        configuration(tmp_path / "hooks.toml", receiver.url, "crm")
        written = await terminal("replay", "hooks.db")
    assert "sending" in written
    assert "room:join e-1 to crm: status 500" in written
    assert written.endswith("2 dead letters: 0 delivered, 2 failed, 0 skipped\r\n")


async def test_letters_are_chosen_as_they_are_shown(run: Run, tmp_path: Path) -> None:
    async with SQLiteJournal(tmp_path / "hooks.db") as journal:
        await append_dead(journal, "crm", "audit", "crm")
    async with FaultReceiver() as receiver:
        configuration(tmp_path / "hooks.toml", receiver.url, "crm", "audit")
        chosen = ("--webhook", "crm", "--event-id", "e-2", "--reason", "exhausted", "--since", "1h")
        code, output, _ = await run("replay", "hooks.db", *chosen, "--event", "room:join")
    assert (code, output) == (0, "1 dead letter: 1 delivered, 0 failed, 0 skipped\n")
    assert [request.event_id for request in receiver.requests] == ["e-2"]


async def test_a_configuration_that_cannot_work_is_named(run: Run, tmp_path: Path) -> None:
    configuration(tmp_path / "hooks.toml", "ftp://h/", "crm")
    code, _, errors = await run("replay", "hooks.db")
    assert code == 2
    assert errors.startswith("error: hooks.toml: [webhooks.crm] url='ftp://h/crm': ")
