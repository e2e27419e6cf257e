"""Parts are opened and closed in order, and nothing stays open after an error on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import KEY, soon, turns, until

from relaybox_hooks import (
    CloseReport,
    Event,
    Hooks,
    HooksClosedError,
    Observer,
    RelayboxHooksError,
    Stats,
    Webhook,
)
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.journal import Grant, JournalLockedError, LaneHead, SQLiteJournal
from relaybox_hooks.testing import MemoryJournal

NOTHING = CloseReport(0, 0, 0, {}, "drained")


async def busy(hooks: Hooks, name: str) -> None:
    """Wait until a target is handling an event."""
    await until(lambda: bool(hooks.stats().targets[name].in_flight))


class Notes(Observer):
    """Notes what happens, with the state and the HTTP session of the moment."""

    def __init__(self) -> None:
        self.hooks: Hooks | None = None
        self.notes: list[tuple[str, str, str]] = []

    def note(self, what: str) -> None:
        assert self.hooks is not None
        runtime = parts_of(self.hooks).runtime
        session = "no session"
        if hasattr(runtime, "session"):
            session = "session closed" if runtime.session.closed else "session open"
        self.notes.append((what, runtime.state, session))

    def started(self, stats: Callable[[], Stats]) -> None:
        self.note("started")

    def dropped(self, target: str, event_id: str, name: str, reason: str) -> None:
        self.note(f"dropped: {reason}")

    def closed(self, report: CloseReport) -> None:
        self.note("closed")


class NotedJournal(MemoryJournal):
    """A journal that notes what is asked of it, and may wait or fail while it is opened."""

    def __init__(self, notes: Notes, *, failing: str = "") -> None:
        super().__init__()
        self.notes = notes
        self.failing_at = failing
        self.opening = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def open(self) -> None:
        self.opening.set()
        await self.go_on.wait()
        self._note("journal opened")
        await super().open()

    async def lanes(self, grant: Grant) -> list[LaneHead]:
        self._note("lanes read")
        return await super().lanes(grant)

    def touch(self, webhook_ids: Any, at: float) -> None:
        self._note(f"taken over: {', '.join(webhook_ids)}")
        super().touch(webhook_ids, at)

    async def flush(self) -> None:
        self._note("journal flushed")
        await super().flush()

    async def aclose(self) -> None:
        self._note("journal closed")
        await super().aclose()

    def _note(self, what: str) -> None:
        self.notes.note(what)
        if what == self.failing_at:
            raise OSError(what)


def noted(**options: Any) -> tuple[Hooks, Notes, NotedJournal]:
    """Hooks with a webhook that is never sent anything, whose parts note what happens."""
    notes = Notes()
    journal = NotedJournal(notes, **options)
    webhook = Webhook("http://127.0.0.1/", ["room:leave"], KEY, id="crm")
    hooks: Hooks = Hooks([webhook], journal=journal, observers=[notes], logging=False)
    notes.hooks = hooks
    return hooks, notes, journal


# Starting


async def test_the_parts_are_opened_from_the_ground_up() -> None:
    """Observers learn of it last: from then on events are accepted."""
    hooks, notes, _ = noted()
    await hooks.start()
    assert notes.notes == [
        ("journal opened", "new", "no session"),
        ("lanes read", "new", "no session"),
        ("taken over: crm", "new", "session open"),
        ("started", "open", "session open"),
    ]
    await hooks.aclose()


@pytest.mark.parametrize("failing", ["journal opened", "lanes read"])
async def test_an_error_while_the_journal_is_opened_leaves_nothing_open(failing: str) -> None:
    hooks, notes, journal = noted(failing=failing)
    with pytest.raises(OSError, match=failing):
        await hooks.start()
    assert repr(hooks).startswith("<Hooks new")
    assert {session for _, _, session in notes.notes} == {"no session"}
    assert not hasattr(parts_of(hooks).runtime, "session")
    # What was opened before the error is closed again.
    assert (notes.notes[-1][0] == "journal closed") is (failing == "lanes read")
    assert "open:" not in repr(journal)
    assert await hooks.aclose() == NOTHING


async def test_a_journal_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "hooks.db"
    async with SQLiteJournal(path):
        hooks: Hooks = Hooks(journal=SQLiteJournal(path))
        with pytest.raises(JournalLockedError, match="it is open elsewhere"):
            await hooks.start()
        assert repr(hooks).startswith("<Hooks new")
        assert not hasattr(parts_of(hooks).runtime, "session")


async def test_closed_while_starting_the_start_fails_and_nothing_stays_open() -> None:
    hooks, notes, journal = noted()
    journal.go_on.clear()
    starting = asyncio.create_task(hooks.start())
    await soon(journal.opening.wait())
    assert await soon(hooks.aclose()) == NOTHING
    journal.go_on.set()
    with pytest.raises(HooksClosedError) as caught:
        await soon(starting)
    assert caught.value.state == "closed"
    assert notes.notes == [
        ("journal opened", "closed", "no session"),
        ("lanes read", "closed", "no session"),
        ("journal closed", "closed", "no session"),
    ]


async def test_closed_while_starting_the_file_of_the_journal_is_released(tmp_path: Path) -> None:
    path = tmp_path / "hooks.db"
    hooks: Hooks = Hooks(journal=SQLiteJournal(path))
    starting = asyncio.ensure_future(hooks.start())
    await asyncio.sleep(0)
    await hooks.aclose()
    with pytest.raises(HooksClosedError):
        await soon(starting)
    async with SQLiteJournal(path):
        pass


async def test_a_start_that_is_cancelled_leaves_nothing_open() -> None:
    hooks, notes, journal = noted()
    journal.go_on.clear()
    starting = asyncio.create_task(hooks.start())
    await soon(journal.opening.wait())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(starting)
    assert (notes.notes, repr(hooks)[:10]) == ([], "<Hooks new")
    assert await hooks.aclose() == NOTHING


async def test_starts_at_the_same_time_open_the_parts_once() -> None:
    hooks, notes, journal = noted()
    journal.go_on.clear()
    starts = [asyncio.create_task(hooks.start()) for _ in range(2)]
    await soon(journal.opening.wait())
    await turns()
    journal.go_on.set()
    await soon(asyncio.gather(*starts))
    assert [what for what, _, _ in notes.notes].count("journal opened") == 1
    assert [what for what, _, _ in notes.notes].count("started") == 1
    await hooks.aclose()


async def test_starting_twice_is_harmless() -> None:
    hooks: Hooks = Hooks()
    await hooks.start()
    session = parts_of(hooks).runtime.session
    async with hooks:
        assert parts_of(hooks).runtime.session is session
    assert session.closed


async def test_what_is_closed_does_not_start_again() -> None:
    hooks: Hooks = Hooks()
    async with hooks:
        pass
    with pytest.raises(HooksClosedError, match="Hooks instance is closed"):
        await hooks.start()
    with pytest.raises(HooksClosedError):
        async with hooks:
            pytest.fail("entered")


async def test_start_in_a_second_event_loop_is_refused() -> None:
    async with Hooks() as hooks:

        def elsewhere() -> None:
            asyncio.run(hooks.start())

        with pytest.raises(RelayboxHooksError, match="open in another event loop"):
            await asyncio.to_thread(elsewhere)


# Closing


async def test_the_parts_are_closed_in_the_reverse_order_and_observers_told_last() -> None:
    """Emits that wait for room go first, for room made later must not let them in."""
    hooks, notes, _ = noted()

    async def endless(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            notes.note("worker cancelled")

    hooks.add_subscriber("room:join", endless, name="endless", queue_size=1)
    await hooks.start()
    await hooks.emit("room:join", {"roomId": "r"})
    waiting = asyncio.create_task(hooks.emit("room:join", {"roomId": "r"}))
    await busy(hooks, "endless")
    await turns()  # the first round of retention is over
    notes.notes.clear()
    report = await soon(hooks.aclose(timeout=0))
    assert (report.left, (await waiting).dropped) == (1, 1)
    assert notes.notes == [
        ("dropped: shutdown", "closing", "session open"),
        ("worker cancelled", "closing", "session open"),
        ("journal flushed", "closing", "session open"),
        ("journal closed", "closing", "session open"),
        ("closed", "closed", "session closed"),
    ]
