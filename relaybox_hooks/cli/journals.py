"""Commands ``deliveries`` and ``dead-letters``: the contents of a journal file."""

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
    local_time,
    printable,
    say,
    say_json,
    say_table,
    shortened,
    table,
)
from relaybox_hooks.cli.inputs import JSONOption, examples, parse_time
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

JournalArgument = Annotated[str, typer.Argument(metavar="JOURNAL", help="File of a SQLiteJournal.")]
EventIdOption = Annotated[
    str | None, typer.Option("--event-id", metavar="ID", help="Only deliveries of this event.")
]
WebhookOption = Annotated[
    str | None, typer.Option("--webhook", metavar="ID", help="Only deliveries to this webhook.")
]
EventOption = Annotated[
    str | None, typer.Option("--event", metavar="NAME", help="Only events of this name.")
]
ReasonOption = Annotated[
    Reason | None, typer.Option("--reason", help="Only dead letters with this reason.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="At or after this time: a date and time, or 15m, 2h, 7d ago.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Before this time; same formats."),
]
LimitOption = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="Maximum number of rows.")
]


def deliveries(
    journal: JournalArgument,
    event_id: EventIdOption = None,
    webhook: WebhookOption = None,
    event: EventOption = None,
    status: Annotated[
        DeliveryState | None, typer.Option(help="Only deliveries in this state.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 100,
    as_json: JSONOption = False,
) -> None:
    """Show the deliveries in a journal, newest first.

    --since and --until select by the time of the emit.
    """
    now = datetime.now(UTC)

    async def ask(store: SQLiteJournal) -> list[StoredDelivery]:
        return await store.deliveries(
            event_id=event_id,
            webhook_id=webhook,
            event=event,
            status=status,
            since=parse_time(since, "--since", now),
            until=parse_time(until, "--until", now),
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
    """Show the dead letters in a journal, oldest first.

    Dead letters are deliveries that will not be attempted again; --since and --until select by
    the time of that decision.
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
    """Return the keyword arguments of ``Journal.dead_letters`` for the options."""
    now = datetime.now(UTC)
    return {
        "event_id": event_id,
        "webhook_id": webhook,
        "event": event,
        "reason": reason,
        "since": parse_time(since, "--since", now),
        "until": parse_time(until, "--until", now),
    }


def journal_of(path: str) -> SQLiteJournal:
    """Return the journal in an existing file; does not create one.

    Raises:
        BadParameter: the file does not exist.
    """
    if not Path(path).is_file():
        raise typer.BadParameter(f"{path}: no such file", param_hint="JOURNAL")
    from relaybox_hooks.journal import SQLiteJournal  # noqa: PLC0415 - needs another extra

    return SQLiteJournal(path)


def _show(path: str, ask: Callable[[SQLiteJournal], Any], *, by: str, as_json: bool) -> None:
    """Write the deliveries that ``ask`` returns, and the totals of the journal."""

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
    """Return a table of deliveries; the first column is the time that they are ordered by."""
    rows = table(by, "event", "id", "webhook", "state", "attempts", whole=("id",))
    for delivery in found:
        envelope = delivery.envelope
        cells = (
            local_time(delivery.at if by == "died" else envelope.time),
            envelope.name,
            envelope.id,
            shortened(delivery.webhook_id),
            delivery.reason or delivery.state,
            _attempts(delivery),
        )
        rows.add_row(*map(printable, cells))
    return rows


def _attempts(delivery: StoredDelivery) -> str:
    """Return the number of attempts and the outcome of the last one."""
    outcome = delivery.outcome
    if outcome is None:
        return str(delivery.attempts)
    what = f"status {outcome.status}" if outcome.status else outcome.error
    return f"{delivery.attempts}, {what}"


def _record(delivery: StoredDelivery) -> dict[str, Any]:
    """Return a delivery for JSON output, payload included."""
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
