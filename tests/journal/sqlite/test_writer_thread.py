"""What waits at the same time shares a transaction, in order, and is done no earlier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from support.journals import Observed, delivered, envelope, retry_at

from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.journal.sqlite import writer_thread


async def test_appends_that_wait_together_share_a_transaction(observed: Observed) -> None:
    go_on = await observed.hold_up()
    futures = [observed.journal.append_nowait(envelope(n), [("a", None)]) for n in range(500)]
    assert not any(future.done() for future in futures)
    go_on()
    given = [(await future)[0] for future in futures]
    assert given == list(range(1, 501))
    assert len(observed.commits) == 1
    await observed.task


async def test_changes_join_the_transaction_of_the_next_appends(observed: Observed) -> None:
    journal = observed.journal
    given = await journal.append_nowait(envelope(0), [("a", None)] * 200)
    go_on = await observed.hold_up()
    for seq in given:
        retry_at(journal, 9.0, seq)
        delivered(journal, seq, attempts=2)
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
        futures = [
            journal.append_nowait(envelope(n, size=size), [("a", None)]) for n in range(number)
        ]
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
    assert len(woken) == 2  # the transaction, and the query that held it up


async def test_checkpoints_keep_the_log_short(
    path: Path, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_thread, "_CHECKPOINT_PAGES", 50)
    for number in range(100):
        await observed.journal.append_nowait(envelope(number, size=20_000), [("a", None)])
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
        assert again.backlog().pending == 1
