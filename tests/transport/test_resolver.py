"""Names whose lookup hangs or fails: no other is held up, and they keep what they had."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support import KEY, soon, turns, until
from support.manual_clock import ManualClock
from support.name_server import AAAA, A, NameServer

from relaybox_hooks import Hooks, RetryPolicy, Timeouts, Webhook
from relaybox_hooks.testing import FaultReceiver
from relaybox_hooks.transport import egress
from relaybox_hooks.transport import resolver as resolver_module
from relaybox_hooks.transport.lookups import Address, LookupFailedError, NoSuchNameError
from relaybox_hooks.transport.resolver import NameResolver

ONE, TWO = "192.0.2.1", "192.0.2.2"
ANY = socket.AF_UNSPEC
IPV4 = socket.AF_INET


class SystemNames:
    """The system's own lookups: knows some names, and counts what it is asked."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.failing = False

    def look_up(self, host: str, family: socket.AddressFamily) -> asyncio.Future[list[Address]]:
        self.asked.append(host)
        future: asyncio.Future[list[Address]] = asyncio.get_running_loop().create_future()
        if self.failing:
            future.set_exception(LookupFailedError(host, "busy"))
        elif host in self.addresses:
            future.set_result([Address(IPV4, self.addresses[host])])
        else:
            future.set_exception(NoSuchNameError(host))
        return future

    def close(self) -> None: ...


@pytest.fixture
def age() -> ManualClock:
    """The clock by which answers age."""
    return ManualClock()


@pytest.fixture
async def names(server: NameServer, age: ManualClock) -> AsyncIterator[NameResolver]:
    """A resolver that loses patience at once."""
    names = NameResolver(nameservers=[server.address], now=age.monotonic, patience=0)
    yield names
    await names.close()


async def found(
    names: NameResolver, host: str = "a.example", family: socket.AddressFamily = IPV4
) -> list[str]:
    """The addresses of a name."""
    return [result["host"] for result in await soon(names.resolve(host, 80, family))]


async def test_many_silent_names_delay_no_other_webhook(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "NameResolver", lambda: NameResolver(nameservers=[server.address]))
    server.addresses["ok.example"] = ["127.0.0.1"]
    server.silent = {"silent"}
    retry = RetryPolicy(attempts=1)
    async with FaultReceiver() as receiver:
        url = receiver.url.replace("127.0.0.1", "ok.example")
        good = Webhook(url, ["room:leave"], KEY, id="ok")
        silent = [
            Webhook(f"http://host-{n}.silent/", ["room:join"], KEY, id=f"s{n}", retry=retry)
            for n in range(100)
        ]
        hooks = Hooks([*silent, good], timeouts=Timeouts(total=60), close_timeout=0, logging=False)
        async with hooks:
            await hooks.emit("room:join", {"roomId": "one"})
            await until(lambda: len({name for name, _ in server.asked}) == 100)
            await hooks.emit("room:leave", {"roomId": "one"})
            await receiver.wait_for(1)
            assert hooks.stats().targets["s0"].in_flight == 1
    assert len(await hooks.dead_letters(reason="shutdown")) == 100


async def test_a_result_is_what_aiohttp_dials(server: NameServer, names: NameResolver) -> None:
    server.addresses["a.example"] = [ONE]
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    [result] = await names.resolve("a.example", 4000, ANY)
    assert result == {
        "hostname": "a.example",
        "host": ONE,
        "port": 4000,
        "family": IPV4,
        "proto": 0,
        "flags": numeric,
    }


async def test_a_numeric_host_is_not_looked_up(server: NameServer, names: NameResolver) -> None:
    assert await found(names, "127.0.0.1", ANY) == ["127.0.0.1"]
    assert await found(names, "fe80::1%lo", ANY) == ["fe80::1%lo"]
    with pytest.raises(NoSuchNameError):
        await found(names, "::1", IPV4)
    assert server.asked == []


async def test_attempts_at_one_name_share_its_lookup(
    server: NameServer, names: NameResolver
) -> None:
    """And one that is cancelled takes nothing from the others."""
    server.silent = {"a.example"}
    first, second, third = (asyncio.ensure_future(found(names)) for _ in range(3))
    await until(lambda: server.asked)
    first.cancel()
    await turns()
    assert len(server.asked) == 1
    server.silent.clear()
    server.addresses["a.example"] = [ONE]
    assert [await second, await third] == [[ONE], [ONE]]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_lookup_has_a_time_limit(server: NameServer) -> None:
    server.silent = {"a.example"}
    names = NameResolver(nameservers=[server.address], limit=0.01)
    with pytest.raises(LookupFailedError, match=r"'a.example' failed: no answer within 0.01 s"):
        await found(names)
    await names.close()


async def test_a_fresh_answer_is_used_without_asking(
    server: NameServer, names: NameResolver, age: ManualClock
) -> None:
    server.addresses["a.example"] = [ONE]
    assert await found(names) == [ONE]
    server.addresses["a.example"] = [TWO]
    age.advance(10)
    assert await found(names) == [ONE]
    age.advance(0.1)
    await found(names)
    await until(lambda: len(server.asked) == 2)
    await turns()
    assert await found(names) == [TWO]


@pytest.mark.parametrize("fate", ["silent", "failing", "unreachable"])
async def test_while_lookups_fail_a_name_keeps_its_addresses_for_an_hour(
    server: NameServer, names: NameResolver, age: ManualClock, fate: str
) -> None:
    server.addresses["a.example"] = [ONE]
    assert await found(names) == [ONE]
    if fate == "unreachable":
        server.close()
        await turns()
    else:
        setattr(server, fate, {"a.example"})
    for _ in range(3):
        age.advance(1_200)
        assert await found(names) == [ONE]
    age.advance(1)
    waiting = asyncio.ensure_future(found(names))
    await turns()
    if fate == "silent":
        assert not waiting.done()
        await names.close()
    with pytest.raises(LookupFailedError):
        await waiting


async def test_a_failing_name_is_asked_for_in_the_background(
    server: NameServer, age: ManualClock
) -> None:
    """The first to find it so waits for a moment, those after it not at all."""
    names = NameResolver(nameservers=[server.address], now=age.monotonic, patience=0.05)
    server.addresses["a.example"] = [ONE]
    assert await found(names) == [ONE]
    server.silent = {"a.example"}
    age.advance(60)
    assert await found(names) == [ONE]
    asked = len(server.asked)
    later = asyncio.ensure_future(found(names))
    await turns(2)
    assert later.done()
    assert len(server.asked) == asked  # the lookup under way is still the first one's
    server.silent.clear()
    server.addresses["a.example"] = [TWO]
    while await found(names) != [TWO]:
        await asyncio.sleep(0)
    await names.close()


@pytest.mark.parametrize("addresses", [None, [], ["2001:db8::1"]])
async def test_a_name_that_is_no_more_keeps_nothing(
    server: NameServer, names: NameResolver, age: ManualClock, addresses: list[str] | None
) -> None:
    """Nor one that is left without an address of the family; not even while lookups fail again."""
    server.addresses["a.example"] = [ONE]
    assert await found(names) == [ONE]
    if addresses is None:
        del server.addresses["a.example"]
    else:
        server.addresses["a.example"] = addresses
    age.advance(60)
    assert await found(names) == [ONE]  # no longer than until the answer
    await until(lambda: len(server.asked) >= 2)
    await turns()
    with pytest.raises(NoSuchNameError):
        await found(names)
    server.failing = {"a.example"}
    age.advance(60)
    with pytest.raises(LookupFailedError):
        await found(names)


async def test_a_patient_caller_gets_the_answer(server: NameServer, age: ManualClock) -> None:
    names = NameResolver(nameservers=[server.address], now=age.monotonic, patience=20)
    server.addresses["a.example"] = [ONE]
    assert await found(names) == [ONE]
    server.addresses["a.example"] = [TWO]
    age.advance(60)
    assert await found(names) == [TWO]
    del server.addresses["a.example"]
    age.advance(60)
    with pytest.raises(NoSuchNameError):
        await found(names)
    await names.close()


async def test_no_data_of_one_family_and_a_failure_of_the_other_is_a_failure(
    server: NameServer, names: NameResolver, age: ManualClock
) -> None:
    """c-ares says "no data" of both if that was the later answer."""
    server.addresses["a.example"] = [ONE]
    assert await found(names, family=ANY) == [ONE]
    server.failing = {("a.example", A)}
    server.late = {("a.example", AAAA)}
    for _ in range(2):
        age.advance(60)
        assert await found(names, family=ANY) == [ONE]
        await until(lambda: server.questions("a.example").count(A) > 5)
        server.answer_late()
        await turns(50)


async def test_what_the_dns_does_not_know_the_system_may(server: NameServer) -> None:
    system = SystemNames(printer="192.0.2.9")
    server.addresses["a.example"] = [ONE]
    for ask, expected in ((True, ["192.0.2.9"]), (False, None)):
        options: dict[str, Any] = {"system": system, "ask_system": ask}
        names = NameResolver(nameservers=[server.address], **options)
        assert await found(names) == [ONE]
        if expected:
            assert await found(names, "printer") == expected
        with pytest.raises(NoSuchNameError):
            await found(names, "none.example" if ask else "printer")
        await names.close()
    assert system.asked == ["printer", "none.example"]


async def test_a_failing_lookup_is_not_taken_to_the_system(server: NameServer) -> None:
    """It would hang there too, and take the place of a name that only the system knows."""
    system: Any = SystemNames()
    server.failing = {"a.example"}
    names = NameResolver(nameservers=[server.address], system=system, ask_system=True)
    with pytest.raises(LookupFailedError):
        await found(names)
    assert system.asked == []
    await names.close()


async def test_localhost_is_what_the_system_says(server: NameServer, age: ManualClock) -> None:
    """Where that cannot be asked, what c-ares says."""
    system: Any = SystemNames(localhost="127.0.0.7", LocalHost="127.0.0.8")
    names = NameResolver(nameservers=[server.address], system=system, now=age.monotonic)
    assert await found(names, "localhost", ANY) == ["127.0.0.7"]
    assert await found(names, "LocalHost", ANY) == ["127.0.0.8"]
    system.failing = True
    age.advance(60 * 60 + 1)
    assert await found(names, "localhost", IPV4) == ["127.0.0.1"]
    assert server.asked == []
    await names.close()


async def test_a_loop_without_readers_has_the_system_s_lookups(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proactor of Windows."""
    monkeypatch.setattr(resolver_module, "loop_can_watch_sockets", lambda loop: False)
    system: Any = SystemNames(**{"a.example": TWO})
    names = NameResolver(nameservers=[server.address], system=system)
    assert await found(names) == [TWO]
    assert server.asked == []
    await names.close()


async def test_closing_ends_every_lookup(server: NameServer) -> None:
    server.silent = {"silent"}
    names = NameResolver(nameservers=[server.address])
    waiting = [asyncio.ensure_future(found(names, f"{n}.silent")) for n in range(3)]
    await until(lambda: len(server.asked) == 3)
    await soon(names.close())
    for lookup in waiting:
        with pytest.raises(LookupFailedError):
            await lookup
    with pytest.raises(LookupFailedError, match="closed"):
        await found(names, "a.example")


def test_uvloop_watches_the_sockets_too() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def look_up() -> list[str]:
        async with NameServer() as server:
            server.addresses["a.example"] = [ONE]
            names = NameResolver(nameservers=[server.address])
            try:
                return await found(names)
            finally:
                await names.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(look_up()) == [ONE]
