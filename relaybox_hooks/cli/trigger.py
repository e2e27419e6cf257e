"""``trigger``: one real, signed event, and what each attempt at it came to."""

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
        str, typer.Argument(metavar="EVENT", help="Its name; `relaybox-hooks events` lists them.")
    ],
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where to; by default, where `listen` does.")
    ] = "http://127.0.0.1:4000/",
    keys: KeysOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE", help="Its data, instead of an example.", show_default=False
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE",
            help="Its session by wire names, instead of an example.",
            show_default=False,
        ),
    ] = None,
    header: HeadersOption = None,
    webhook_id: Annotated[
        str, typer.Option(metavar="ID", help="The webhook's id; one made of the URL by default.")
    ] = "",
    attempts: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many in all, the first included.")
    ] = RetryPolicy().attempts,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long each may take.")
    ] = 5.0,
    custom: Annotated[
        bool, typer.Option("--custom", help="The event is one that your server declares itself.")
    ] = False,
) -> None:
    """Send one event, signed as in production.

    Shows what each attempt comes to. Exit code 0 only if it was delivered.
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
        breaker=None,  # all the attempts that were asked for
    )
    carried = DATA.get(event) if data is None else json_value(data, "--data")  # type: ignore[call-overload]
    who = session_for(event) if session is None else session_value(session, "--session")
    delivered = asyncio.run(_send(webhook, event, carried, who, custom=custom))
    raise typer.Exit(0 if delivered else 1)


async def _send(webhook: Webhook, event: str, data: Any, session: Any, *, custom: bool) -> bool:
    """Whether it was delivered."""
    teller = _Teller()
    hooks = Hooks[str](
        [webhook],
        custom_events=[event] if custom else [],
        observers=[teller],
        logging=False,
        close_timeout=0,  # what Ctrl-C interrupts is over
    )
    async with hooks:
        receipt = await hooks.emit(event, data, session)
        say((f"{event}  ", "bold"), f"event {receipt.event_id}  to {printable(webhook.shown_url)}")
        await hooks.join()
    return teller.delivered_one


class _Teller(Observer):
    """Shows each attempt as it ends."""

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
        made = several(letter.attempts, "attempt")
        say(("not delivered", "bold red"), f": {letter.reason} after {made}")
