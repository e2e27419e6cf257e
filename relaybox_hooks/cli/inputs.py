"""What options mean: keys, JSON, headers, moments."""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from typer import BadParameter

from relaybox_hooks.session import NO_SESSION

#: The variable that a signing key is taken from where none is given.
KEY_VARIABLE: Final = "RELAYBOX_SIGNING_KEY"

KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help=f"A signing key; may be repeated. ${KEY_VARIABLE} does as well, and keeps it out of "
        "the list of processes.",
        show_default=False,
    ),
]
HeadersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        "-H",
        metavar="NAME:VALUE",
        help="A header; may be repeated.",
        show_default=False,
    ),
]
JSONOption = Annotated[
    bool, typer.Option("--json", help="Write one JSON object a line, for programs.")
]

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def examples(*commands: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  relaybox-hooks {command}" for command in commands)


def signing_keys(given: list[str] | None) -> list[str]:
    """The keys given, or else the one of the environment; none where there is none either.

    The variable is read here, for the option itself would split it at its spaces.
    """
    found = os.environ.get(KEY_VARIABLE)
    return given or ([found] if found else [])


def required_keys(given: list[str] | None) -> list[str]:
    """The keys given, or else the one of the environment."""
    keys = signing_keys(given)
    if not keys:
        raise BadParameter(
            f"give the webhook's signing key, here or in ${KEY_VARIABLE}", param_hint="--key"
        )
    return keys


def contents(source: str, option: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``."""
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise BadParameter(f"{source}: {error.strerror}", param_hint=option) from None


def json_value(text: str, option: str) -> Any:
    """The value of JSON text, or of a file's after ``@``."""
    source = contents(text[1:], option) if text.startswith("@") else text.encode("utf-8", "replace")
    try:
        return orjson.loads(source)
    except orjson.JSONDecodeError as error:
        raise BadParameter(
            f"not JSON: {error}. Write it in single quotes, or give @FILE", param_hint=option
        ) from None


def session_value(text: str, option: str) -> Any:
    """A session from JSON with its wire names."""
    value = json_value(text, option)
    if value is not None and not isinstance(value, dict):
        raise BadParameter("a session is a JSON object or null", param_hint=option)
    names = list(NO_SESSION.to_wire())
    for name in value or ():
        if name not in names:
            near = get_close_matches(name, names, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(names)}"
            raise BadParameter(f"a session has no {name!r}: {advice}", param_hint=option)
    return value


def headers(given: list[str] | None) -> dict[str, str]:
    """Headers by name, from lines as HTTP has them."""
    found = {}
    for line in given or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise BadParameter(f"{name!r} has no value: write NAME:VALUE", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def moment_of(text: str | None, option: str, now: datetime) -> float | None:
    """Seconds since the Unix epoch of a date and time, or of so long ago: ``15m``, ``2h``."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago:
        return (now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})).timestamp()
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise BadParameter(
            f"{text!r}: write 2026-11-24T10:00, with Z for UTC, or 30s, 15m, 2h, 7d ago",
            param_hint=option,
        ) from None
