"""Receipts of emits, statistics, and the report of closing."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from relaybox_hooks.targets.policies import BreakerState


class Receipt(NamedTuple):
    """Result of ``emit``.

    Attributes:
        event_id: the event's UUID; empty where no target matched, as no event was made then.
        accepted: how many targets took the event.
        dropped: how many full targets dropped it.
    """

    event_id: str
    accepted: int
    dropped: int


#: The receipt of an event that no target matches.
NO_TARGETS = Receipt("", 0, 0)


class TargetStats(NamedTuple):
    """Counts of one target since it was registered.

    ``accepted == delivered + failed + dropped + pending`` at every moment.

    Attributes:
        name: the webhook's or subscriber's name.
        kind: webhook or subscriber.
        accepted: events that it took responsibility for, dropped ones included.
        delivered: handled by the subscriber, or answered 2xx by the endpoint.
        failed: the subscriber raised, or the delivery was given up.
        retried: attempts after the first.
        dropped: lost to a full lane.
        pending: waiting, in flight, or waiting for a retry.
        in_flight: of these, being handled now.
        breaker: the state of a webhook's breaker; ``None`` where it has none.
        enabled: whether it is sent events.
        oldest: when the oldest pending event was emitted, at a subscriber the oldest that waits,
            seconds since the Unix epoch; ``None`` where there is none.
        replayed: dead letters that a replay delivered; they stay counted where they were lost.
    """

    name: str
    kind: Literal["webhook", "subscriber"]
    accepted: int
    delivered: int
    failed: int
    retried: int
    dropped: int
    pending: int
    in_flight: int
    breaker: BreakerState | None
    enabled: bool
    oldest: float | None = None
    replayed: int = 0

    def __str__(self) -> str:
        return _table([self])


class Stats(NamedTuple):
    """Counts for the whole and per target. ``print(hooks.stats())`` draws a table.

    Totals include webhooks and subscribers that were removed.

    Attributes:
        accepted: events that targets took responsibility for, dropped ones included.
        delivered: handled by a subscriber, or answered 2xx by an endpoint.
        failed: given up, or raised by a subscriber.
        retried: attempts after the first.
        dropped: lost to a full lane.
        pending: waiting, in flight, or waiting for a retry.
        targets: by webhook id and by subscriber name.
        replayed: dead letters that a replay delivered; they stay counted where they were lost.
    """

    accepted: int
    delivered: int
    failed: int
    retried: int
    dropped: int
    pending: int
    targets: dict[str, TargetStats]
    replayed: int = 0

    def __str__(self) -> str:
        whole = TargetStats(
            "all targets",
            "webhook",
            *self[:6],
            in_flight=_in_flight(self),
            breaker=None,
            enabled=True,
            replayed=self.replayed,
        )
        return _table([*self.targets.values(), whole])


def _in_flight(stats: Stats) -> int:
    return sum(target.in_flight for target in stats.targets.values())


_COLUMNS = ("accepted", "delivered", "failed", "retried", "dropped", "pending", "in_flight")


def _table(rows: list[TargetStats]) -> str:
    width = max(6, *(len(row.name) for row in rows))
    lines = [f"{'target':{width}}" + "".join(f"{column:>11}" for column in _COLUMNS) + "  state"]
    for row in rows:
        state = row.breaker or "" if row.enabled else "disabled"
        lines.append(
            f"{row.name:{width}}"
            + "".join(f"{getattr(row, column):>11}" for column in _COLUMNS)
            + (f"  {state}" if state else "")
        )
    return "\n".join(lines)


class Totals:
    """Counts of targets that are registered no longer."""

    __slots__ = ("_counts", "_replayed")

    def __init__(self) -> None:
        self._counts = [0] * 6
        self._replayed = 0

    def add(self, row: TargetStats) -> None:
        """Add the last counts of a target."""
        self._counts = [a + b for a, b in zip(self._counts, row[2:8], strict=True)]
        self._replayed += row.replayed

    def add_unregistered(self, deliveries: int) -> None:
        """Add deliveries of an earlier process that were given up without a webhook."""
        self._counts[0] += deliveries
        self._counts[2] += deliveries

    def add_replayed(self) -> None:
        """Add a dead letter that a replay delivered to a webhook removed meanwhile."""
        self._replayed += 1

    def with_targets(self, rows: list[TargetStats], targets: dict[str, TargetStats]) -> Stats:
        """Return these counts and ``rows`` together, beside the registered ``targets``."""
        counts, replayed = self._counts, self._replayed
        for row in rows:
            counts = [a + b for a, b in zip(counts, row[2:8], strict=True)]
            replayed += row.replayed
        accepted, delivered, failed, retried, dropped, pending = counts
        return Stats(accepted, delivered, failed, retried, dropped, pending, targets, replayed)


#: How closing ended: everything was settled, the deadline passed, or it was cancelled.
Ending: TypeAlias = Literal["drained", "timed out", "cancelled"]


class CloseReport(NamedTuple):
    """Result of ``aclose``.

    Attributes:
        delivered: events delivered or handled while closing.
        failed: events given up while closing, before the deadline.
        left: events that were still pending at the deadline; those of webhooks are dead letters
            now or, with a journal, stay pending in it.
        targets: what was left, by webhook id or subscriber name.
        ending: ``"drained"``, ``"timed out"`` or ``"cancelled"``.
    """

    delivered: int
    failed: int
    left: int
    targets: dict[str, int]
    ending: Ending
