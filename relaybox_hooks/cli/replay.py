"""``replay``: dead letters of a journal sent again to the webhooks of a configuration file."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from relaybox_hooks.cli.console import out, printable, say, several
from relaybox_hooks.cli.inputs import examples
from relaybox_hooks.cli.journals import (
    EventIdOption,
    EventOption,
    JournalArgument,
    ReasonOption,
    SinceOption,
    UntilOption,
    WebhookOption,
    journal_of,
    letter_filters,
)
from relaybox_hooks.cli.resend import resend
from relaybox_hooks.config import Configuration, read
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.outcome import DELIVERED, Outcome

EXAMPLES = examples(
    "replay hooks.db --config hooks.toml --webhook crm --reason exhausted",
    "replay hooks.db --since 2h --rate 10",
)


def replay(
    journal: JournalArgument,
    config: Annotated[
        str, typer.Option("--config", "-c", metavar="FILE", help="Where the webhooks are.")
    ] = "hooks.toml",
    event_id: EventIdOption = None,
    webhook: WebhookOption = None,
    event: EventOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    rate: Annotated[
        float, typer.Option(metavar="N", min=0.001, help="Attempts per second, at most.")
    ] = 50,
) -> None:
    """Send a journal's dead letters again.

    They are chosen as `dead-letters` shows them, and attempted once each. Event ids stay,
    signatures are made with the webhooks' current keys. What arrives is a dead letter no
    longer. Exit code 0 only if all of them arrived.
    """
    chosen = letter_filters(event_id, webhook, event, reason, since, until)
    said = read(config)

    async def run() -> bool:
        async with journal_of(journal) as store:
            letters = await store.dead_letters(**chosen)
            with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
                progress_of = _Progress(said, config, progress, len(letters))
                report = await resend(store, said, letters, progress_of.show, rate=rate)
            await store.flush()
        delivered, failed, skipped = report
        what = several(len(letters), "dead letter")
        say(f"{what}: {delivered} delivered, {failed} failed, {skipped} skipped")
        return delivered == len(letters)

    raise typer.Exit(0 if asyncio.run(run()) else 1)


class _Progress:
    """Advances the bar, and prints what was not delivered."""

    def __init__(self, said: Configuration, config: str, progress: Progress, total: int) -> None:
        self._webhooks = {webhook.id: webhook for webhook in said.webhooks}
        self._config = config
        self._progress = progress
        self._task: TaskID = progress.add_task("sending", total=total)
        self._skipped: set[str] = set()

    def show(self, letter: DeadLetter, outcome: Outcome | None) -> None:
        self._progress.advance(self._task)
        webhook_id = letter.webhook_id
        if outcome is None:
            if webhook_id not in self._skipped:  # once is enough: it holds for all of its letters
                self._skipped.add(webhook_id)
                say(
                    ("skipped  ", "yellow"),
                    f"webhook {printable(webhook_id)} {self._why(webhook_id)}",
                )
        elif outcome.verdict != DELIVERED:
            which = f"{letter.event_name} {letter.event_id} to {webhook_id}"
            say(("failed   ", "red"), printable(f"{which}: {outcome}"))

    def _why(self, webhook_id: str) -> str:
        webhook = self._webhooks.get(webhook_id)
        if webhook is None:
            return f"is not in {self._config}"
        if not webhook.enabled:
            return f"is disabled in {self._config}"
        if webhook.profile is not None:
            return f"has the profile {webhook.profile!r}, which is in code: use hooks.replay()"
        return "is disabled: it answered 410 Gone, or the server disabled it"
