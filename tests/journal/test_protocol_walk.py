"""A random walk through every journal, beside a naive model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.journals import BUSY, FINE, REFUSED, envelope

from relaybox_hooks.journal import (
    Counts,
    DeliveryState,
    Journal,
    JournalFullError,
    KnownWebhook,
    SQLiteJournal,
    StoredDelivery,
    StoredOutcome,
)
from relaybox_hooks.journal.sqlite import queries
from relaybox_hooks.testing.memory_journal import MemoryJournal

T = TypeVar("T")


WEBHOOKS = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from([None, "x", "y", "é", "nul\0", "nul"])
TIMES = st.integers(0, 9).map(float)
OUTCOMES = st.sampled_from([None, REFUSED, BUSY, FINE])
REASONS = st.sampled_from(["exhausted", "removed"])
MAX_PENDING = 12


class Walk(RuleBasedStateMachine):
    """A journal beside a dict of what ought to be in it."""

    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = TemporaryDirectory()
        self.model: dict[int, StoredDelivery] = {}
        self.events = 0
        self.highest = 0
        self.webhooks: dict[str, KnownWebhook] = {}
        self.journal = self.make()
        self.run(self.journal.open())

    def make(self) -> Journal:
        if not self.durable:
            return MemoryJournal(max_pending=MAX_PENDING)
        return SQLiteJournal(Path(self.directory.name) / "walk.db", max_pending=MAX_PENDING)

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(what)

    def teardown(self) -> None:
        self.run(self.journal.aclose())
        self.loop.close()
        self.directory.cleanup()

    def pending(self) -> int:
        return sum(row.state == "pending" for row in self.model.values())

    def some(self, place: int) -> int:
        return sorted(self.model)[place % len(self.model)]

    @rule(addressed=st.lists(st.tuples(WEBHOOKS, KEYS), min_size=1, max_size=4))
    def append(self, addressed: list[tuple[str, str | None]]) -> None:
        self.run(self.journal.flush())
        event = envelope(self.events, ("room:join", "room:leave")[self.events % 2])
        if self.pending() + len(addressed) > MAX_PENDING:
            with pytest.raises(JournalFullError):
                self.run(self.journal.append(event, addressed))
            return
        given = self.run(self.journal.append(event, addressed))
        self.events += 1
        assert len(given) == len(addressed)
        for seq, (webhook_id, key) in zip(given, addressed, strict=True):
            assert seq > self.highest
            self.highest = seq
            self.model[seq] = StoredDelivery(
                seq, webhook_id, key, event, "pending", 0, event.time, None, None, None
            )
            self.webhooks.setdefault(webhook_id, KnownWebhook(event.time, None))

    @precondition(lambda self: self.model)
    @rule(place=st.integers(0, 99), attempts=st.integers(0, 9), outcome=OUTCOMES, at=TIMES)
    def settle(self, place: int, attempts: int, outcome: StoredOutcome | None, at: float) -> None:
        seq = self.some(place)
        self.journal.settle(seq, attempts=attempts, outcome=outcome, at=at)
        self.change(seq, "delivered", attempts, outcome, at=at)

    @precondition(lambda self: self.model)
    @rule(
        place=st.integers(0, 99),
        reason=REASONS,
        attempts=st.integers(0, 9),
        outcome=OUTCOMES,
        at=TIMES,
    )
    def bury(
        self, place: int, reason: str, attempts: int, outcome: StoredOutcome | None, at: float
    ) -> None:
        seq = self.some(place)
        self.journal.bury(seq, reason, attempts=attempts, outcome=outcome, at=at)
        self.change(seq, "dead", attempts, outcome, at=at, reason=reason)

    @precondition(lambda self: self.model)
    @rule(place=st.integers(0, 99), attempts=st.integers(0, 9), outcome=OUTCOMES, due=TIMES)
    def reschedule(
        self, place: int, attempts: int, outcome: StoredOutcome | None, due: float
    ) -> None:
        seq = self.some(place)
        self.journal.reschedule(seq, attempts=attempts, due=due, outcome=outcome)
        self.change(seq, "pending", attempts, outcome, due=due)

    def change(
        self,
        seq: int,
        state: DeliveryState,
        attempts: int,
        outcome: StoredOutcome | None,
        *,
        at: float | None = None,
        due: float | None = None,
        reason: str | None = None,
    ) -> None:
        row = self.model[seq]
        due = row.due if due is None else due
        self.model[seq] = StoredDelivery(*row[:4], state, attempts, due, outcome, reason, at)

    @rule(
        webhook_id=WEBHOOKS,
        limit=st.integers(1, 6),
        after=st.integers(0, 30),
        key=KEYS,
        skip_keys=st.frozensets(KEYS.filter(bool)),
    )
    def lease(
        self,
        webhook_id: str,
        limit: int,
        after: int,
        key: str | None,
        skip_keys: frozenset[Any],
    ) -> None:
        if key is not None:
            skip_keys = frozenset()
        leased = self.run(
            self.journal.lease(
                webhook_id, limit=limit, until=0, after=after, key=key, skip_keys=skip_keys
            )
        )
        expected = [
            row
            for seq, row in sorted(self.model.items())
            if row.state == "pending"
            and row.webhook_id == webhook_id
            and seq > after
            and (key is None or row.key == key)
            and row.key not in skip_keys
        ]
        assert plain(leased) == plain(expected[:limit])

    @rule(
        webhook_id=st.none() | WEBHOOKS,
        reason=st.none() | REASONS,
        since=st.none() | TIMES,
        until=st.none() | TIMES,
    )
    def dead_letters(
        self,
        webhook_id: str | None,
        reason: str | None,
        since: float | None,
        until: float | None,
    ) -> None:
        found = self.run(
            self.journal.dead_letters(
                webhook_id=webhook_id, reason=reason, since=since, until=until
            )
        )
        expected = [
            row
            for row in self.settled("dead")
            if webhook_id in (None, row.webhook_id)
            and reason in (None, row.reason)
            and (since is None or (row.at or 0) >= since)
            and (until is None or (row.at or 0) < until)
        ]
        assert plain(found) == plain(expected)

    @rule(webhook_id=st.none() | WEBHOOKS, limit=st.integers(1, 9))
    def deliveries(self, webhook_id: str | None, limit: int) -> None:
        found = self.run(self.journal.deliveries(webhook_id=webhook_id, limit=limit))
        expected = [
            row
            for _, row in sorted(self.model.items(), reverse=True)
            if webhook_id in (None, row.webhook_id)
        ]
        assert plain(found) == plain(expected[:limit])

    @rule(
        status=st.sampled_from(["delivered", "dead"]),
        before=TIMES,
        keep=st.none() | st.integers(0, 5),
    )
    def purge(self, status: Literal["delivered", "dead"], before: float, keep: int | None) -> None:
        gone = self.run(self.journal.purge(status, before=before, keep=keep))
        rows = self.settled(status)
        excess = 0 if keep is None else max(0, len(rows) - keep)
        expected = [
            row for place, row in enumerate(rows) if place < excess or (row.at or 0) < before
        ]
        assert gone == len(expected)
        for row in expected:
            del self.model[row.seq]

    def settled(self, status: str) -> list[StoredDelivery]:
        rows = (row for row in self.model.values() if row.state == status)
        return sorted(rows, key=lambda row: (row.at, row.seq))

    @rule(webhook_id=WEBHOOKS, at=TIMES)
    def touch(self, webhook_id: str, at: float) -> None:
        self.journal.touch([webhook_id], at)
        known = self.webhooks.get(webhook_id, KnownWebhook(at, None))
        self.webhooks[webhook_id] = known._replace(last_seen=max(at, known.last_seen))

    @rule(webhook_id=WEBHOOKS, value=st.none() | st.text(max_size=3))
    def save_state(self, webhook_id: str, value: str | None) -> None:
        state = None if value is None else {"value": value}
        self.journal.save_state(webhook_id, state)
        known = self.webhooks.get(webhook_id, KnownWebhook(0.0, None))
        self.webhooks[webhook_id] = known._replace(state=state)

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        self.run(self.journal.aclose())
        self.journal = self.make()
        self.run(self.journal.open())

    @invariant()
    def adds_up(self) -> None:
        counts = self.run(self.journal.counts())
        for webhook_id in "abc":
            rows = [row.state for row in self.model.values() if row.webhook_id == webhook_id]
            assert counts.get(webhook_id, Counts(0, 0, 0)) == Counts(
                rows.count("pending"), rows.count("delivered"), rows.count("dead")
            )
        assert self.journal.pending_total == self.pending()
        assert self.run(self.journal.load_states()) == self.webhooks


class DurableWalk(Walk):
    durable = True


def plain(rows: list[StoredDelivery]) -> list[tuple[Any, ...]]:
    """Envelopes have no equality of their own."""
    return [
        (*row[:3], row.envelope.id, row.envelope.name, row.envelope.prefix, *row[4:])
        for row in rows
    ]


@pytest.mark.parametrize("walk", [Walk, DurableWalk])
def test_a_random_walk_agrees_with_the_model(
    walk: type[Walk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions are cut into slices so small that most of them need several."""
    monkeypatch.setattr(queries, "_SLICE", 3)
    monkeypatch.setattr(queries, "_PURGE_SLICE", 2)
    run_state_machine_as_test(
        walk,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
