"""What is written: colours for terminals that want them, and nothing that moves their cursor."""

from __future__ import annotations

import asyncio

import pytest
from support.programs import Call, Run, Terminal

from relaybox_hooks.cli.console import duration, iso, local_time, printable, several, shortened


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [("ada — ö", "ada — ö"), ("\x1b[2Jada\x9b2J\n", "\ufffd[2Jada\ufffd2J\ufffd"), ("", "")],
)
def test_nothing_moves_the_terminals_cursor(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_ids_are_cut_and_short_ones_are_not() -> None:
    assert shortened("crm") == "crm"
    assert shortened("0192b3a4-5c6d-7e8f-9a0b-1c2d3e4f5a6b") == "0192b3a4…"


def test_moments_are_iso_in_utc_for_programs_and_missing_where_there_is_none() -> None:
    assert iso(1_700_000_000.5) == "2023-11-14T22:13:20.500+00:00"
    assert iso(None) is None
    assert local_time(None) == ""


def test_durations_and_counts_read_well() -> None:
    assert (duration(0.0124), duration(1.5)) == ("12 ms", "1.50 s")
    assert (several(1, "event"), several(0, "event")) == ("1 event", "0 events")
