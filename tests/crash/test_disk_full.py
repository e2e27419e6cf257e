"""No room on a real, small disk: what emit has accepted is kept, and it accepts again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash.child import EVENT, registered
from support.journals import file_size_limit, integrity

from relaybox_hooks import Event, Hooks
from relaybox_hooks.journal import JournalDiskFullError, SQLiteJournal
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, Hold


def hooks_on(journal: SQLiteJournal, receiver: FaultReceiver) -> Hooks[Any]:
    webhooks = registered({"a": {"url": receiver.url}})
    return Hooks(webhooks, custom_events=[EVENT], journal=journal, logging=False)


async def emit_until_refused(hooks: Hooks[Any], accepted: list[str]) -> None:
    while len(accepted) < 1000:
        receipt = await hooks.emit(EVENT, "x" * 20_000)
        accepted.append(receipt.event_id)


async def test_emit_refuses_what_the_disk_has_no_room_for_and_goes_on_when_there_is(
    disk: tuple[Path, Callable[[], object]],
) -> None:
    """What is rejected reaches no target, not even a local subscriber; all else arrives once."""
    directory, make_room = disk
    path, heard = directory / "hooks.db", []
    async with asyncio.timeout(60), FaultReceiver(lambda request: answer) as receiver:
        answer: Any = Hold(Answer(204))
        hooks = hooks_on(SQLiteJournal(path), receiver)

        @hooks.on(EVENT)
        def hear(event: Event[Any]) -> None:
            heard.append(event.id)

        accepted: list[str] = []
        async with hooks:
            with pytest.raises(JournalDiskFullError, match="make room") as caught:
                await emit_until_refused(hooks, accepted)
            assert caught.value.path == str(path)
            assert str(path) in str(caught.value)
            assert 2 < len(accepted) < 30
            refused = await asyncio.gather(
                *(hooks.emit(EVENT, "x" * 20_000) for _ in range(20)),
                return_exceptions=True,
            )
            assert {type(error) for error in refused} == {JournalDiskFullError}
            assert hooks.stats().targets["a"].pending == len(accepted)
            make_room()
            accepted.append((await hooks.emit(EVENT, "x" * 20_000)).event_id)
            answer = Answer(204)
            receiver.release()
            await hooks.join()
            assert [each.event_id for each in receiver.accepted] == accepted
            assert heard == accepted
            log = await hooks.deliveries(status="delivered")
            assert [each.event_id for each in reversed(log)] == accepted
        assert integrity(path) == "ok"


async def test_hooks_that_close_on_a_full_disk_lose_nothing(
    disk: tuple[Path, Callable[[], object]],
) -> None:
    directory, make_room = disk
    path = directory / "hooks.db"
    async with asyncio.timeout(60), FaultReceiver(lambda request: answer) as receiver:
        answer: Any = Hang()
        accepted: list[str] = []
        hooks = hooks_on(SQLiteJournal(path), receiver)
        await hooks.start()
        with pytest.raises(JournalDiskFullError):
            await emit_until_refused(hooks, accepted)
        report = await hooks.aclose(0)
        assert report.targets == {"a": len(accepted)}
        make_room()
        answer = Answer(204)
        async with hooks_on(SQLiteJournal(path), receiver) as hooks:
            await hooks.join()
        assert sorted(str(each.event_id) for each in receiver.accepted) == accepted
        assert integrity(path) == "ok"


async def test_what_was_delivered_is_written_down_once_there_is_room(tmp_path: Path) -> None:
    """It is not delivered again, and that the webhook was disabled is not forgotten."""
    path = tmp_path / "hooks.db"
    journal = SQLiteJournal(path)
    async with asyncio.timeout(60), FaultReceiver(lambda request: answer) as receiver:
        answer: Any = Hold(Answer(204))
        async with hooks_on(journal, receiver) as hooks:
            for number in range(40):
                await hooks.emit(EVENT, number)
            with file_size_limit(1):
                answer = Answer(204)
                receiver.release()
                await hooks.join()
                with pytest.raises(JournalDiskFullError):
                    await journal.flush()
                assert "make room" in str(journal.failing)
                assert await hooks.deliveries(status="delivered") == []
                hooks.disable_webhook("a")
            await journal.flush()
            assert journal.failing is None
            assert len(await hooks.deliveries(status="delivered")) == 40
        async with hooks_on(SQLiteJournal(path), receiver) as again:
            assert [webhook.enabled for webhook in again.webhooks] == [False]
            assert again.stats().pending == 0
        assert len(receiver.requests) == 40
