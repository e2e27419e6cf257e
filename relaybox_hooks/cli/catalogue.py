"""Commands ``events`` and ``keygen``: event names with example data, and new signing keys."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from relaybox_hooks.cli.console import payload, say, say_json, say_table, table
from relaybox_hooks.cli.inputs import JSONOption, examples
from relaybox_hooks.cli.samples import DATA, session_for
from relaybox_hooks.events import EVENTS, Catalogue
from relaybox_hooks.wire.signing import generate_signing_key

EVENTS_EXAMPLES = examples("events", "events 'room:*'", "events room:publish --json")
KEYGEN_EXAMPLES = examples("keygen", 'listen --key "$(relaybox-hooks keygen)"')


def events(
    pattern: Annotated[
        str, typer.Argument(metavar="EVENT", help="A name or a pattern.", show_default=False)
    ] = "*",
    as_json: JSONOption = False,
) -> None:
    """List the events and their data.

    For a single event, shows the complete example that `trigger` sends.
    """
    names = Catalogue().matching(pattern)
    if as_json:
        for name in EVENTS:
            if name in names:
                say_json({"event": name, "data": DATA[name], "session": session_for(name)})
    elif len(names) == 1 and pattern in DATA:
        for member, value in (("data", DATA[pattern]), ("session", session_for(pattern))):  # type: ignore[index]
            say((member, "bold"))
            say(payload(value))
    else:
        rows = table("event", "data")
        for name in EVENTS:
            if name in names:
                rows.add_row(name, json.dumps(DATA[name], ensure_ascii=False))
        say_table(rows)


def keygen() -> None:
    """Generate a signing key.

    It consists of 32 hex digits: 128 bits from the system's random source.
    """
    print(generate_signing_key())
