"""What is written: lines, tables and JSON, with colours where a terminal shows them."""

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

#: Columns of what is no terminal: enough that no table is cut.
_WIDE: Final = 10_000
#: Characters of an id that is shown whole although it says little.
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
    """Write one line, of texts and of texts with a style; the terminal may wrap it."""
    out.print(Text.assemble(*parts), soft_wrap=True)


def complain(message: str) -> None:
    """Write an error."""
    err.print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)


def say_json(value: Any) -> None:
    """Write a value as one line of JSON, in ASCII."""
    print(json.dumps(value), flush=True)


def payload(value: Any) -> Text:
    """A JSON value for people to read."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return JSONHighlighter()("\n".join(map(printable, text.splitlines())))


def say_indented(text: Text, columns: int) -> None:
    """Write lines, each behind so many blanks."""
    for line in text.split("\n"):
        say(" " * columns, line)


def table(*columns: str, whole: Collection[str] = ()) -> Table:
    """A table without lines, so that other programs can cut it.

    Args:
        columns: their names.
        whole: those whose cells a narrow terminal does not break.
    """
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in whole)
    return made


def say_table(rows: Table) -> None:
    """Write a table; in a pipe or file without the blanks that fill its last column."""
    if out.is_terminal:
        out.print(rows)
        return
    with out.capture() as capture:
        out.print(rows)
    for line in capture.get().splitlines():
        say(line.rstrip())


def shortened(identifier: str) -> str:
    """An id that is the same in line after line, cut where it is as long as a UUID."""
    return identifier if len(identifier) <= _ID else f"{identifier[:8]}…"


def printable(text: str) -> str:
    """``text`` without what could move a terminal's cursor or change its colours."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def clock(seconds: float) -> str:
    """A moment as the local time of day, to the millisecond."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:-3]


def moment(seconds: float | None) -> str:
    """A moment as local date and time; nothing for none."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def iso(seconds: float | None) -> str | None:
    """A moment as ISO 8601 in UTC, for programs."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def several(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
