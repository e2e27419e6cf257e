"""Output: lines, tables and JSON, with colours on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

#: Columns of output that is not a terminal: wide enough that no table wraps.
_WIDE: Final = 10_000
#: Maximum length of an id that is shown in full.
_ID: Final = 16


def _console(*, stderr: bool = False) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr,
        width=None if terminal else _WIDE,
        highlight=False,
        markup=False,
        emoji=False,
    )


out: Final = _console()
err: Final = _console(stderr=True)


def say(*parts: str | Text | tuple[str, str]) -> None:
    """Write one line of texts and (text, style) pairs; the terminal may wrap it."""
    out.print(Text.assemble(*parts), soft_wrap=True)


def print_error(message: str) -> None:
    """Write an error message to stderr."""
    err.print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)


def say_json(value: Any) -> None:
    """Write a value as one line of JSON, ASCII only."""
    print(json.dumps(value), flush=True)


def payload(value: Any) -> Text:
    """Return a JSON value as indented, highlighted text."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return JSONHighlighter()("\n".join(map(printable, text.splitlines())))


def say_indented(text: Text, columns: int) -> None:
    """Write lines, each indented by ``columns`` spaces."""
    for line in text.split("\n"):
        say(" " * columns, line)


def table(*columns: str, whole: Collection[str] = ()) -> Table:
    """Return an empty table without borders, which other programs can parse.

    Args:
        columns: names of the columns.
        whole: names of the columns that a narrow terminal does not wrap.
    """
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in whole)
    return made


def say_table(rows: Table) -> None:
    """Write a table; without trailing spaces unless on a terminal."""
    if out.is_terminal:
        out.print(rows)
        return
    with out.capture() as capture:
        out.print(rows)
    for line in capture.get().splitlines():
        say(line.rstrip())


def shortened(identifier: str) -> str:
    """Return an id truncated to 8 characters if it is as long as a UUID."""
    return identifier if len(identifier) <= _ID else f"{identifier[:8]}…"


def printable(text: str) -> str:
    """Return ``text`` with control characters replaced, so that it cannot control a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def time_of_day(seconds: float) -> str:
    """Format seconds since the Unix epoch as local time of day with milliseconds."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:-3]


def local_time(seconds: float | None) -> str:
    """Format seconds since the Unix epoch as local date and time; ``""`` for ``None``."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def iso(seconds: float | None) -> str | None:
    """Format seconds since the Unix epoch as ISO 8601 in UTC with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def duration(seconds: float) -> str:
    """Format a duration in milliseconds below 1 s, else in seconds."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def several(count: int, noun: str) -> str:
    """Return a count with its noun in singular or plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
