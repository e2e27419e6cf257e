"""The system's resolver in threads: few of them, and what hangs costs its own domain alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import soon, until

from relaybox_hooks.transport.lookups import (
    Address,
    LookupFailedError,
    NoDataError,
    NoSuchNameError,
)
from relaybox_hooks.transport.system_lookups import SystemLookups, system_knows_more

ANY = socket.AF_UNSPEC


class SystemNames:
    """``getaddrinfo``: lookups of ``*.silent`` block until they are let go, one has an error."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.errors: dict[str, OSError | ValueError] = {}
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, **kwargs: Any) -> Any:
        if error := self.errors.get(host):
            raise error
        if host.endswith(".silent"):
            self.let_go.wait()
        return self._real("127.0.0.1", *args, **kwargs)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SystemNames]:
    names = SystemNames()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    names.let_go.set()
    for thread in threading.enumerate():
        if thread.name == "relaybox-hooks-dns":
            thread.join()


async def outcome(lookup: asyncio.Future[list[Address]]) -> list[str] | str:
    """Addresses found, or the error in words."""
    try:
        return [address.host for address in await soon(lookup)]
    except OSError as error:
        return str(error.strerror)


async def test_finds_what_the_system_finds() -> None:
    lookups = SystemLookups()
    assert await outcome(lookups.look_up("localhost", socket.AF_INET)) == ["127.0.0.1"]
    lookups.close()


async def test_what_hangs_costs_its_own_domain_alone(names: SystemNames) -> None:
    """Then any other, but for names that only the system knows."""
    lookups = SystemLookups(threads=3, per_domain=2)
    hanging = [lookups.look_up(f"{n}.a.silent", ANY) for n in range(3)]
    assert "2 lookups of names under 'a.silent' hang" in await outcome(hanging.pop())
    assert await outcome(lookups.look_up("printer.local", ANY)) == ["127.0.0.1"]
    hanging.append(lookups.look_up("b.silent", ANY))
    assert "3 lookups by the system's resolver hang" in await outcome(lookups.look_up("c", ANY))
    names.let_go.set()
    assert [await outcome(lookup) for lookup in hanging] == [["127.0.0.1"]] * 3
    assert await outcome(lookups.look_up("9.A.silent.", ANY)) == ["127.0.0.1"]
    lookups.close()


async def test_closing_waits_for_no_thread(names: SystemNames) -> None:
    """Nor does the end of the process: threads are daemons."""
    lookups = SystemLookups()
    waiting, left = lookups.look_up("a.silent", ANY), lookups.look_up("b.silent", ANY)
    left.cancel()
    await asyncio.sleep(0)
    lookups.close()
    assert "the resolver is closed" in await outcome(waiting)
    assert "the resolver is closed" in await outcome(lookups.look_up("localhost", ANY))
    running = [thread for thread in threading.enumerate() if thread.name == "relaybox-hooks-dns"]
    assert [thread.daemon for thread in running] == [True, True]
    names.let_go.set()
    await until(lambda: not any(thread.is_alive() for thread in running))
    await asyncio.sleep(0)


def test_a_lookup_may_outlive_its_loop(names: SystemNames) -> None:
    async def look_up() -> None:
        SystemLookups().look_up("a.silent", ANY)

    asyncio.run(look_up())
    names.let_go.set()  # a thread that raises would be a warning, hence an error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no"), NoSuchNameError),
        (socket.gaierror(socket.EAI_NODATA, "no"), NoDataError),
        (socket.gaierror(socket.EAI_AGAIN, "later"), LookupFailedError),
        (OSError(24, "too many open files"), LookupFailedError),
        (ValueError("embedded null character"), LookupFailedError),
    ],
)
async def test_no_such_name_is_told_from_a_failure(
    names: SystemNames, error: OSError | ValueError, kind: type[OSError]
) -> None:
    names.errors["a.example"] = error
    with pytest.raises(socket.gaierror) as caught:
        await SystemLookups().look_up("a.example", ANY)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("passwd: files ldap\nhosts: files dns\n", False),
        ("hosts:\tdns [!UNAVAIL=return] files # mdns\n", False),
        ("#hosts: files mdns\n", False),
        ("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", True),
        (" hosts: files dns myhostname\n", True),
        ("", False),
    ],
)
def test_nsswitch_says_where_else_names_are_known(tmp_path: Path, text: str, more: bool) -> None:
    file = tmp_path / "nsswitch.conf"
    file.write_text(text)
    assert system_knows_more(file) is more


@pytest.mark.parametrize(("platform", "more"), [("linux", False), ("darwin", True)])
def test_without_nsswitch_linux_alone_knows_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, more: bool
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert system_knows_more(tmp_path / "none") is more
