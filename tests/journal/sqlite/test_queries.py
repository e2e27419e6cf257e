"""Queries of the file: in their place among the writes, and in slices."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest
from support.journals import Observed, delivered, envelope, pending

from relaybox_hooks.journal.sqlite.rows import Store


async def test_a_query_sees_what_was_queued_before_it(observed: Observed) -> None:
    journal = observed.journal
    go_on = await observed.hold_up()
    futures = [journal.append_nowait(envelope(n), [("a", None)]) for n in range(1500)]
    asked = asyncio.ensure_future(pending(journal))
    go_on()
    assert len(await asked) == 1500
    assert all(future.done() for future in futures)
    await observed.task


async def test_commits_go_between_the_slices_of_a_purge(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is appended while the first slice is purged is stored before the second."""
    journal, loop = observed.journal, asyncio.get_running_loop()
    delivered(journal, *await journal.append_nowait(envelope(0), [("a", None)] * 1200))
    delete, sliced, go_on = Store.delete_settled, asyncio.Event(), Event()

    def delete_and_wait(store: Store, state: int, before: float, excess: int, limit: int) -> int:
        gone = delete(store, state, before, excess, limit)
        loop.call_soon_threadsafe(sliced.set)
        go_on.wait()
        return gone

    monkeypatch.setattr(Store, "delete_settled", delete_and_wait)
    ended: list[str] = []
    purged = asyncio.ensure_future(journal.purge("delivered", keep=0))
    purged.add_done_callback(lambda _: ended.append("purge"))
    await sliced.wait()
    appended = journal.append_nowait(envelope(1), [("b", None)])
    appended.add_done_callback(lambda _: ended.append("append"))
    go_on.set()
    assert await purged == 1200
    assert ended == ["append", "purge"]
