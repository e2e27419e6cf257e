"""Command ``trigger``: send one signed event and show each attempt."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from relaybox_hooks.cli.console import duration, printable, say, several
from relaybox_hooks.cli.inputs import (
    HeadersOption,
    KeysOption,
    examples,
    headers,
    json_value,
    required_keys,
    session_value,
)
from relaybox_hooks.cli.samples import DATA, session_for
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.errors import UnknownEventError
from relaybox_hooks.events import EVENTS
from relaybox_hooks.hooks import Hooks
from relaybox_hooks.observer import Attempt, Observer
from relaybox_hooks.outcome import DELIVERED
from relaybox_hooks.targets.policies import RetryPolicy, Timeouts
from relaybox_hooks.targets.webhook import Webhook

EXAMPLES = examples(
    "trigger room:join --key 21d45d1d4dff46f13cd4478ba08395d9",
    "trigger room:publish --url https://crm.example/webhook --attempts 1",
    """trigger user:status:update --data '{"status": "busy"}' --session @zoe.json""",
    """trigger order:paid --custom --data '{"total": "12.50"}'""",
)


def trigger(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="Event name; `relaybox-hooks events` lists them.")
    ],
    url: Annotated[
        str, typer.Option(metavar="URL", help="Target URL; by default that of `listen`.")
    ] = "http://127.0.0.1:4000/",
    keys: KeysOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE", help="Event data, instead of an example.", show_default=False
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE",
            help="Session with wire names, instead of an example.",
            show_default=False,
        ),
    ] = None,
    header: HeadersOption = None,
    webhook_id: Annotated[
        str, typer.Option(metavar="ID", help="Id of the webhook; by default derived from the URL.")
    ] = "",
    attempts: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Maximum number of attempts, the first included."),
    ] = RetryPolicy().attempts,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Timeout of each attempt.")
    ] = 5.0,
    custom: Annotated[
        bool, typer.Option("--custom", help="Allow an event name that your server declares itself.")
    ] = False,
) -> None:
    """Send one event, signed as in production.

    Shows the outcome of each attempt. Exit code 0 only if the event was delivered.
    """
    if not custom and event not in EVENTS:
        hint = UnknownEventError(event, EVENTS).suggestion
        advice = f"did you mean {hint!r}? " if hint else ""
        raise typer.BadParameter(
            f"unknown event {event!r}: {advice}Give --custom for one that your server declares",
            param_hint="EVENT",
        )
    key, *others = required_keys(keys)
    if others:
        raise typer.BadParameter("an event is signed with one key", param_hint="--key")
    webhook = Webhook(
        url,
        [event],
        key,
        id=webhook_id,
        headers=headers(header),
        retry=RetryPolicy(attempts=attempts),
        timeouts=Timeouts(total=timeout),
        breaker=None,  # an open breaker would delay the requested attempts
    )
    event_data = DATA.get(event) if data is None else json_value(data, "--data")  # type: ignore[call-overload]
    event_session = session_for(event) if session is None else session_value(session, "--session")
    delivered = asyncio.run(_send(webhook, event, event_data, event_session, custom=custom))
    raise typer.Exit(0 if delivered else 1)


async def _send(webhook: Webhook, event: str, data: Any, session: Any, *, custom: bool) -> bool:
    """Send the event; return True if it was delivered."""
    printer = _AttemptPrinter()
    hooks = Hooks[str](
        [webhook],
        custom_events=[event] if custom else [],
        observers=[printer],
        logging=False,
        close_timeout=0,  # Ctrl-C cancels at once
    )
    async with hooks:
        receipt = await hooks.emit(event, data, session)
        say((f"{event}  ", "bold"), f"event {receipt.event_id}  to {printable(webhook.shown_url)}")
        await hooks.join()
    return printer.delivered_one


class _AttemptPrinter(Observer):
    """Observer that writes a line for each attempt."""

    def __init__(self) -> None:
        self.delivered_one = False

    def attempted(self, attempt: Attempt) -> None:
        outcome = attempt.outcome
        delivered = outcome.verdict == DELIVERED
        self.delivered_one |= delivered
        then: tuple[str, str] = ("delivered", "green")
        if not delivered:
            then = ("given up on", "red")
        if attempt.next_in is not None:
            then = (f"next try in {duration(attempt.next_in)}", "yellow")
        say(
            f"attempt {attempt.number}  ",
            (f"{printable(str(outcome))}  ", "" if delivered else "red"),
            f"{duration(attempt.elapsed)}  ",
            then,
        )

    def dead_lettered(self, letter: DeadLetter) -> None:
        attempts = several(letter.attempts, "attempt")
        say(("not delivered", "bold red"), f": {letter.reason} after {attempts}")
