"""What waits at the same time shares a transaction, in order, and nobody is told too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Event

import apsw
import pytest

from relaybox_hooks.journal import JournalError, SQLiteJournal, StoredOutcome
from relaybox_hooks.journal.sqlite import writer_thread as writer
from relaybox_hooks.journal.sqlite.queries import Steps
from relaybox_hooks.journal.sqlite.rows import Store
from relaybox_hooks.journal.sqlite.schema import Durability, connect
from relaybox_hooks.wire.envelope import Envelope


class Observed:
    """A journal whose commits are counted, and whose thread can be held up."""

    def __init__(self, journal: SQLiteJournal, commits: list[int]) -> None:
        self.journal = journal
        self.commits = commits

    async def hold_up(self) -> Callable[[], None]:
        """Stop the thread between two transactions, until the returned function is called."""
        reached = asyncio.Event()
        go_on = Event()
        loop = asyncio.get_running_loop()

        def wait(store: Store) -> Steps[None]:
            loop.call_soon_threadsafe(reached.set)
            go_on.wait()
            yield

        self.task = loop.create_task(self.journal._ask(wait))
        await reached.wait()
        self.commits.clear()
        return go_on.set


@pytest.fixture
async def observed(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Observed]:
    commits: list[int] = []

    def connect_and_count(path: str, durability: Durability) -> apsw.Connection:
        connection = connect(path, durability)

        def commit() -> bool:
            commits.append(connection.total_changes())
            return False

        connection.set_commit_hook(commit)
        return connection

    monkeypatch.setattr(writer, "connect", connect_and_count)
    async with SQLiteJournal(path) as journal:
        yield Observed(journal, commits)


def envelope(number: int, size: int = 0) -> Envelope:
    return Envelope(f"event-{number}", "room:join", b"1" * size, float(number))


async def test_appends_that_wait_together_share_a_transaction(observed: Observed) -> None:
    go_on = await observed.hold_up()
    futures = [observed.journal.append_nowait(envelope(n), [("a", None)]) for n in range(500)]
    assert not any(future.done() for future in futures)
    go_on()
    given = [(await future)[0] for future in futures]
    assert given == list(range(1, 501))
    assert len(observed.commits) == 1
    await observed.task


async def test_settling_joins_the_transaction_of_the_next_appends(observed: Observed) -> None:
    journal = observed.journal
    given = await journal.append(envelope(0), [("a", None)] * 200)
    go_on = await observed.hold_up()
    for seq in given:
        journal.reschedule(seq, attempts=1, due=9.0, outcome=StoredOutcome(500, None, ""))
        journal.settle(seq, attempts=2, outcome=StoredOutcome(200, None, ""), at=10.0)
    journal.save_state("a", {"failures": 1})
    last = journal.append_nowait(envelope(1), [("a", None)])
    go_on()
    await last
    assert len(observed.commits) == 1
    assert (await journal.counts())["a"] == (1, 200, 0)
    await observed.task


async def test_a_transaction_is_bounded_in_deliveries_and_in_bytes(observed: Observed) -> None:
    journal = observed.journal
    for size, number, commits in ((0, 2500, 3), (1 << 20, 20, 3)):
        go_on = await observed.hold_up()
        futures = [journal.append_nowait(envelope(n, size), [("a", None)]) for n in range(number)]
        go_on()
        await asyncio.gather(*futures)
        assert len(observed.commits) == commits
        await observed.task


async def test_the_loop_is_woken_once_for_a_transaction(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    go_on = await observed.hold_up()
    woken: list[object] = []
    call = loop.call_soon_threadsafe

    def counted(callback: Callable[..., object], *arguments: object) -> asyncio.Handle:
        woken.append(callback)
        return call(callback, *arguments)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    futures = [observed.journal.append_nowait(envelope(n), [("a", None)]) for n in range(100)]
    go_on()
    await asyncio.gather(*futures)
    await observed.task
    assert len(woken) == 2  # the transaction, and the question that held it up


async def test_a_question_sees_what_was_queued_before_it(observed: Observed) -> None:
    journal = observed.journal
    go_on = await observed.hold_up()
    futures = [journal.append_nowait(envelope(n), [("a", None)]) for n in range(1500)]
    asked = asyncio.ensure_future(journal.lease("a", limit=9999, until=0))
    go_on()
    assert len(await asked) == 1500
    assert all(future.done() for future in futures)
    await observed.task


async def test_commits_go_between_the_slices_of_a_purge(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is appended while the first slice is purged is stored before the second."""
    journal, loop = observed.journal, asyncio.get_running_loop()
    for seq in await journal.append(envelope(0), [("a", None)] * 1200):
        journal.settle(seq, attempts=1, outcome=None, at=1.0)
    forget, sliced, go_on = Store.forget, asyncio.Event(), Event()

    def forget_and_wait(store: Store, state: int, before: float, excess: int, limit: int) -> int:
        gone = forget(store, state, before, excess, limit)
        loop.call_soon_threadsafe(sliced.set)
        go_on.wait()
        return gone

    monkeypatch.setattr(Store, "forget", forget_and_wait)
    ended: list[str] = []
    purged = asyncio.ensure_future(journal.purge("delivered", keep=0))
    purged.add_done_callback(lambda _: ended.append("purge"))
    await sliced.wait()
    appended = journal.append_nowait(envelope(1), [("b", None)])
    appended.add_done_callback(lambda _: ended.append("append"))
    go_on.set()
    assert await purged == 1200
    assert ended == ["append", "purge"]


async def test_an_emitter_that_gave_up_holds_nobody_up(observed: Observed) -> None:
    go_on = await observed.hold_up()
    impatient = asyncio.ensure_future(observed.journal.append(envelope(1), [("a", None)]))
    patient = asyncio.ensure_future(observed.journal.append(envelope(2), [("a", None)]))
    question = asyncio.ensure_future(observed.journal.counts())
    await asyncio.sleep(0)
    impatient.cancel()
    question.cancel()
    go_on()
    assert list(await patient) == [2]
    assert observed.journal.pending_total == 2
    await observed.task


async def test_a_change_that_cannot_be_stored_turns_no_append_away(
    observed: Observed,
) -> None:
    journal = observed.journal
    (seq,) = await journal.append(envelope(1), [("a", None)])
    journal.settle(seq, attempts=2**70, outcome=None, at=1.0)
    with pytest.raises(JournalError, match="cannot be stored"):
        await journal.flush()
    await journal.append(envelope(2), [("a", None)])
    assert "cannot be stored" in str(journal.failing)
    journal.settle(seq, attempts=1, outcome=None, at=1.0)
    await journal.flush()
    assert journal.failing is None
    assert journal.pending_total == 1


async def test_checkpoints_keep_the_log_short(
    path: Path, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_CHECKPOINT_PAGES", 50)
    for number in range(100):
        await observed.journal.append(envelope(number, 20_000), [("a", None)])
    await observed.journal.flush()
    assert path.with_name("hooks.db-wal").stat().st_size < 75 * 4096


async def test_closing_writes_and_answers_what_is_queued(path: Path, observed: Observed) -> None:
    go_on = await observed.hold_up()
    journal = observed.journal
    future = journal.append_nowait(envelope(1), [("a", None)])
    asked = asyncio.ensure_future(journal.counts())
    await asyncio.sleep(0)
    closing = [asyncio.ensure_future(journal.aclose()) for _ in range(2)]
    await asyncio.sleep(0)
    closing[0].cancel()
    go_on()
    await closing[1]
    assert list(await future) == [1]
    assert (await asked)["a"].pending == 1
    await observed.task
    async with SQLiteJournal(path) as again:
        assert again.pending_total == 1
