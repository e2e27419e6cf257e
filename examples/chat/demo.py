"""Demo: the chat, a receiver in its own process, three simulated users, and a summary."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from receiver import Delivery

from chat.app import make_app, make_hooks, serving
from chat.people import Person, SceneError, play
from relaybox_hooks import (
    EVENTS,
    Attempt,
    DeadLetter,
    Hooks,
    Observer,
    Webhook,
    generate_signing_key,
)

_RECEIVER: Final = Path(__file__).parent.parent / "receiver.py"

#: Time limit of the whole run, seconds. It takes about two.
_TIME_LIMIT: Final = 30.0


class DeliveryCounter(Observer):
    """Observer that counts attempts and deliveries by event, and dead letters."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.deliveries: Counter[str] = Counter()
        self.dead_letters = 0

    def attempted(self, attempt: Attempt) -> None:
        self.attempts[attempt.event_name] += 1

    def delivered(self, attempt: Attempt) -> None:
        self.deliveries[attempt.event_name] += 1

    def dead_lettered(self, letter: DeadLetter) -> None:
        self.dead_letters += 1


class Receiver:
    """Receiver process, read by its output lines."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines
        self.url = ""
        self.verified: Counter[str] = Counter()
        self.rejected = 0

    async def listening(self) -> None:
        first = await self._lines.readline()
        if not first:
            raise SceneError("the receiver did not start")
        self.url = json.loads(first)["listening"]

    async def follow(self) -> None:
        """Print and count each delivery until the process exits."""
        async for line in self._lines:
            delivery = Delivery(**json.loads(line))
            print(f"  {delivery}", flush=True)
            self.verified[delivery.event] += delivery.verified and not delivery.duplicate
            self.rejected += delivery.status in (400, 401)


@asynccontextmanager
async def receiving(key: str) -> AsyncIterator[Receiver]:
    """Run the receiver. At the end of the block all of its output has been counted."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_RECEIVER),
        *("--port", "0", "--json", "--fail-first", "1"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "RELAYBOX_SIGNING_KEY": key},
        # Not in the terminal's process group: Ctrl-C must not stop it before the last deliveries.
        start_new_session=True,
    )
    following: asyncio.Task[None] | None = None
    try:
        assert process.stdout is not None
        receiver = Receiver(process.stdout)
        await receiver.listening()
        following = asyncio.create_task(receiver.follow())
        yield receiver
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if following is not None:
            await following


async def demo(*, wrong_key: bool) -> int:
    """Run the demo; return 0 if each of the 13 events was delivered and verified, else 1."""
    key = generate_signing_key()
    counter = DeliveryCounter()
    trouble = ""
    try:
        async with receiving(generate_signing_key() if wrong_key else key) as receiver:
            webhook = Webhook(receiver.url, ["*"], key, name="receiver")
            hooks = make_hooks([webhook], [counter])
            async with serving(make_app(hooks, _no_mail), 0) as port:
                print(f"chat at http://127.0.0.1:{port}/, receiver at {receiver.url}", flush=True)
                trouble = await _perform(hooks, port)
    except SceneError as error:
        print(f"FAILED: {error}", flush=True)
        return 1
    return _summarize(counter, receiver, trouble)


async def _perform(hooks: Hooks, port: int) -> str:
    """Run the scripted users and wait for the last delivery; return the error, if any."""
    try:
        async with (
            asyncio.timeout(_TIME_LIMIT),
            Person("Ada", port) as ada,
            Person("Ben", port) as ben,
            Person("Cleo", port) as cleo,
        ):
            await play(ada, ben, cleo)
            await hooks.join()
    except SceneError as error:
        return str(error)
    except TimeoutError:
        return f"timed out after {_TIME_LIMIT:g} s"
    return ""


def _summarize(counter: DeliveryCounter, receiver: Receiver, trouble: str) -> int:
    """Print the summary table and return the exit code."""
    sent, verified = counter.deliveries, receiver.verified
    print(f"\n{'event':<26}{'attempts':>10}{'delivered':>11}{'verified':>10}")
    for name in EVENTS:
        print(f"{name:<26}{counter.attempts[name]:>10}{sent[name]:>11}{verified[name]:>10}")
    attempts, delivered = counter.attempts.total(), sent.total()
    print(f"{'all':<26}{attempts:>10}{delivered:>11}{verified.total():>10}\n")
    missing = [name for name in EVENTS if not verified[name]]
    problems = [
        trouble,
        missing and f"never verified: {', '.join(missing)}",
        counter.dead_letters and f"{counter.dead_letters} dead letters",
        receiver.rejected and f"{receiver.rejected} requests rejected by the receiver",
        verified != sent and "the two sides do not agree on what was delivered",
    ]
    found = "; ".join(str(problem) for problem in problems if problem)
    good = f"{len(EVENTS) - len(missing)} of {len(EVENTS)} events delivered and verified"
    print(f"{good}: {delivered} deliveries in {attempts} attempts")
    if found:
        print(f"FAILED: {found}")
    sys.stdout.flush()
    return 1 if found else 0


def _no_mail(email: str, code: str) -> None:
    """Discard the mail, which the demo does not need."""
