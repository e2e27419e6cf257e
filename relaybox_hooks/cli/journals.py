"""``deliveries`` and ``dead-letters``: what a journal file holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from relaybox_hooks.cli.console import (
    iso,
    moment,
    printable,
    say,
    say_json,
    say_table,
    shortened,
    table,
)
from relaybox_hooks.cli.inputs import JSONOption, examples, moment_of
from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.journal import DeliveryState, StoredDelivery

if TYPE_CHECKING:
    from relaybox_hooks.journal import SQLiteJournal

DELIVERIES_EXAMPLES = examples(
    "deliveries hooks.db --since 1h",
    "deliveries hooks.db --status pending --webhook crm",
    "deliveries hooks.db --event-id 01a20c33-9705-7665-9d0e-6e02de955d76 --json",
)
DEAD_LETTERS_EXAMPLES = examples(
    "dead-letters hooks.db --webhook crm --reason exhausted",
    "dead-letters hooks.db --since 2026-11-24T10:00 --until 2026-11-24T11:00",
    "dead-letters hooks.db --json | jq .data",
)

JournalArgument = Annotated[
    str, typer.Argument(metavar="JOURNAL", help="The file of a SQLiteJournal.")
]
EventIdOption = Annotated[
    str | None, typer.Option("--event-id", metavar="ID", help="Only this event's.")
]
WebhookOption = Annotated[
    str | None, typer.Option("--webhook", metavar="ID", help="Only those to this webhook.")
]
EventOption = Annotated[
    str | None, typer.Option("--event", metavar="NAME", help="Only events of this name.")
]
ReasonOption = Annotated[
    Reason | None, typer.Option("--reason", help="Only those given up on for it.")
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="A date and time, or 15m, 2h, 7d ago; or later."),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="The same; before it.")
]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")]


def deliveries(
    journal: JournalArgument,
    event_id: EventIdOption = None,
    webhook: WebhookOption = None,
    event: EventOption = None,
    status: Annotated[
        DeliveryState | None, typer.Option(help="Only those of which this has become.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 100,
    as_json: JSONOption = False,
) -> None:
    """Show a journal's deliveries, newest first.

    --since and --until go by when events were emitted.
    """
    now = datetime.now(UTC)

    async def ask(store: SQLiteJournal) -> list[StoredDelivery]:
        return await store.deliveries(
            event_id=event_id,
            webhook_id=webhook,
            event=event,
            status=status,
            since=moment_of(since, "--since", now),
            until=moment_of(until, "--until", now),
            limit=limit,
        )

    _show(journal, ask, by="emitted", as_json=as_json)


def dead_letters(
    journal: JournalArgument,
    event_id: EventIdOption = None,
    webhook: WebhookOption = None,
    event: EventOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 100,
    as_json: JSONOption = False,
) -> None:
    """Show a journal's dead letters, oldest first.

    They are the deliveries that were given up on; --since and --until go by when.
    """
    chosen = letter_filters(event_id, webhook, event, reason, since, until)

    async def ask(store: SQLiteJournal) -> list[StoredDelivery]:
        return await store.dead_letters(**chosen, limit=limit)

    _show(journal, ask, by="died", as_json=as_json)


def letter_filters(
    event_id: str | None,
    webhook: str | None,
    event: str | None,
    reason: Reason | None,
    since: str | None,
    until: str | None,
) -> dict[str, Any]:
    """What ``Journal.dead_letters`` takes, from what the options say."""
    now = datetime.now(UTC)
    return {
        "event_id": event_id,
        "webhook_id": webhook,
        "event": event,
        "reason": reason,
        "since": moment_of(since, "--since", now),
        "until": moment_of(until, "--until", now),
    }


def journal_of(path: str) -> SQLiteJournal:
    """The journal of a file that is there: looking into one does not make it."""
    if not Path(path).is_file():
        raise typer.BadParameter(f"{path}: no such file", param_hint="JOURNAL")
    from relaybox_hooks.journal import SQLiteJournal  # noqa: PLC0415 - needs another extra

    return SQLiteJournal(path)


def _show(path: str, ask: Callable[[SQLiteJournal], Any], *, by: str, as_json: bool) -> None:
    """Show what is found, and how much there is in all."""

    async def find() -> tuple[list[StoredDelivery], dict[str, int]]:
        async with journal_of(path) as journal:
            found = await ask(journal)
            counts = (await journal.counts()).values()
        return found, {
            "pending": sum(count.pending for count in counts),
            "delivered": sum(count.delivered for count in counts),
            "dead": sum(count.dead for count in counts),
        }

    found, counts = asyncio.run(find())
    if as_json:
        for delivery in found:
            say_json(_record(delivery))
        return
    if found:
        say_table(_table(found, by=by))
        say("")
    in_all = ", ".join(f"{count} {state}" for state, count in counts.items())
    say(f"{len(found)} shown; the journal has {in_all}")


def _table(found: list[StoredDelivery], *, by: str) -> Table:
    """The deliveries found, with the moment that they are ordered by."""
    rows = table(by, "event", "id", "webhook", "state", "attempts", whole=("id",))
    for delivery in found:
        envelope = delivery.envelope
        cells = (
            moment(delivery.at if by == "died" else envelope.time),
            envelope.name,
            envelope.id,
            shortened(delivery.webhook_id),
            delivery.reason or delivery.state,
            _attempts(delivery),
        )
        rows.add_row(*map(printable, cells))
    return rows


def _attempts(delivery: StoredDelivery) -> str:
    """How many were made, and what the last one came to."""
    outcome = delivery.outcome
    if outcome is None:
        return str(delivery.attempts)
    what = f"status {outcome.status}" if outcome.status else outcome.error
    return f"{delivery.attempts}, {what}"


def _record(delivery: StoredDelivery) -> dict[str, Any]:
    """A delivery for programs, its payload included."""
    outcome, envelope = delivery.outcome, delivery.envelope
    event = envelope.to_event()
    return {
        "seq": delivery.seq,
        "event": envelope.name,
        "id": envelope.id,
        "webhook_id": delivery.webhook_id,
        "key": delivery.key,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempts": delivery.attempts,
        "status": outcome and outcome.status,
        "error": outcome and outcome.error,
        "detail": outcome and outcome.detail,
        "emitted_at": iso(envelope.time),
        "due_at": iso(delivery.due) if delivery.state == "pending" else None,
        "at": iso(delivery.at),
        "data": event.data,
        "session": event.session.to_wire(),
    }
