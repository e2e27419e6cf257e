"""The contract of every journal."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.journals import (
    BUSY,
    FINE,
    REFUSED,
    dead,
    delivered,
    envelope,
    make_journal,
    pending,
    retry_at,
)

from relaybox_hooks.errors import ConfigError, PayloadError
from relaybox_hooks.journal import (
    PERMANENT,
    Backlog,
    Change,
    Counts,
    Journal,
    JournalClosedError,
    LaneHead,
    SQLiteJournal,
    StoredDelivery,
    StoredOutcome,
)
from relaybox_hooks.testing import MemoryJournal


def seqs(rows: list[StoredDelivery]) -> list[int]:
    return [row.seq for row in rows]


# Emitting


async def test_an_appended_event_is_read_as_it_was(journal: Journal) -> None:
    targets = [("a", "k"), ("b", None)]
    first, second = await journal.append_nowait(envelope(1, size=9), targets)
    (row,) = await pending(journal)
    assert row == StoredDelivery(first, "a", "k", row.envelope, "pending", 0, 1.0, None, None, None)
    assert (row.envelope.id, row.envelope.name) == ("event-1", "room:join")
    assert (row.envelope.prefix, row.envelope.time) == (b'{"data":111111111', 1.0)
    assert seqs(await pending(journal, "b")) == [second]


async def test_numbers_follow_the_order_of_the_calls(journal: Journal) -> None:
    done: list[int] = []
    futures = [journal.append_nowait(envelope(n), [("a", None), ("b", None)]) for n in range(50)]
    for number, future in enumerate(futures):
        future.add_done_callback(partial(lambda number, _: done.append(number), number))
    given = [seq for future in futures for seq in await future]
    await asyncio.sleep(0)
    assert given == sorted(set(given))
    assert done == list(range(50))
    rows = await pending(journal, "b")
    assert [row.envelope.id for row in rows] == [f"event-{n}" for n in range(50)]


async def test_what_is_stored_as_dead_is_never_pending(journal: Journal) -> None:
    (seq,) = await journal.append_nowait(envelope(1), [("a", "k")])
    first, second = await journal.append_nowait(
        envelope(2), [("a", "k"), ("b", None)], dead="overflow"
    )
    assert journal.backlog().pending == 1
    assert seqs(await pending(journal)) == [seq]
    rows = await journal.dead_letters()
    assert [(row.seq, row.webhook_id, row.reason, row.at) for row in rows] == [
        (first, "a", "overflow", 2.0),
        (second, "b", "overflow", 2.0),
    ]
    assert await journal.counts() == {"a": Counts(1, 0, 1), "b": Counts(0, 0, 1)}
    delivered(journal, second, before="dead")
    await journal.flush()
    assert await journal.counts() == {"a": Counts(1, 0, 1), "b": Counts(0, 1, 0)}
    assert journal.backlog().pending == 1


async def test_an_event_without_targets_is_rejected(journal: Journal) -> None:
    with pytest.raises(ConfigError, match="targets"):
        journal.append_nowait(envelope(1), [])
    assert journal.backlog() == (0, 0)


async def test_a_key_that_utf8_cannot_carry_is_rejected(journal: Journal) -> None:
    with pytest.raises(PayloadError, match="surrogate"):
        journal.append_nowait(envelope(1), [("a", "é"), ("a", "\ud800")])
    assert journal.backlog() == (0, 0)


# The backlog


async def test_an_append_is_in_the_backlog_at_once(journal: Journal) -> None:
    """Before it is written, so that no two emits take the same room."""
    assert journal.backlog() == Backlog(pending=0, last_seq=0)
    future = journal.append_nowait(envelope(1), [("a", None), ("b", None)])
    assert journal.backlog() == Backlog(pending=2, last_seq=2)
    rejected = journal.append_nowait(envelope(2), [("a", None)], dead="overflow")
    assert journal.backlog() == Backlog(pending=2, last_seq=3)
    assert [*await future, *await rejected] == [1, 2, 3]
    assert journal.backlog() == Backlog(pending=2, last_seq=3)


async def test_a_change_is_in_the_backlog_at_once(journal: Journal) -> None:
    a, b, c = await journal.append_nowait(envelope(1), [("w", None)] * 3)
    retry_at(journal, 9.0, a)
    assert journal.backlog().pending == 3
    delivered(journal, b)
    assert journal.backlog().pending == 2
    dead(journal, a, c)
    assert journal.backlog().pending == 0
    delivered(journal, a, before="dead")
    dead(journal, c, before="dead", attempts=2)
    assert journal.backlog().pending == 0
    retry_at(journal, 9.0, c, before="dead")
    assert journal.backlog().pending == 1
    await journal.flush()
    assert journal.backlog() == Backlog(pending=1, last_seq=3)
    assert await journal.counts() == {"w": Counts(1, 2, 0)}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_bound_and_the_policy_are_for_the_caller_to_enforce(
    kind: str, path: Path
) -> None:
    journal = make_journal(kind, path, max_pending=2, overflow="raise")
    await journal.open()
    assert (journal.max_pending, journal.overflow) == (2, "raise")
    await journal.append_nowait(envelope(1), [("a", None)] * 3)
    assert journal.backlog().pending == len(await pending(journal)) == 3
    await journal.aclose()


# Delivering


async def test_reading_goes_on_after_a_seq_for_one_key_or_without_some(journal: Journal) -> None:
    keys = ["x", "y", None, "z", "x", "y", None, "x"]
    given: list[int] = []
    for number, key in enumerate(keys):
        given += await journal.append_nowait(envelope(number), [("a", key)])

    async def places(**options: Any) -> list[int]:
        return [given.index(row.seq) for row in await pending(journal, **options)]

    assert await places() == list(range(8))
    assert await places(limit=3) == [0, 1, 2]
    assert await places(limit=3, after=given[2]) == [3, 4, 5]
    assert await places(key="x") == [0, 4, 7]
    assert await places(key="x", after=given[0], limit=1) == [4]
    assert await places(skip_keys={"x", "y"}) == [2, 3, 6]
    assert await places(skip_keys={"x", "y"}, after=given[2], limit=2) == [3, 6]
    assert await places(key="unknown") == []
    assert await pending(journal, "unknown") == []


async def test_what_is_read_is_bounded_in_bytes_but_for_one_delivery(journal: Journal) -> None:
    given: list[int] = []
    for number, (key, size) in enumerate(zip("xyxyz", (92, 2, 2, 292, 0), strict=True)):
        given += await journal.append_nowait(envelope(number, size=size), [("a", key)])

    async def places(**options: Any) -> list[int]:
        return [given.index(row.seq) for row in await pending(journal, **options)]

    assert await places(max_bytes=1) == [0]
    assert await places(max_bytes=100) == [0]
    assert await places(max_bytes=101) == [0, 1]
    assert await places(max_bytes=121) == [0, 1, 2, 3]
    assert await places(max_bytes=121, limit=3) == [0, 1, 2]
    assert await places(max_bytes=10, after=given[0]) == [1]
    assert await places(max_bytes=101, key="x") == [0, 2]
    assert await places(max_bytes=15, skip_keys={"x"}) == [1, 3]


async def test_a_delivery_is_read_again_until_it_is_settled(journal: Journal) -> None:
    """Due or not: whoever delivers it keeps the time."""
    (seq,) = await journal.append_nowait(envelope(1), [("a", None)])
    assert seqs(await pending(journal)) == [seq]
    retry_at(journal, 1e10, seq)
    assert seqs(await pending(journal)) == [seq]


async def test_delivered_and_dead_deliveries_are_not_read(journal: Journal) -> None:
    a, b, c = await journal.append_nowait(envelope(1), [("w", "k")] * 3)
    journal.commit(
        PERMANENT,
        (
            Change(a, "delivered", 1, FINE, 5.0),
            Change(b, "dead", 1, StoredOutcome(404, None, ""), 6.0, "rejected"),
            Change(c, "pending", 2, BUSY, 99.0),
        ),
    )
    (row,) = await pending(journal, "w")
    assert (row.seq, row.attempts, row.due, row.outcome) == (c, 2, 99.0, BUSY)
    assert await journal.counts() == {"w": Counts(1, 1, 1)}


async def test_a_replay_settles_or_updates_a_dead_letter(journal: Journal) -> None:
    a, b = await journal.append_nowait(envelope(1), [("v", None), ("w", None)])
    dead(journal, a, b, attempts=10, outcome=REFUSED)
    letters = await journal.dead_letters()
    assert seqs(letters) == [a, b]
    assert letters[0].envelope.prefix == b'{"data":'
    delivered(journal, a, attempts=11, at=7.0, before="dead")
    dead(journal, b, reason="rejected", attempts=11, at=8.0, before="dead")
    (letter,) = await journal.dead_letters()
    assert letter[5:] == (11, 1.0, BUSY, "rejected", 8.0)
    (row,) = await journal.deliveries(status="delivered")
    assert (row.seq, *row[4:]) == (a, "delivered", 11, 1.0, FINE, None, 7.0)
    assert journal.backlog().pending == 0


async def test_a_dead_letter_can_be_pending_again(journal: Journal) -> None:
    a, b, c = await journal.append_nowait(envelope(1), [("w", "k")] * 3)
    dead(journal, b, reason="disabled", attempts=0, outcome=None)
    retry_at(journal, 6.0, b, attempts=0, outcome=None, before="dead")
    assert seqs(await pending(journal, "w")) == [a, b, c]
    assert seqs(await pending(journal, "w", key="k")) == [a, b, c]
    assert await journal.dead_letters() == []
    assert journal.backlog().pending == 3


async def test_a_change_of_a_purged_delivery_changes_nothing(journal: Journal) -> None:
    (a,) = await journal.append_nowait(envelope(1), [("w", None)])
    delivered(journal, a)
    assert await journal.purge("delivered", keep=0) == 1
    retry_at(journal, 9.0, a, attempts=2)
    await journal.flush()
    assert journal.backlog().pending == 0
    assert await journal.deliveries() == []


async def test_a_message_that_utf8_cannot_carry_is_kept_escaped(journal: Journal) -> None:
    (seq,) = await journal.append_nowait(envelope(1), [("a", None)])
    dead(journal, seq, outcome=StoredOutcome(None, "OSError", "é \udcff"))
    (letter,) = await journal.dead_letters()
    assert letter.outcome == StoredOutcome(None, "OSError", "é \\udcff")


async def test_lanes_have_their_backlog_and_their_state(journal: Journal) -> None:
    first, _ = await journal.append_nowait(envelope(7), [("a", None)] * 2)
    delivered(journal, first)
    state: dict[str, Any] = {"disabled": True, "until": 1.5}
    journal.save_state("b", state)
    state["disabled"] = False
    journal.touch(["a", "c"], 9.0)
    journal.touch(["a"], 8.0)
    heads = await journal.lanes(PERMANENT)
    assert sorted(heads) == [
        LaneHead("a", 1, 9.0, None),
        LaneHead("b", 0, 0.0, {"disabled": True, "until": 1.5}),
        LaneHead("c", 0, 9.0, None),
    ]
    journal.save_state("b", None)
    assert LaneHead("b", 0, 0.0, None) in await journal.lanes(PERMANENT)


# Looking


async def test_dead_letters_are_found_by_everything_they_have(journal: Journal) -> None:
    for n in range(4):
        name = "room:join" if n % 2 else "room:leave"
        given = await journal.append_nowait(envelope(n, name), [("a", None), ("b", None)])
        dead(journal, *given, reason="expired" if n == 3 else "removed", at=10.0 - n)

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
        (seq,) = await journal.append_nowait(envelope(n), [("a" if n < 4 else "b", None)])
        if n % 2:
            delivered(journal, seq, at=50.0)
    rows = await journal.deliveries(limit=4)
    assert [row.envelope.time for row in rows] == [5.0, 4.0, 3.0, 2.0]
    rest = await journal.deliveries(before=rows[-1].seq)
    assert [row.envelope.time for row in rest] == [1.0, 0.0]
    rows = await journal.deliveries(webhook_id="a", status="delivered", since=1.0, until=3.0)
    assert [row.envelope.time for row in rows] == [1.0]
    assert [row.state for row in await journal.deliveries(event_id="event-4")] == ["pending"]
    assert await journal.deliveries(event="room:leave") == []


async def test_purging_deletes_by_age_and_by_count_and_only_what_is_settled(
    journal: Journal,
) -> None:
    given: list[int] = []
    for number in range(9):
        given += await journal.append_nowait(envelope(number), [("a", None)])
    for place, seq in enumerate(given[:6]):
        delivered(journal, seq, at=float(place))
    dead(journal, given[6], reason="removed", attempts=0, outcome=None, at=0.0)
    assert await journal.purge("delivered", before=2.0) == 2
    assert await journal.purge("delivered", keep=3) == 1
    assert seqs(await journal.deliveries()) == given[:2:-1]
    assert await journal.counts() == {"a": Counts(2, 3, 1)}
    assert await journal.purge("dead", before=1.0) == 1
    assert await journal.purge("delivered") == 0
    assert journal.backlog() == (2, given[-1])


# Options and lifecycle


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_journal_that_is_not_open_takes_nothing(kind: str, path: Path) -> None:
    journal = make_journal(kind, path)
    with pytest.raises(JournalClosedError, match="open"):
        journal.append_nowait(envelope(1), [("a", None)])
    await journal.open()
    with pytest.raises(JournalClosedError):
        await journal.open()
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(JournalClosedError, match="make a new one"):
        journal.append_nowait(envelope(1), [("a", None)])
    with pytest.raises(JournalClosedError):
        delivered(journal, 1)
    with pytest.raises(JournalClosedError):
        await journal.counts()
    never = make_journal(kind, path)
    await never.aclose()
    with pytest.raises(JournalClosedError):
        await never.open()


@pytest.mark.parametrize("bound", [0, -1, 1.5])
@pytest.mark.parametrize("kind", [MemoryJournal, SQLiteJournal])
def test_a_bound_that_cannot_work_is_rejected(kind: Any, bound: Any) -> None:
    with pytest.raises(ConfigError, match="max_pending"):
        kind(*(["x.db"] if kind is SQLiteJournal else []), max_pending=bound)


def test_a_policy_that_does_not_exist_is_rejected(path: Path) -> None:
    with pytest.raises(ConfigError, match="overflow='drop'"):
        MemoryJournal(overflow="drop")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="overflow='drop'"):
        SQLiteJournal(path, overflow="drop")  # type: ignore[arg-type]
    assert MemoryJournal().overflow == SQLiteJournal(path).overflow == "wait"


def test_a_journal_says_which_file_it_is_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MemoryJournal().path is None
    monkeypatch.chdir(path.parent)
    assert SQLiteJournal(path.name).path == str(path)


async def test_an_append_is_done_before_a_read_shows_it(journal: Journal) -> None:
    """A lane relies on it: what it reads and has not been handed yet is on its way to it."""
    for number in range(50):
        future = journal.append_nowait(envelope(number), [("a", None)])
        rows = await pending(journal)
        assert future.done() or len(rows) == number
        assert list(await future) == [number + 1]
