"""Typer application with all commands."""

from __future__ import annotations

from typing import Annotated

import typer

from relaybox_hooks._version import __version__
from relaybox_hooks.cli import catalogue, demo, journals, listen, replay, trigger, verify
from relaybox_hooks.cli.inputs import examples
from relaybox_hooks.cli.webhooks import webhook

app: typer.Typer = typer.Typer(
    name="relaybox-hooks",
    no_args_is_help=True,
    add_completion=False,
    # Plain text is the same in a terminal, a pipe and a log.
    rich_markup_mode=None,
    # Typer's tracebacks show local variables, which include signing keys.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "demo                                     a complete run on one screen",
        "listen --key 21d45d1d4dff46f13cd4478ba08395d9",
        "trigger room:join --key 21d45d1d4dff46f13cd4478ba08395d9",
    ),
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"relaybox-hooks {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Test RelayBox webhooks, edit their configuration, inspect a journal.

    Exit codes: 0 success, 1 failure, 2 invalid option, file or port.
    """


app.command(epilog=demo.EXAMPLES)(demo.demo)
app.command(epilog=listen.EXAMPLES)(listen.listen)
app.command(epilog=trigger.EXAMPLES)(trigger.trigger)
app.command(epilog=verify.EXAMPLES)(verify.verify)
app.command(epilog=catalogue.KEYGEN_EXAMPLES)(catalogue.keygen)
app.command(epilog=catalogue.EVENTS_EXAMPLES)(catalogue.events)
app.add_typer(webhook)
app.command(epilog=journals.DELIVERIES_EXAMPLES)(journals.deliveries)
app.command("dead-letters", epilog=journals.DEAD_LETTERS_EXAMPLES)(journals.dead_letters)
app.command(epilog=replay.EXAMPLES)(replay.replay)
