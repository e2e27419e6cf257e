"""Commands ``webhook ...``: edit the webhooks in a configuration file."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

import tomlkit
import typer

from relaybox_hooks.cli.console import printable, say, say_json, say_table, several, table
from relaybox_hooks.cli.document import Document, Table, assign, inline, set_option, unset_option
from relaybox_hooks.cli.inputs import HeadersOption, JSONOption, examples, headers

webhook: typer.Typer = typer.Typer(
    name="webhook",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Edit the webhooks in a configuration file.\n\nHooks.from_config reads the file. Comments "
    "and layout are kept; signing keys are never written to it.",
    epilog=examples(
        "webhook create crm --url https://crm.example/webhook --event 'room:*'",
        "webhook edit crm --header-env Authorization:CRM_TOKEN --set retry.attempts=8",
        "webhook list",
        "webhook disable crm",
    ),
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the webhook's table.")]
FileOption = Annotated[
    str, typer.Option("--config", "-c", metavar="FILE", help="Configuration file.")
]
EventsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="EVENT",
        help="Event name or pattern, such as 'room:*'; may be repeated.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key-env",
        metavar="NAME",
        help="Environment variable with the signing key; the key itself is never written to the "
        "file.",
        show_default=False,
    ),
]
HeaderVariablesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--header-env",
        metavar="NAME:VARIABLE",
        help="Header whose value is in an environment variable; may be repeated.",
        show_default=False,
    ),
]
AppOption = Annotated[
    str | None,
    typer.Option(
        "--app-pid",
        metavar="ID",
        help="Send only events of sessions of this application.",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Other argument of Webhook, such as order_by=room or retry.attempts=8; may be "
        "repeated.",
        show_default=False,
    ),
]

_FILE = "hooks.toml"


@webhook.command(
    epilog=examples(
        "webhook create crm --url https://crm.example/webhook --event 'room:*'",
        "webhook create crm --url http://127.0.0.1:4000/ --event room:join --event room:leave "
        "--key-env CRM_KEY",
        "webhook create crm --url https://crm.example/ --event '*' --set timeouts.total=2",
    )
)
def create(
    name: NameArgument,
    url: Annotated[str, typer.Option(metavar="URL", help="Target URL.")],
    event: EventsOption = None,
    key_env: KeyOption = None,
    header: HeadersOption = None,
    header_env: HeaderVariablesOption = None,
    app_pid: AppOption = None,
    assignments: SetOption = None,
    config: FileOption = _FILE,
) -> None:
    """Add a webhook; creates the file if it does not exist."""
    document = Document(config, missing_ok=True)
    if name in document.webhooks:
        raise typer.BadParameter(
            f"{name!r} is in {config} already: `relaybox-hooks webhook edit {name}` changes it",
            param_hint="NAME",
        )
    if not event:
        raise typer.BadParameter("name at least one, or '*' for all", param_hint="--event")
    variable = key_env or f"{re.sub(r'[^A-Z0-9]+', '_', name.upper())}_SIGNING_KEY"
    new_table = tomlkit.table()
    _apply(new_table, url, event, variable, header, header_env, app_pid, assignments)
    document.add(name, new_table)
    document.save()
    say((name, "bold"), f" is in {config}, sent {', '.join(event)}")
    if variable not in os.environ:
        say(f'set its key in ${variable}: export {variable}="$(relaybox-hooks keygen)"')


@webhook.command(
    epilog=examples(
        "webhook edit crm --url https://crm.example/v2/webhook",
        "webhook edit crm --set retry.attempts=8 --set breaker=false --unset max_age",
    )
)
def edit(
    name: NameArgument,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Target URL.", show_default=False)
    ] = None,
    event: EventsOption = None,
    key_env: KeyOption = None,
    header: HeadersOption = None,
    header_env: HeaderVariablesOption = None,
    app_pid: AppOption = None,
    assignments: SetOption = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Key to remove; may be repeated.", show_default=False),
    ] = None,
    config: FileOption = _FILE,
) -> None:
    """Change a webhook. Other options are kept; --event replaces all of its events."""
    document = Document(config)
    found = document.webhook(name)
    _apply(found, url, event, key_env, header, header_env, app_pid, assignments)
    for key in unset or ():
        unset_option(found, key)
    document.save()
    say((name, "bold"), f" is changed in {config}")


@webhook.command("list", epilog=examples("webhook list", "webhook list --json"))
def list_(as_json: JSONOption = False, config: FileOption = _FILE) -> None:
    """List the webhooks of the file and the state of their keys."""
    document = Document(config)
    rows = table("name", "state", "url", "events", "key", "app")
    for name, configured in zip(document.webhooks, document.read().webhooks, strict=True):
        key = _key_of(document.webhooks[name])
        state = "enabled" if configured.enabled else "disabled"
        if as_json:
            say_json(
                {
                    "name": name,
                    "id": configured.id,
                    "enabled": configured.enabled,
                    "url": configured.shown_url,
                    "events": list(configured.events),
                    "key": key,
                    "app_pid": configured.app_pid,
                }
            )
        else:
            rows.add_row(
                *map(
                    printable,
                    (
                        name,
                        state,
                        configured.shown_url,
                        " ".join(configured.events),
                        key,
                        configured.app_pid or "",
                    ),
                )
            )
    if not as_json:
        say_table(rows)


@webhook.command(epilog=examples("webhook enable crm"))
def enable(name: NameArgument, config: FileOption = _FILE) -> None:
    """Enable a webhook. Takes effect at the next start of the server."""
    _switch(name, config, on=True)


@webhook.command(epilog=examples("webhook disable crm"))
def disable(name: NameArgument, config: FileOption = _FILE) -> None:
    """Disable a webhook. Takes effect at the next start of the server."""
    _switch(name, config, on=False)


@webhook.command(epilog=examples("webhook remove crm"))
def remove(name: NameArgument, config: FileOption = _FILE) -> None:
    """Remove a webhook from the file."""
    document = Document(config)
    document.remove(name)
    document.save()
    left = several(len(document.webhooks), "webhook")
    say((name, "bold"), f" is out of {config}; {left} left")


def _switch(name: str, config: str, *, on: bool) -> None:
    document = Document(config)
    found = document.webhook(name)
    if not on:
        found["enabled"] = False
    elif "enabled" in found:
        del found["enabled"]
    document.save()
    say((name, "bold"), f" is {'enabled' if on else 'disabled'} in {config}")


def _apply(
    table: Table,
    url: str | None,
    event: list[str] | None,
    key_env: str | None,
    header: list[str] | None,
    header_env: list[str] | None,
    app_pid: str | None,
    assignments: list[str] | None,
) -> None:
    """Apply the options to a webhook's table."""
    if url is not None:
        table["url"] = url
    if event:
        table["events"] = event
    if key_env is not None:
        table["signing_key"] = inline({"env": key_env})
    fields: dict[str, Any] = {**headers(header)}
    fields.update({field: {"env": value} for field, value in headers(header_env).items()})
    for field, value in fields.items():
        assign(table, ["headers", field], value)
    if app_pid is not None:
        table["app_pid"] = app_pid
    for assignment in assignments or ():
        set_option(table, assignment)


def _key_of(table: Table) -> str:
    """Return the location of a webhook's key and whether the variable is set."""
    key = table["signing_key"]
    if not isinstance(key, dict):
        return "in the file"
    variable = str(key["env"])
    return f"${variable}" if variable in os.environ else f"${variable} (not set)"
