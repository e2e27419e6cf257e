"""Questions to the file: in their place among the writes, and in slices."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest
from support.journals import Observed, envelope

from relaybox_hooks.journal.sqlite.rows import Store


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
