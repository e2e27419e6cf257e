"""Parsing of option values: keys, JSON, headers, times."""

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

#: Environment variable with the default signing key.
KEY_VARIABLE: Final = "RELAYBOX_SIGNING_KEY"

KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help=f"A signing key; may be repeated. By default ${KEY_VARIABLE}, which does not appear "
        "in the process list.",
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
    bool, typer.Option("--json", help="Write one JSON object per line, for programs.")
]

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def examples(*commands: str) -> str:
    """Return the examples section of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  relaybox-hooks {command}" for command in commands)


def signing_keys(given: list[str] | None) -> list[str]:
    """Return the given keys, else the one in the environment; may be empty.

    Not Typer's ``envvar``, which would split the value at spaces.
    """
    found = os.environ.get(KEY_VARIABLE)
    return given or ([found] if found else [])


def required_keys(given: list[str] | None) -> list[str]:
    """Return the given keys, else the one in the environment.

    Raises:
        BadParameter: there is no key.
    """
    keys = signing_keys(given)
    if not keys:
        raise BadParameter(
            f"give the webhook's signing key, here or in ${KEY_VARIABLE}", param_hint="--key"
        )
    return keys


def contents(source: str, option: str) -> bytes:
    """Return the bytes of a file, or of standard input for ``-``."""
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise BadParameter(f"{source}: {error.strerror}", param_hint=option) from None


def json_value(text: str, option: str) -> Any:
    """Parse JSON text, or the JSON file named after ``@``."""
    source = contents(text[1:], option) if text.startswith("@") else text.encode("utf-8", "replace")
    try:
        return orjson.loads(source)
    except orjson.JSONDecodeError as error:
        raise BadParameter(
            f"not JSON: {error}. Write it in single quotes, or give @FILE", param_hint=option
        ) from None


def session_value(text: str, option: str) -> Any:
    """Parse a session, a JSON object with wire names or null."""
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
    """Parse ``NAME:VALUE`` lines into a dict."""
    found = {}
    for line in given or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise BadParameter(f"{name!r} has no value: write NAME:VALUE", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def parse_time(text: str | None, option: str, now: datetime) -> float | None:
    """Parse an ISO 8601 time or an age such as ``15m`` into seconds since the Unix epoch."""
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
