"""Damage, no room and sudden death, all of them real."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from support.journals import (
    REFUSED,
    child,
    dead,
    delivered,
    envelope,
    file_size_limit,
    integrity,
    open_error,
    pending,
    retry_at,
    stored,
)

from relaybox_hooks.journal import (
    PERMANENT,
    JournalCorruptError,
    JournalDiskFullError,
    SQLiteJournal,
)

# Damage


async def test_a_damaged_page_is_reported_and_the_rest_still_works(path: Path) -> None:
    async with SQLiteJournal(path) as journal:
        for n in range(40):
            await journal.append_nowait(envelope(n, size=1000), [("a", None)])
    connection = apsw.Connection(str(path))
    (page, *_), size = (
        [
            row[0]
            for row in connection.execute(
                "SELECT pageno FROM dbstat WHERE name = 'event' AND pagetype = 'leaf' ORDER BY path"
            )
        ],
        connection.pragma("page_size"),
    )
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    async with SQLiteJournal(path) as journal:
        with pytest.raises(JournalCorruptError, match=r"\.recover"):
            await pending(journal)
        rows = await pending(journal, after=20)
        assert [row.envelope.id for row in rows] == [f"event-{n}" for n in range(20, 40)]
        (seq,) = await journal.append_nowait(envelope(99), [("b", None)])
        delivered(journal, seq)
        await journal.flush()
        assert journal.backlog().pending == 40


async def test_a_damaged_schema_is_refused_at_opening(path: Path) -> None:
    async with SQLiteJournal(path):
        pass
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3996)
    assert isinstance(await open_error(path), JournalCorruptError)


# No room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 1 MB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not permitted here")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)  # noqa: S603, S607


async def fill(journal: SQLiteJournal) -> list[str]:
    """Append until there is no room; returns the events that were accepted."""
    accepted: list[str] = []
    for number in range(1000):
        try:
            await journal.append_nowait(envelope(number, size=20_000), [("a", None)])
        except JournalDiskFullError:
            break
        accepted.append(f"event-{number}")
    assert await stored(journal) == accepted
    assert journal.backlog().pending == len(accepted)
    assert 5 < len(accepted) < 1000
    return accepted


async def test_a_full_disk_refuses_appends_until_there_is_room(small_disk: Path) -> None:
    path, ballast = small_disk / "hooks.db", small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    journal = SQLiteJournal(path)
    await journal.open()
    accepted = await fill(journal)
    again = await asyncio.gather(
        *(
            journal.append_nowait(envelope(n, size=20_000), [("a", None)])
            for n in range(2000, 2030)
        ),
        return_exceptions=True,
    )
    assert {type(error) for error in again} == {JournalDiskFullError}
    assert await stored(journal) == accepted
    ballast.unlink()
    await journal.append_nowait(envelope(3000, size=20_000), [("a", None)])
    await journal.aclose()
    assert integrity(path) == "ok"
    async with SQLiteJournal(path) as reopened:
        assert await stored(reopened) == [*accepted, "event-3000"]


async def test_a_full_disk_keeps_what_was_settled_until_it_can_be_written(path: Path) -> None:
    journal = SQLiteJournal(path)
    await journal.open()
    with file_size_limit(1 << 19):
        accepted = await fill(journal)
    with file_size_limit(1):
        delivered(journal, 1)
        dead(journal, 2, reason="rejected", outcome=None)
        journal.save_state("a", {"disabled": True})
        with pytest.raises(JournalDiskFullError):
            await journal.flush()
        assert "make room" in str(journal.failing)
        assert await stored(journal) == accepted[2:]
        with pytest.raises(JournalDiskFullError):
            await journal.append_nowait(envelope(4000), [("a", None)])
    await journal.flush()
    assert journal.failing is None
    assert journal.backlog().pending == len(accepted) - 2
    assert (await journal.counts())["a"] == (len(accepted) - 2, 1, 1)
    await journal.append_nowait(envelope(5000), [("a", None)])
    await journal.aclose()
    async with SQLiteJournal(path) as reopened:
        assert await stored(reopened) == [*accepted[2:], "event-5000"]
        (head,) = await reopened.lanes(PERMANENT)
        assert (head.pending, head.state) == (len(accepted) - 1, {"disabled": True})


async def test_a_retry_that_cannot_be_written_is_read_as_it_will_be(path: Path) -> None:
    """Else it would be attempted too early, and its attempts counted anew."""
    async with SQLiteJournal(path) as journal:
        with file_size_limit(1 << 19):
            await fill(journal)
        with file_size_limit(1):
            retry_at(journal, 99.0, 1, attempts=7, outcome=REFUSED)
            with pytest.raises(JournalDiskFullError):
                await journal.flush()
            row, *_ = await pending(journal, limit=2)
            assert (row.seq, row.attempts, row.due, row.outcome) == (1, 7, 99.0, REFUSED)


async def test_closing_raises_what_could_not_be_written_and_releases_the_file(path: Path) -> None:
    journal = SQLiteJournal(path)
    await journal.open()
    await journal.append_nowait(envelope(1), [("a", None)])
    with file_size_limit(1):
        delivered(journal, 1)
        with pytest.raises(JournalDiskFullError):
            await journal.aclose()
    await journal.aclose()
    async with SQLiteJournal(path) as reopened:
        assert await stored(reopened) == ["event-1"]


async def test_a_new_journal_without_room_says_so(path: Path) -> None:
    with file_size_limit(1):
        assert isinstance(await open_error(path), JournalDiskFullError)
    async with SQLiteJournal(path) as journal:
        await journal.append_nowait(envelope(1), [("a", None)])


async def test_the_log_and_the_room_of_what_was_purged_are_used_again(path: Path) -> None:
    """Ten times what fits passes through, with a log that no checkpoint was due for."""
    async with SQLiteJournal(path) as journal:
        with file_size_limit(1 << 19):
            for number in range(100):
                (seq,) = await journal.append_nowait(envelope(number, size=40_000), [("a", None)])
                delivered(journal, seq)
                assert await journal.purge("delivered", keep=0) == 1


# Crashes

EMITTER = """
import asyncio, os, sys
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.wire.envelope import Envelope

async def main():
    journal = SQLiteJournal(sys.argv[1], durability=sys.argv[2])
    await journal.open()
    numbers = iter(range(10**9))
    async def emit():
        for n in numbers:
            seqs = await journal.append_nowait(
                Envelope(f"event-{n}", "room:join", b"1" * 500, 1.0), [("a", None), ("b", "k")]
            )
            os.write(1, b"%d %d\\n" % (n, seqs[0]))
    await asyncio.gather(*(emit() for _ in range(16)))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("durability", "lines"), [("process", 1), ("process", 3333), ("power", 500)]
)
async def test_a_killed_process_loses_nothing_it_had_acknowledged(
    path: Path, durability: str, lines: int
) -> None:
    process = child(EMITTER, path, durability)
    assert process.stdout is not None
    output = "".join(process.stdout.readline() for _ in range(lines))
    process.kill()
    output += process.communicate()[0]
    whole = output[: output.rfind("\n")].splitlines()
    acknowledged = {int(seq): f"event-{n}" for n, seq in map(str.split, whole)}
    assert len(acknowledged) >= lines
    async with SQLiteJournal(path) as journal:
        for webhook_id, offset in (("a", 0), ("b", 1)):
            rows = await pending(journal, webhook_id)
            found = {row.seq - offset: row.envelope.id for row in rows}
            assert acknowledged.items() <= found.items()
        assert journal.backlog().pending == 2 * len(found)
    assert integrity(path) == "ok"
