"""Journals that cannot be opened or read: the named error, nothing left behind, nothing lost."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import apsw
import pytest
from crash.child import EVENT, registered
from crash.parent import scene

from relaybox_hooks import Hooks, HooksClosedError, Session
from relaybox_hooks.journal import (
    JournalCorruptError,
    JournalError,
    JournalFormatError,
    JournalLockedError,
    JournalReadOnlyError,
    JournalVersionError,
    SQLiteJournal,
)
from relaybox_hooks.testing import Answer, FaultReceiver
from relaybox_hooks.wire.envelope import Envelope

EVENTS = 40


def hooks_on(path: Path, receiver: FaultReceiver, *webhooks: str) -> Hooks[Any]:
    urls = {each: {"url": receiver.url_for(f"/{each}")} for each in webhooks or ("a",)}
    return Hooks(registered(urls), custom_events=[EVENT], journal=SQLiteJournal(path))


@pytest.fixture
async def receiver() -> Any:
    async with asyncio.timeout(60), FaultReceiver(Answer(204)) as made:
        yield made


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that an ordinary user may come to; those of tests are for their own user alone."""
    made = Path(mkdtemp(prefix="relaybox-"))
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


@contextmanager
def as_nobody(directory: Path) -> Iterator[None]:
    """As a user who owns ``directory`` and is not the superuser, who may write everything."""
    if os.geteuid() != 0:
        yield
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    for each in (directory, *directory.iterdir()):
        os.chown(each, nobody, -1)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


async def keep_events(path: Path, *webhooks: str) -> list[str]:
    """Leave events in a journal, pending for each of the webhooks; returns their ids."""
    names = [f"event-{number:02}" for number in range(EVENTS)]
    async with SQLiteJournal(path) as journal:
        for name in names:
            envelope = Envelope.encode(name, EVENT, "x" * 1000, Session(), 10_000, time=1.0)
            await journal.append_nowait(envelope, [(webhook_id, None) for webhook_id in webhooks])
    return names


async def refused(hooks: Hooks[Any], path: Path) -> JournalError:
    """What entering hooks on this journal raises; they accept nothing then."""
    with pytest.raises(JournalError) as caught:
        async with hooks:
            raise AssertionError
    assert str(path) in str(caught.value)
    with pytest.raises(HooksClosedError):
        await hooks.emit(EVENT)
    await hooks.aclose()
    return caught.value


def no_database(path: Path) -> None:
    path.write_text("shopping list\n" * 500)


def another_applications(path: Path) -> None:
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE guests (name)")
    connection.close()


def of_a_newer_release(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()


def damaged(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3996)


def read_only(path: Path) -> None:
    path.chmod(0o400)


def in_a_read_only_directory(path: Path) -> None:
    path.parent.chmod(0o500)


def mend(path: Path, good: bytes) -> None:
    path.parent.chmod(0o700)
    path.chmod(0o600)
    path.write_bytes(good)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (no_database, JournalFormatError),
        (another_applications, JournalFormatError),
        (of_a_newer_release, JournalVersionError),
        (damaged, JournalCorruptError),
        (read_only, JournalReadOnlyError),
        (in_a_read_only_directory, JournalReadOnlyError),
    ],
)
async def test_hooks_refuse_a_journal_and_deliver_once_it_is_mended(
    spoil: Callable[[Path], None],
    error: type[JournalError],
    directory: Path,
    receiver: FaultReceiver,
) -> None:
    """The file is left as it was found; nothing has it open any more."""
    path = directory / "hooks.db"
    names = await keep_events(path, "a")
    good = path.read_bytes()
    spoil(path)
    bad = path.read_bytes()
    hooks = hooks_on(path, receiver)
    with as_nobody(directory):
        assert type(await refused(hooks, path)) is error
    assert path.read_bytes() == bad
    mend(path, good)
    async with hooks_on(path, receiver) as hooks:
        await hooks.join()
    assert sorted(str(each.event_id) for each in receiver.accepted) == names


async def test_a_file_belongs_to_the_process_that_has_it(tmp_path: Path) -> None:
    """Until that is killed: then it can be had at once."""
    async with scene(tmp_path) as stage:
        async with stage.child() as child:
            child.tell("emit 20")
            await child.says("emitted all")
            error = await refused(hooks_on(stage.path, stage.receiver), stage.path)
            assert type(error) is JournalLockedError
            child.tell("join")
            await child.says("joined")
        async with hooks_on(stage.path, stage.receiver):
            error = await refused(hooks_on(stage.path, stage.receiver), stage.path)
            assert type(error) is JournalLockedError
        stage.account()


def damage_an_event(path: Path) -> None:
    """Overwrite the first page that holds events."""
    connection = apsw.Connection(str(path))
    leaves = "name = 'event' AND pagetype = 'leaf'"
    page = connection.execute(f"SELECT min(pageno) FROM dbstat WHERE {leaves}").get  # noqa: S608
    size = connection.pragma("page_size")
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


async def test_a_damaged_event_stops_its_webhooks_and_no_other(
    tmp_path: Path, receiver: FaultReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and what cannot be read stays in the journal, with all that is behind it."""
    path = tmp_path / "hooks.db"
    await keep_events(path, "a")
    damage_an_event(path)
    hooks = hooks_on(path, receiver, "a", "b")
    await hooks.start()
    receipt = await hooks.emit(EVENT)
    assert receipt.accepted == 2
    await receiver.wait_for(1)
    report = await hooks.aclose()
    assert [(each.webhook_id, each.event_id) for each in receiver.accepted] == [
        ("b", receipt.event_id)
    ]
    assert report.targets == {"a": EVENTS + 1}
    assert "webhook a: its deliveries cannot be read" in caplog.text
    assert ".recover" in caplog.text
