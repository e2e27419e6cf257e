"""A random walk through every journal, beside a naive model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import accumulate
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
from support.journals import BUSY, FINE, REFUSED, envelope, make_journal

from relaybox_hooks.journal import (
    PERMANENT,
    Backlog,
    Change,
    Counts,
    DeliveryState,
    Journal,
    LaneHead,
    StoredDelivery,
    StoredOutcome,
)
from relaybox_hooks.journal.sqlite import queries

T = TypeVar("T")


WEBHOOKS = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from([None, "x", "y", "é", "nul\0", "nul"])
TIMES = st.integers(0, 9).map(float)
OUTCOMES = st.sampled_from([None, REFUSED, BUSY, FINE])
REASONS = st.sampled_from(["exhausted", "removed"])


class Walk(RuleBasedStateMachine):
    """A journal beside a dict of its expected rows."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = TemporaryDirectory()
        self.model: dict[int, StoredDelivery] = {}
        self.events = 0
        self.highest = 0
        self.webhooks: dict[str, LaneHead] = {}
        self.journal = self.make()
        self.run(self.journal.open())

    def make(self) -> Journal:
        return make_journal(self.kind, Path(self.directory.name) / "walk.db")

    def run(self, what: Awaitable[T]) -> T:
        async def wait() -> T:
            return await what

        return self.loop.run_until_complete(wait())

    def teardown(self) -> None:
        self.run(self.journal.aclose())
        self.loop.close()
        self.directory.cleanup()

    def states(self, webhook_id: str) -> list[str]:
        return [row.state for row in self.model.values() if row.webhook_id == webhook_id]

    def some(self, place: int) -> StoredDelivery:
        return self.model[sorted(self.model)[place % len(self.model)]]

    def known(self, webhook_id: str, seen: float) -> LaneHead:
        return self.webhooks.setdefault(webhook_id, LaneHead(webhook_id, 0, seen, None))

    @rule(
        addressed=st.lists(st.tuples(WEBHOOKS, KEYS), min_size=1, max_size=4),
        dead=st.none() | REASONS,
    )
    def append(self, addressed: list[tuple[str, str | None]], dead: str | None) -> None:
        event = envelope(self.events, ("room:join", "room:leave")[self.events % 2])
        self.events += 1
        future = self.journal.append_nowait(event, addressed, dead=dead)
        for seq, (webhook_id, key) in enumerate(addressed, self.highest + 1):
            row = StoredDelivery(
                seq, webhook_id, key, event, "pending", 0, event.time, None, None, None
            )
            if dead is not None:
                row = row._replace(state="dead", reason=dead, at=event.time)
            self.model[seq] = row
            self.known(webhook_id, event.time)
        before, self.highest = self.highest, self.highest + len(addressed)
        self.counts_at_once()
        assert list(self.run(future)) == list(range(before + 1, self.highest + 1))

    @precondition(lambda self: self.model)
    @rule(
        places=st.lists(st.integers(0, 99), min_size=1, max_size=3),
        state=st.sampled_from(["pending", "delivered", "dead"]),
        reason=REASONS,
        attempts=st.integers(0, 9),
        outcome=OUTCOMES,
        at=TIMES,
    )
    def commit(
        self,
        places: list[int],
        state: DeliveryState,
        reason: str,
        attempts: int,
        outcome: StoredOutcome | None,
        at: float,
    ) -> None:
        """One of them may be changed twice in one call."""
        changes: list[Change] = []
        because = reason if state == "dead" else None
        for place in places:
            row = self.some(place)
            changes.append(Change(row.seq, state, attempts, outcome, at, because, row.state))
            due, settled = (at, None) if state == "pending" else (row.due, at)
            self.model[row.seq] = StoredDelivery(
                *row[:4], state, attempts, due, outcome, because, settled
            )
        self.journal.commit(PERMANENT, changes)

    @rule(
        webhook_id=WEBHOOKS,
        limit=st.integers(1, 6),
        max_bytes=st.integers(1, 60),
        after=st.integers(0, 30),
        key=KEYS,
        skip_keys=st.frozensets(KEYS.filter(bool)),
    )
    def read(
        self,
        webhook_id: str,
        limit: int,
        max_bytes: int,
        after: int,
        key: str | None,
        skip_keys: frozenset[Any],
    ) -> None:
        if key is not None:
            skip_keys = frozenset()
        found = self.run(
            self.journal.read(
                PERMANENT,
                webhook_id,
                limit=limit,
                max_bytes=max_bytes,
                after=after,
                key=key,
                skip_keys=skip_keys,
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
        sizes = accumulate((len(row.envelope.prefix) for row in expected), initial=0)
        within = [row for row, before in zip(expected, sizes, strict=False) if before < max_bytes]
        assert plain(found) == plain(within[:limit])

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
        known = self.known(webhook_id, at)
        self.webhooks[webhook_id] = known._replace(last_seen=max(at, known.last_seen))

    @rule(webhook_id=WEBHOOKS, value=st.none() | st.text(max_size=3))
    def save_state(self, webhook_id: str, value: str | None) -> None:
        state = None if value is None else {"value": value}
        self.journal.save_state(webhook_id, state)
        self.webhooks[webhook_id] = self.known(webhook_id, 0.0)._replace(state=state)

    @precondition(lambda self: self.kind == "sqlite")
    @rule()
    def reopen(self) -> None:
        self.run(self.journal.aclose())
        self.journal = self.make()
        self.run(self.journal.open())

    @invariant()
    def adds_up(self) -> None:
        self.counts_at_once()
        counts = self.run(self.journal.counts())
        heads = {head.webhook_id: head for head in self.run(self.journal.lanes(PERMANENT))}
        for webhook_id in "abc":
            states = self.states(webhook_id)
            expected = Counts(*map(states.count, ("pending", "delivered", "dead")))
            assert counts.get(webhook_id, Counts(0, 0, 0)) == expected
            head = self.webhooks.get(webhook_id)
            if head is not None:
                head = head._replace(pending=expected.pending)
            assert heads.get(webhook_id) == head
        self.counts_at_once()

    def counts_at_once(self) -> None:
        """Hold the backlog against the model, whatever the store has written by now."""
        pending = sum(row.state == "pending" for row in self.model.values())
        assert self.journal.backlog() == Backlog(pending, self.highest)


class SQLiteWalk(Walk):
    kind = "sqlite"


def plain(rows: list[StoredDelivery]) -> list[tuple[Any, ...]]:
    """Envelopes have no equality of their own."""
    return [
        (*row[:3], row.envelope.id, row.envelope.name, row.envelope.prefix, *row[4:])
        for row in rows
    ]


@pytest.mark.parametrize("walk", [Walk, SQLiteWalk])
def test_a_random_walk_agrees_with_the_model(
    walk: type[Walk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries are cut into slices so small that most of them need several."""
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
