"""Lookups by c-ares, against a name server that answers, fails or stays silent."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import soon, until
from support.manual_clock import ManualClock
from support.name_server import A, NameServer

from relaybox_hooks.transport.dns_channels import DnsChannels, loop_can_watch_sockets
from relaybox_hooks.transport.lookups import (
    Address,
    LookupFailedError,
    NoDataError,
    NoSuchNameError,
)

ONE = "192.0.2.1"
ANY = socket.AF_UNSPEC
IPV4 = socket.AF_INET
IPV6 = socket.AF_INET6


@pytest.fixture
async def channels(server: NameServer) -> AsyncIterator[DnsChannels]:
    channels = DnsChannels(nameservers=[server.address])
    yield channels
    channels.close()


def open_sockets() -> int:
    """Sockets that this process has open."""
    fds = Path("/proc/self/fd")
    return sum(os.readlink(fd).startswith("socket:") for fd in fds.iterdir() if fd.is_symlink())


def resident() -> int:
    """Bytes of memory that this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def hosts_file() -> dict[str, str]:
    """Names other than localhost that the hosts file has an IPv4 address of."""
    lines = Path("/etc/hosts").read_text().splitlines()
    entries = [line.partition("#")[0].split() for line in lines]
    named = {name: e[0] for e in entries if e and "." in e[0] for name in e[1:]}
    return {name: address for name, address in named.items() if name != "localhost"}


async def outcome(lookup: asyncio.Future[list[Address]]) -> list[str] | type[BaseException]:
    """Addresses found, or the type of the error."""
    try:
        return sorted(address.host for address in await soon(lookup))
    except OSError as error:
        return type(error)


async def test_an_answer_has_the_addresses_of_the_family(
    server: NameServer, channels: DnsChannels
) -> None:
    server.addresses = {"a.example": [ONE, "2001:db8::1"], "four.example": [ONE]}
    assert await outcome(channels.look_up("a.example", ANY)) == [ONE, "2001:db8::1"]
    assert await outcome(channels.look_up("A.Example.", IPV4)) == [ONE]
    assert await outcome(channels.look_up("a.example", IPV6)) == ["2001:db8::1"]
    assert await outcome(channels.look_up("four.example", IPV6)) is NoDataError
    assert await outcome(channels.look_up("none.example", ANY)) is NoSuchNameError
    assert await outcome(channels.look_up("a..example", ANY)) is NoSuchNameError
    assert await outcome(channels.look_up("\N{SNOWMAN}.example", ANY)) is NoSuchNameError
    assert channels.outstanding == 0


async def test_a_server_that_fails_is_told_from_a_name_that_is_not(
    server: NameServer, channels: DnsChannels
) -> None:
    server.failing = {"a.example"}
    assert await outcome(channels.look_up("a.example", ANY)) is LookupFailedError
    server.close()
    await asyncio.sleep(0)
    assert await outcome(channels.look_up("b.example", ANY)) is LookupFailedError


async def test_two_thousand_silent_names_cost_few_sockets_and_no_other_name(
    server: NameServer, channels: DnsChannels
) -> None:
    """Nor a thread. Retries and lookups begun after time-outs are among them, where a c-ares
    before 1.34.7 opens a socket for each query: 4,000."""
    names = [f"host-{n}.one.example" for n in range(1_000)] + [
        f"host.n{n}.test" for n in range(999)
    ]
    server.addresses["ok.example"] = [ONE]
    server.silent = {"one.example", "test"}
    for _ in range(3):  # from these c-ares learns that the server is fast
        assert await outcome(channels.look_up("ok.example", IPV4)) == [ONE]
    sockets, threads, memory = open_sockets(), threading.active_count(), resident()
    hanging = [channels.look_up(name, ANY) for name in names]
    assert channels.outstanding == 1_999
    assert await outcome(channels.look_up("ok.example", IPV4)) == [ONE]
    await until(lambda: len(server.questions(names[0])) > 2)  # asked again
    hanging.append(channels.look_up("late.test", ANY))
    assert await outcome(channels.look_up("ok.example", IPV6)) is NoDataError
    await until(lambda: server.questions("late.test"))
    assert not hanging[-1].done()
    assert open_sockets() - sockets <= 16
    assert resident() - memory < 2_000 * 16_000
    assert threading.active_count() == threads
    channels.close()
    assert {await outcome(lookup) for lookup in hanging} == {LookupFailedError}
    assert open_sockets() == sockets


async def test_idle_it_holds_no_socket(server: NameServer, channels: DnsChannels) -> None:
    server.addresses["a.example"] = [ONE]
    sockets = open_sockets()
    await outcome(channels.look_up("a.example", ANY))
    assert open_sockets() == sockets


async def test_more_lookups_than_there_is_room_for_end_the_oldest(server: NameServer) -> None:
    """A new name is always asked for."""
    server.silent = {"silent"}
    server.addresses["ok.example"] = [ONE]
    channels = DnsChannels(nameservers=[server.address], per_channel=2, channels=2)
    lookups = [channels.look_up(f"{n}.silent", IPV4) for n in range(4)]
    assert await outcome(channels.look_up("ok.example", IPV4)) == [ONE]
    assert [await outcome(lookup) for lookup in lookups[:2]] == [LookupFailedError] * 2
    assert not lookups[2].done()
    assert channels.outstanding == 2
    channels.close()


async def test_a_change_of_the_name_servers_is_seen_by_the_next_lookup(tmp_path: Path) -> None:
    """What is under way goes on where it was asked; what was kept for its TTL is asked again."""
    file = tmp_path / "resolv.conf"
    async with NameServer(ttl=60) as server:
        server.addresses["a.example"] = [ONE]
        server.silent = {"silent"}
        channels = DnsChannels(nameservers=[server.address], resolv_conf=file)
        waiting = channels.look_up("host.silent", IPV4)
        for _ in range(2):
            assert await outcome(channels.look_up("a.example", IPV4)) == [ONE]
        assert server.questions("a.example") == [A]
        file.write_text("nameserver 192.0.2.53")
        assert await outcome(channels.look_up("a.example", IPV4)) == [ONE]
        assert server.questions("a.example") == [A, A]
        server.silent.clear()
        server.addresses["host.silent"] = [ONE]
        assert await outcome(waiting) == [ONE]
        channels.close()


async def test_what_was_answered_is_kept_for_seconds(server: NameServer) -> None:
    """That a name has no data too, which c-ares itself keeps for an hour."""
    clock = ManualClock()
    channels = DnsChannels(nameservers=[server.address], now=clock.monotonic)
    server.addresses["a.example"] = []
    for _ in range(2):
        assert await outcome(channels.look_up("a.example", IPV4)) is NoDataError
    assert server.questions("a.example") == [A]
    server.addresses["a.example"] = [ONE]
    clock.advance(10)
    assert await outcome(channels.look_up("a.example", IPV4)) == [ONE]
    channels.close()


async def test_name_servers_that_cannot_be_used_fail_the_lookup() -> None:
    channels = DnsChannels(nameservers=["no address"])
    assert await outcome(channels.look_up("a.example", IPV4)) is LookupFailedError
    channels.close()


async def test_closed_it_ends_every_lookup_and_begins_none(
    server: NameServer, channels: DnsChannels
) -> None:
    server.silent = {"silent"}
    lookups = [channels.look_up(f"{n}.silent", ANY) for n in range(3)]
    left = channels.look_up("left.silent", ANY)
    left.cancel()
    channels.close()
    assert [await outcome(lookup) for lookup in lookups] == [LookupFailedError] * 3
    assert await outcome(channels.look_up("a.example", ANY)) is LookupFailedError
    assert [kind for name, kind in server.asked if name == "a.example" and kind == A] == []


async def test_names_of_the_hosts_file_are_not_asked_for(
    server: NameServer, channels: DnsChannels
) -> None:
    if not (named := hosts_file()):
        pytest.skip("the hosts file names no host but localhost")
    for name, address in named.items():
        found = await outcome(channels.look_up(name, IPV4))
        assert isinstance(found, list)
        assert address in found
    assert server.asked == []


async def test_a_loop_without_readers_is_known() -> None:
    assert loop_can_watch_sockets(asyncio.get_running_loop())

    class Proactor(asyncio.BaseEventLoop):
        """As on Windows."""

    loop = Proactor()
    assert not loop_can_watch_sockets(loop)
    loop.close()
