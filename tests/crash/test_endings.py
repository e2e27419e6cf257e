"""How a process with a journal ends: closed or not, the file is whole and free."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from crash.child import EVENT, registered
from support.journals import integrity

from relaybox_hooks import Hooks
from relaybox_hooks.journal import SQLiteJournal
from relaybox_hooks.testing import Answer, FaultReceiver, Hang

EVENTS: Final = 50

#: Emits events to an endpoint that never answers, and leaves them.
SCRIPT: Final = """
import asyncio, gc, sys, threading
from relaybox_hooks import Hooks, Webhook
from relaybox_hooks.journal import SQLiteJournal

path, url, events, ending = sys.argv[1:]
hooks = Hooks([Webhook(url, ["room:join"], "key", id="a")], journal=SQLiteJournal(path))

async def main():
    await hooks.start()
    for number in range(int(events)):
        await hooks.emit("room:join", {"roomId": str(number)})
    if ending == "exits":
        sys.exit(0)
    if ending == "closes":
        await hooks.aclose(0)

if ending == "closes the loop":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    hooks = None
    gc.collect()
    [thread.join() for thread in threading.enumerate() if thread.name.startswith("relaybox")]
else:
    asyncio.run(main())
print("the end", flush=True)
"""


async def test_closing_leaves_what_is_pending_in_one_whole_file(tmp_path: Path) -> None:
    """What is in flight at the deadline too; the next hooks deliver it, in order."""
    path, answer = tmp_path / "hooks.db", Answer(204)
    fault: Any = Hang()
    async with asyncio.timeout(60), FaultReceiver(lambda request: fault) as receiver:
        webhooks = registered({"a": {"url": receiver.url}})
        first: Hooks[Any] = Hooks(
            webhooks, custom_events=[EVENT], journal=SQLiteJournal(path), logging=False
        )
        await first.start()
        session = {"connectionId": "c"}
        emitted = [(await first.emit(EVENT, n, session)).event_id for n in range(EVENTS)]
        await receiver.wait_for(1)
        report = await first.aclose(0)
        assert (report.left, report.targets, report.ending) == (EVENTS, {"a": EVENTS}, "timed out")
        assert os.listdir(tmp_path) == ["hooks.db"]
        assert integrity(path) == "ok"
        fault = answer
        second: Hooks[Any] = Hooks(webhooks, custom_events=[EVENT], journal=SQLiteJournal(path))
        async with second:
            await second.join()
        assert [each.event_id for each in receiver.accepted] == emitted


@pytest.mark.parametrize("ending", ["closes", "forgets to close", "closes the loop", "exits"])
async def test_the_journal_never_keeps_a_process_alive(ending: str, tmp_path: Path) -> None:
    """However it ends, all that it had accepted is delivered by the next."""
    path, fault = tmp_path / "hooks.db", Hang()
    async with asyncio.timeout(60), FaultReceiver(lambda request: fault) as receiver:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SCRIPT, str(path), receiver.url, str(EVENTS), ending),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert output == (b"" if ending == "exits" else b"the end\n")
        fault = Answer(204)  # type: ignore[assignment]
        webhooks = registered({"a": {"url": receiver.url}})
        async with Hooks(webhooks, journal=SQLiteJournal(path)) as hooks:
            await hooks.join()
        assert len({each.event_id for each in receiver.accepted}) == EVENTS
    assert integrity(path) == "ok"
