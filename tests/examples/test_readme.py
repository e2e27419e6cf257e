"""What the README shows is what its reader gets: every snippet runs, every error is real."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import ClientSession, web
from support import KEY

import relaybox_hooks
from relaybox_hooks import Event, Hooks, RetryPolicy, Session, Webhook, WebhookVerifier, journal
from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.session import NO_SESSION
from relaybox_hooks.testing import FaultReceiver, Hang, record
from relaybox_hooks.testing.memory_journal import MemoryJournal
from relaybox_hooks.wire.envelope import Envelope
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NOW = 1729602968.913  # 2024-10-22T13:16:08.913Z


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def snippet(text: str) -> str:
    """The one Python block that holds ``text``."""
    (found,) = (block for block in blocks("python") if text in block)
    return found


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = re.split(rf"\n##+ {re.escape(heading)}\n", README)[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    for line in lines:
        yield [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]


def run(source: str) -> dict[str, Any]:
    """Execute a snippet and return its names."""
    names: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 - our own README
    return names


def test_first_two_commands_are_single_lines_that_make_their_own_environment() -> None:
    demo, tests = blocks("sh")[:2]
    for command in (demo, tests):
        assert len(command.strip().splitlines()) == 1
        assert shlex.split(command)[:4] == ["python3", "-m", "venv", ".venv"]
    assert "examples/chat_server.py --demo" in demo
    assert "pytest" in tests


async def test_quick_start_delivers_verified_webhooks(capsys: pytest.CaptureFixture[str]) -> None:
    """The quick start's sender, against the receiver of the section below it."""
    start = blocks("python")[0]
    handler = run(snippet("verifier.verify("))["webhook"]
    app = web.Application()
    app.router.add_post("/webhook", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        names = run(start.replace("127.0.0.1:4000", f"127.0.0.1:{port}"))
        await names["main"]()
        assert names["hooks"].stats().delivered == 2
    finally:
        await runner.cleanup()
    printed = capsys.readouterr().out
    assert "accepted=2, dropped=0" in printed
    assert "zoe joined chat:one" in printed
    assert "room:join {'roomId': 'chat:one'} None" in printed


async def test_the_inline_subscriber_of_the_readme_refuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await run(snippet("inline=True"))["main"]()
    assert capsys.readouterr().out == "refused: banned\n"


def test_quick_start_takes_about_ten_lines() -> None:
    assert sum(1 for line in blocks("python")[0].splitlines() if line) <= 11


async def test_receiver_of_the_readme_refuses_a_forged_request() -> None:
    app = web.Application()
    app.router.add_post("/webhook", run(snippet("verifier.verify("))["webhook"])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
            async with session.post(url, data=b"{}") as response:
                assert response.status == 401
                assert "X-Relaybox-Webhook-Signature is missing" in await response.text()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.splitlines()[-1])
async def test_every_snippet_runs_and_its_tests_pass(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, function in run(block).items():
        if name.startswith("test_"):
            await function()


async def test_the_application_of_the_readme_emits() -> None:
    hooks: Hooks = Hooks()
    app = run(snippet("hooks.setup(app)"))["make_app"](hooks)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with record(hooks) as recording, ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/rooms/a/join"
            async with session.post(url) as response:
                assert response.status == 204
        assert recording.names == ["room:join"]
    finally:
        await runner.cleanup()


async def test_the_configuration_of_the_readme_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = blocks("toml")
    (tmp_path / "hooks.toml").write_text(block, encoding="utf-8")
    monkeypatch.setenv("CRM_SIGNING_KEY", KEY)
    async with Hooks.from_config(tmp_path / "hooks.toml") as hooks:
        (webhook,) = hooks.webhooks
        assert (webhook.id, webhook.events) == ("crm", ("room:*",))


def test_custom_events_snippet_declares_them() -> None:
    hooks = run(snippet("custom_events="))["hooks"]
    hooks.add_subscriber("order:paid", print)


def test_options_table_lists_every_option_and_its_default() -> None:
    """No option undocumented, none documented that is not there."""
    documented = [
        name for cells in rows("Options") for name in re.findall(r"\w+", cells[0].replace("`", " "))
    ]
    parameters = [
        name
        for name, parameter in inspect.signature(Hooks.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    assert sorted(documented) == sorted(parameters)


def test_dead_letter_reasons_are_all_explained() -> None:
    assert [cells[0] for cells in rows("Every loss is counted")] == list(get_args(Reason))


@pytest.mark.parametrize("cells", list(rows("Errors")), ids=lambda cells: str(cells[1]))
async def test_error_says_what_the_readme_shows(cells: list[str], tmp_path: Path) -> None:
    """Each row's expression is evaluated as it stands there."""
    error, expression, message = cells
    kind = getattr(relaybox_hooks, error, None) or getattr(journal, error)
    full = MemoryJournal(max_pending=1, overflow="raise")
    taken = str(tmp_path / "hooks.db")
    quiet: dict[str, Any] = {"close_timeout": 0, "logging": False}
    async with FaultReceiver(Hang()) as receiver, SQLiteJournal(taken):
        crm = Webhook(
            receiver.url_for("/crm"), ["room:join", "room:leave"], KEY, id="crm", queue_size=1
        )
        async with Hooks([crm], **quiet) as hooks, Hooks([crm], journal=full, **quiet) as stored:
            if error == "LaneFullError":
                await hooks.emit("room:leave", {"roomId": "x"})
            if error == "JournalFullError":
                await stored.emit("room:leave", {"roomId": "x"})
            hooks.on("room:create", name="check", inline=True, timeout=0.01)(hang)
            names = {"hooks": hooks, "stored": stored, "TAKEN": taken, **vars(journal)}
            with pytest.raises(kind) as caught:
                await evaluate(expression, {**names, **receiving()})
    assert str(caught.value).replace(taken, "/srv/hooks.db") == message


async def hang(event: Event) -> None:
    await asyncio.Event().wait()


async def evaluate(expression: str, names: dict[str, Any]) -> None:
    """Evaluate an expression that may hold an ``await``."""
    code = compile(expression, "README.md", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, {**vars(relaybox_hooks), "KEY": KEY, **names})  # noqa: S307 - our README
    if inspect.isawaitable(result):
        await result


def receiving() -> dict[str, Any]:
    """The names that the rows about receiving use."""
    verifier = WebhookVerifier(KEY, clock=lambda: NOW)

    def request(timestamp: str) -> tuple[dict[str, str], bytes]:
        envelope = Envelope.encode("01a2", "room:join", None, NO_SESSION, 10_000, time=NOW)
        body = envelope.at(timestamp)
        return {SIGNATURE_HEADER: SigningKey(KEY).sign(body), WEBHOOK_ID_HEADER: "crm"}, body

    seen = request("2024-10-22T13:16:08.913Z")
    WebhookVerifier.verify(verifier, *seen)
    return {
        "verifier": verifier,
        "forged": {SIGNATURE_HEADER: "0" * 64, WEBHOOK_ID_HEADER: "crm"},
        "stale": request("2024-10-22T13:15:08.913Z"),
        "seen": seen,
        "delivered": delivered,
    }


async def delivered(url: str) -> None:
    """Deliver to ``url`` and raise what the dead letter says."""
    webhook = Webhook(url, ["room:join"], KEY, retry=RetryPolicy(attempts=1))
    async with Hooks([webhook], logging=False) as hooks:
        await hooks.emit("room:join", {"roomId": "x"}, Session(app_pid="a"))
        await hooks.join()
        (letter,) = await hooks.dead_letters()
    assert letter.outcome is not None
    assert letter.error == "EgressError"
    raise _Refused(letter.outcome.detail)


class _Refused(relaybox_hooks.EgressError):
    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)
        self.text = text

    def __str__(self) -> str:
        return self.text
