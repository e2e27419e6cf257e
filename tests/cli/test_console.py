"""What is written: colours for terminals that want them, and nothing that moves their cursor."""

from __future__ import annotations

import asyncio

from support.programs import Call, Run, Terminal


async def test_colours_are_for_terminals_that_want_them(terminal: Terminal, call: Call) -> None:
    wrong = ("verify", "-", "--key", "k", "--signature", "0" * 64)
    coloured, plain = await asyncio.gather(terminal(*wrong), terminal(*wrong, NO_COLOR="1"))
    assert "\x1b[1;31mREFUSED" in coloured
    assert "31m" not in plain
    assert "REFUSED" in plain


async def test_a_pipe_gets_no_control_characters(run: Run) -> None:
    ended = await run("verify", "-", "--key", "k", "--signature", "0" * 64, given="{}")
    assert ended.code == 1
    assert "\x1b" not in ended.output


async def test_what_a_terminal_cannot_show_is_replaced(run: Run) -> None:
    ended = await run("events", "presence:join", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert (ended.code, ended.errors) == (0, "")
    assert '"mood": "?"' in ended.output
