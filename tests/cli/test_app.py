"""The program as a whole: help, versions, colours, mistakes, and what it needs."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from support.programs import Call, Run

from relaybox_hooks import EVENTS, __version__

COMMANDS = (
    *("demo", "listen", "trigger", "verify", "keygen", "events"),
    *("deliveries", "dead-letters", "replay"),
)
WEBHOOK_COMMANDS = ("create", "edit", "list", "enable", "disable", "remove")


async def test_version_keygen_and_events_of_the_installed_program(run: Run) -> None:
    version, key, events, data = await asyncio.gather(
        run("--version"), run("keygen"), run("events"), run("events", "room:*", "--json")
    )
    assert version == (0, f"relaybox-hooks {__version__}\n", "")
    assert (key.code, len(key.output.strip())) == (0, 32)
    bytes.fromhex(key.output)
    assert [line.split()[0] for line in events.output.splitlines()[1:]] == [*EVENTS]
    assert all(line == line.rstrip() for line in events.output.splitlines())
    assert len(data.output.splitlines()) == 5


@pytest.mark.parametrize(
    "command", [(name,) for name in COMMANDS] + [("webhook", name) for name in WEBHOOK_COMMANDS]
)
def test_help_is_there_with_examples(call: Call, command: tuple[str, ...]) -> None:
    code, output, errors = call(*command, "--help")
    assert (code, errors) == (0, "")
    assert f"\n    relaybox-hooks {' '.join(command)}" in output
    unnamed = re.search("--[a-z-]+ <(str|int|float|bool|list)", output)
    assert unnamed is None, "every option says what it takes"


def test_the_whole_is_on_one_screen(call: Call) -> None:
    output = call("--help").output
    for command in (*COMMANDS, "webhook"):
        assert f"\n  {command} " in output
    assert "..." not in output.split("Commands:")[1], "no command's line is cut short"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lisen"], "Did you mean 'listen'?"),
        (["listen", "--prot", "1"], "--port"),
        (["trigger", "room:join", "--tol", "1"], "No such option: --tol"),
        (["listen", "--port", "abc"], "--port"),
        (["keygen", "x"], "unexpected extra argument"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(
    call: Call, arguments: list[str], said: str
) -> None:
    code, output, errors = call(*arguments)
    assert (code, output) == (2, "")
    assert said in errors


async def test_without_its_extra_it_says_how_to_get_it(run: Run, tmp_path: Path) -> None:
    async def without(missing: str) -> None:
        lacking = tmp_path / missing
        lacking.mkdir()
        line = f"raise ModuleNotFoundError('no such module', name='{missing}')\n"
        (lacking / f"{missing}.py").write_text(line, encoding="utf-8")
        path = os.pathsep.join(filter(None, (str(lacking), os.environ.get("PYTHONPATH"))))
        code, output, errors = await run("--version", PYTHONPATH=path)
        assert (code, output) == (1, "")
        assert errors == f"relaybox-hooks needs {missing}: pip install 'relaybox-hooks[cli]'\n"

    await asyncio.gather(*map(without, ("typer", "rich", "tomlkit")))
