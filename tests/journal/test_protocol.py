"""What every journal keeps."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support.journals import BUSY, FINE, REFUSED, envelope

from relaybox_hooks.errors import ConfigError, PayloadError
from relaybox_hooks.journal import (
    Counts,
    Journal,
    JournalClosedError,
    JournalFullError,
    KnownWebhook,
    SQLiteJournal,
    StoredDelivery,
    StoredOutcome,
)
from relaybox_hooks.testing.memory_journal import MemoryJournal

T = TypeVar("T")


def seqs(rows: list[StoredDelivery]) -> list[int]:
    return [row.seq for row in rows]


async def test_an_appended_event_is_leased_as_it_was(journal: Journal) -> None:
    first, second = await journal.append(envelope(1, size=9), [("a", "k"), ("b", None)])
    (row,) = await journal.lease("a", limit=9, until=0)
    assert row == StoredDelivery(first, "a", "k", row.envelope, "pending", 0, 1.0, None, None, None)
    assert (row.envelope.id, row.envelope.name) == ("event-1", "room:join")
    assert (row.envelope.prefix, row.envelope.time) == (b'{"data":111111111', 1.0)
    assert seqs(await journal.lease("b", limit=9, until=0)) == [second]


async def test_numbers_follow_the_order_of_the_calls(journal: Journal) -> None:
    done: list[int] = []
    futures = [journal.append_nowait(envelope(n), [("a", None), ("b", None)]) for n in range(50)]
    for number, future in enumerate(futures):
        future.add_done_callback(partial(lambda number, _: done.append(number), number))
    given = [seq for future in futures for seq in await future]
    await asyncio.sleep(0)
    assert given == sorted(set(given))
    assert done == list(range(50))
    rows = await journal.lease("b", limit=99, until=0)
    assert [row.envelope.id for row in rows] == [f"event-{n}" for n in range(50)]


async def test_a_lease_goes_on_after_a_seq_for_one_key_or_without_some(journal: Journal) -> None:
    keys = ["x", "y", None, "z", "x", "y", None, "x"]
    given = [(await journal.append(envelope(n), [("a", key)]))[0] for n, key in enumerate(keys)]

    async def places(**options: Any) -> list[int]:
        options = {"limit": 99, "until": 0.0} | options
        return [given.index(row.seq) for row in await journal.lease("a", **options)]

    assert await places() == list(range(8))
    assert await places(limit=3) == [0, 1, 2]
    assert await places(limit=3, after=given[2]) == [3, 4, 5]
    assert await places(key="x") == [0, 4, 7]
    assert await places(key="x", after=given[0], limit=1) == [4]
    assert await places(skip_keys={"x", "y"}) == [2, 3, 6]
    assert await places(skip_keys={"x", "y"}, after=given[2], limit=2) == [3, 6]
    assert await places(key="nobody's") == []
    assert await journal.lease("unknown", limit=1, until=0) == []


async def test_a_lease_is_handed_out_again_to_its_owner(journal: Journal) -> None:
    await journal.append(envelope(1), [("a", None)])
    first = await journal.lease("a", limit=1, until=1e10)
    journal.extend(seqs(first), 2e10)
    again = await journal.lease("a", limit=1, until=1e10)
    assert seqs(first) == seqs(again)


async def test_settled_and_buried_deliveries_are_not_leased(journal: Journal) -> None:
    a, b, c = await journal.append(envelope(1), [("w", "k")] * 3)
    journal.settle(a, attempts=1, outcome=FINE, at=5.0)
    journal.bury(b, "rejected", attempts=1, outcome=StoredOutcome(404, None, ""), at=6.0)
    journal.reschedule(c, attempts=2, due=99.0, outcome=BUSY)
    (row,) = await journal.lease("w", limit=9, until=0)
    assert (row.seq, row.attempts, row.due, row.outcome) == (c, 2, 99.0, BUSY)
    assert await journal.counts() == {"w": Counts(1, 1, 1)}
    assert journal.pending_total == 1


async def test_a_replay_settles_or_updates_a_dead_letter(journal: Journal) -> None:
    a, b = await journal.append(envelope(1), [("v", None), ("w", None)])
    for seq in (a, b):
        journal.bury(seq, "exhausted", attempts=10, outcome=REFUSED, at=5.0)
    letters = await journal.dead_letters()
    assert seqs(letters) == [a, b]
    assert letters[0].envelope.prefix == b'{"data":'
    journal.settle(a, attempts=11, outcome=FINE, at=7.0)
    journal.bury(b, "rejected", attempts=11, outcome=BUSY, at=8.0)
    (letter,) = await journal.dead_letters()
    assert letter[5:] == (11, 1.0, BUSY, "rejected", 8.0)
    (row,) = await journal.deliveries(status="delivered")
    assert (row.seq, *row[4:]) == (a, "delivered", 11, 1.0, FINE, None, 7.0)
    assert journal.pending_total == 0


async def test_a_dead_letter_can_be_pending_again(journal: Journal) -> None:
    a, b, c = await journal.append(envelope(1), [("w", "k")] * 3)
    journal.bury(b, "disabled", attempts=0, outcome=None, at=5.0)
    journal.reschedule(b, attempts=0, due=6.0, outcome=None)
    assert seqs(await journal.lease("w", limit=9, until=0)) == [a, b, c]
    assert seqs(await journal.lease("w", limit=9, until=0, key="k")) == [a, b, c]
    assert await journal.dead_letters() == []
    assert journal.pending_total == 3


async def test_what_became_of_a_forgotten_delivery_changes_nothing(journal: Journal) -> None:
    (a,) = await journal.append(envelope(1), [("w", None)])
    journal.settle(a, attempts=1, outcome=FINE, at=5.0)
    assert await journal.purge("delivered", keep=0) == 1
    journal.reschedule(a, attempts=2, due=9.0, outcome=BUSY)
    await journal.flush()
    assert journal.pending_total == 0
    assert await journal.deliveries() == []


async def test_dead_letters_are_found_by_everything_they_have(journal: Journal) -> None:
    for n in range(4):
        name = "room:join" if n % 2 else "room:leave"
        for seq in await journal.append(envelope(n, name), [("a", None), ("b", None)]):
            reason = "expired" if n == 3 else "removed"
            journal.bury(seq, reason, attempts=1, outcome=BUSY, at=10.0 - n)

    async def found(**filters: Any) -> list[tuple[str, str]]:
        rows = await journal.dead_letters(**filters)
        return [(row.envelope.id[6:], row.webhook_id) for row in rows]

    everything = [(n, w) for n in "3210" for w in "ab"]
    assert await found() == everything
    assert await found(limit=3) == everything[:3]
    assert await found(event_id="event-2") == [("2", "a"), ("2", "b")]
    assert await found(event="room:leave", webhook_id="a") == [("2", "a"), ("0", "a")]
    assert await found(reason="expired") == [("3", "a"), ("3", "b")]
    assert await found(since=8.0, until=10.0, webhook_id="b") == [("2", "b"), ("1", "b")]
    page = await journal.dead_letters(limit=3)
    assert await found(after=page[-1]) == everything[3:]
    assert await found(event_id="no such") == []


async def test_the_delivery_log_is_read_newest_first_in_pages(journal: Journal) -> None:
    for n in range(6):
        (seq,) = await journal.append(envelope(n), [("a" if n < 4 else "b", None)])
        if n % 2:
            journal.settle(seq, attempts=1, outcome=FINE, at=50.0)
    rows = await journal.deliveries(limit=4)
    assert [row.envelope.time for row in rows] == [5.0, 4.0, 3.0, 2.0]
    rest = await journal.deliveries(before=rows[-1].seq)
    assert [row.envelope.time for row in rest] == [1.0, 0.0]
    rows = await journal.deliveries(webhook_id="a", status="delivered", since=1.0, until=3.0)
    assert [row.envelope.time for row in rows] == [1.0]
    assert [row.state for row in await journal.deliveries(event_id="event-4")] == ["pending"]
    assert await journal.deliveries(event="room:leave") == []


async def test_purging_forgets_by_age_and_by_count_and_only_what_is_settled(
    journal: Journal,
) -> None:
    given = [(await journal.append(envelope(n), [("a", None)]))[0] for n in range(9)]
    for place, seq in enumerate(given[:6]):
        journal.settle(seq, attempts=1, outcome=FINE, at=float(place))
    journal.bury(given[6], "removed", attempts=0, outcome=None, at=0.0)
    assert await journal.purge("delivered", before=2.0) == 2
    assert await journal.purge("delivered", keep=3) == 1
    assert seqs(await journal.deliveries()) == given[:2:-1]
    assert await journal.counts() == {"a": Counts(2, 3, 1)}
    assert await journal.purge("dead", before=1.0) == 1
    assert await journal.purge("delivered") == 0


async def test_an_append_beyond_max_pending_stores_nothing(journal: Journal) -> None:
    (first, *_) = await journal.append(envelope(1), [("a", None)] * 998)
    with pytest.raises(JournalFullError, match="max_pending is 1000") as caught:
        await journal.append(envelope(2), [("a", None)] * 3)
    assert (caught.value.limit, caught.value.pending) == (1000, 998)
    await journal.append(envelope(3), [("a", None)] * 2)
    with pytest.raises(JournalFullError):
        journal.append_nowait(envelope(4), [("a", None)])
    journal.settle(first, attempts=1, outcome=FINE, at=5.0)
    await journal.flush()
    await journal.append(envelope(5), [("a", None)])
    assert journal.pending_total == journal.max_pending == 1000
    assert {row.envelope.id for row in await journal.lease("a", limit=9999, until=0)} == {
        "event-1",
        "event-3",
        "event-5",
    }


async def test_an_event_without_targets_is_refused(journal: Journal) -> None:
    with pytest.raises(ConfigError, match="targets"):
        journal.append_nowait(envelope(1), [])


async def test_webhooks_are_remembered_with_their_state(journal: Journal) -> None:
    await journal.append(envelope(7), [("a", None)])
    state: dict[str, Any] = {"disabled": True, "until": 1.5}
    journal.save_state("b", state)
    state["disabled"] = False
    journal.touch(["a", "c"], 9.0)
    journal.touch(["a"], 8.0)
    assert await journal.load_states() == {
        "a": KnownWebhook(9.0, None),
        "b": KnownWebhook(0.0, {"disabled": True, "until": 1.5}),
        "c": KnownWebhook(9.0, None),
    }
    journal.save_state("b", None)
    assert (await journal.load_states())["b"] == KnownWebhook(0.0, None)


async def test_a_message_that_utf8_cannot_carry_is_kept_escaped(journal: Journal) -> None:
    (seq,) = await journal.append(envelope(1), [("a", None)])
    outcome = StoredOutcome(None, "OSError", "é \udcff")
    journal.bury(seq, "rejected", attempts=1, outcome=outcome, at=1.0)
    (letter,) = await journal.dead_letters()
    assert letter.outcome == StoredOutcome(None, "OSError", "é \\udcff")


async def test_a_key_that_utf8_cannot_carry_is_refused(journal: Journal) -> None:
    with pytest.raises(PayloadError, match="surrogate"):
        journal.append_nowait(envelope(1), [("a", "é"), ("a", "\ud800")])
    assert journal.pending_total == 0


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_journal_that_is_not_open_refuses_everything(kind: str, path: Path) -> None:
    journal: Journal = MemoryJournal() if kind == "memory" else SQLiteJournal(path)
    with pytest.raises(JournalClosedError, match="open"):
        await journal.append(envelope(1), [("a", None)])
    await journal.open()
    with pytest.raises(JournalClosedError):
        await journal.open()
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(JournalClosedError, match="make a new one"):
        journal.append_nowait(envelope(1), [("a", None)])
    with pytest.raises(JournalClosedError):
        journal.settle(1, attempts=1, outcome=None, at=1.0)
    with pytest.raises(JournalClosedError):
        await journal.counts()
    never: Journal = MemoryJournal() if kind == "memory" else SQLiteJournal(path)
    await never.aclose()
    with pytest.raises(JournalClosedError):
        await never.open()


@pytest.mark.parametrize("bound", [0, -1, 1.5])
@pytest.mark.parametrize("kind", [MemoryJournal, SQLiteJournal])
def test_a_bound_that_cannot_work_is_refused(kind: Any, bound: Any) -> None:
    with pytest.raises(ConfigError, match="max_pending"):
        kind(*(["x.db"] if kind is SQLiteJournal else []), max_pending=bound)


async def test_what_is_stored_as_dead_is_never_pending(journal: Journal) -> None:
    (seq,) = await journal.append(envelope(1), [("a", "k")])
    first, second = await journal.append_nowait(
        envelope(2), [("a", "k"), ("b", None)], dead="overflow"
    )
    assert journal.pending_total == 1
    assert seqs(await journal.lease("a", limit=9, until=0)) == [seq]
    rows = await journal.dead_letters()
    assert [(row.seq, row.webhook_id, row.reason, row.at) for row in rows] == [
        (first, "a", "overflow", 2.0),
        (second, "b", "overflow", 2.0),
    ]
    assert await journal.counts() == {"a": Counts(1, 0, 1), "b": Counts(0, 0, 1)}
    journal.settle(second, attempts=1, outcome=FINE, at=3.0)
    await journal.flush()
    assert journal.pending_total == 1


async def test_dead_letters_may_be_stored_where_no_more_may_be_pending(journal: Journal) -> None:
    await journal.append(envelope(1), [("a", None)] * 1000)
    with pytest.raises(JournalFullError):
        journal.append_nowait(envelope(2), [("a", None)])
    await journal.append_nowait(envelope(2), [("a", None)], dead="overflow")
    assert journal.pending_total == 1000
    assert len(await journal.dead_letters()) == 1


async def test_the_last_number_is_known_before_it_is_written(journal: Journal) -> None:
    before = journal.last_seq
    future = journal.append_nowait(envelope(1), [("a", None), ("b", None)])
    assert journal.last_seq == before + 2
    assert list(await future) == [before + 1, before + 2]


async def test_the_policy_for_overflow_is_for_the_dispatcher_to_read(
    journal: Journal, path: Path
) -> None:
    assert journal.overflow == "wait"
    assert MemoryJournal(overflow="drop_oldest").overflow == "drop_oldest"
    assert SQLiteJournal(path, overflow="raise").overflow == "raise"
    with pytest.raises(ConfigError, match="overflow='drop'"):
        MemoryJournal(overflow="drop")  # type: ignore[arg-type]
