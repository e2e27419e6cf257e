"""Names whose lookup hangs hold up no other, and leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support import KEY

from relaybox_hooks import Hooks, RetryPolicy, Timeouts, Webhook
from relaybox_hooks.testing import FaultReceiver
from relaybox_hooks.transport.resolver import SystemResolver


class SilentNames:
    """Lookups of ``*.silent`` block until they are let go, as where a name server is silent."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(host)
        if host.endswith(".silent"):
            self.let_go.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "let go")
        return self._real(host, *args, **kwargs)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentNames]:
    silent = SilentNames()
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    yield silent
    silent.let_go.set()


async def test_many_silent_names_delay_no_other_webhook(names: SilentNames) -> None:
    """More of them than the event loop's own pool has threads."""
    retry = RetryPolicy(attempts=1)
    async with FaultReceiver() as receiver:
        good = Webhook(receiver.url.replace("127.0.0.1", "localhost"), ["room:leave"], KEY, id="ok")
        silent = [
            Webhook(f"http://host-{n}.silent/", ["room:join"], KEY, id=f"s{n}", retry=retry)
            for n in range(40)
        ]
        hooks = Hooks([*silent, good], timeouts=Timeouts(total=60), close_timeout=0, logging=False)
        async with hooks:
            await hooks.emit("room:join", {"roomId": "one"})
            while len(names.asked) < 40:
                await asyncio.sleep(0)
            await hooks.emit("room:leave", {"roomId": "one"})
            await receiver.wait_for(1)
            assert hooks.stats().targets["s0"].in_flight == 1
    assert len(await hooks.dead_letters(reason="shutdown")) == 40


async def test_attempts_at_one_name_share_its_lookup(names: SilentNames) -> None:
    resolver = SystemResolver()
    first = asyncio.ensure_future(resolver.resolve("a.silent", 80))
    second = asyncio.ensure_future(resolver.resolve("a.silent", 80))
    while not names.asked:
        await asyncio.sleep(0)
    first.cancel()
    names.let_go.set()
    with pytest.raises(socket.gaierror):
        await second
    assert names.asked == ["a.silent"]
    with pytest.raises(asyncio.CancelledError):
        await first
    await resolver.close()


async def test_finds_what_the_system_finds() -> None:
    resolver = SystemResolver()
    found = await resolver.resolve("localhost", 4000, socket.AF_INET)
    assert [(result["host"], result["port"]) for result in found] == [("127.0.0.1", 4000)]
    scoped = await resolver.resolve("fe80::1%lo", 4000, socket.AF_INET6)
    assert [result["host"] for result in scoped] == ["fe80::1%lo"]
    await resolver.close()
