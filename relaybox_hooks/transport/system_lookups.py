"""Lookups by the system's own resolver, each in a thread, of which there are few."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final

from relaybox_hooks.transport.lookups import (
    Address,
    LookupFailedError,
    NoDataError,
    NoSuchNameError,
    to_addresses,
)

#: Lookups at a time, and of them those of names under one domain. What hangs ends when the
#: system gives up on it, usually after 10 s to 30 s.
_THREADS: Final = 32
_PER_DOMAIN: Final = 4

_NSSWITCH: Final = Path("/etc/nsswitch.conf")
_NO_NAME: Final = {
    getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
}


class SystemLookups:
    """Lookups by ``getaddrinfo``: at most so many at a time, also under one domain.

    A lookup beyond either bound fails at once. Threads are daemons: a lookup that hangs holds up
    neither closing nor the end of the process.

    Args:
        threads: lookups at a time.
        per_domain: of them, those of names with the same last two labels.
    """

    def __init__(self, *, threads: int = _THREADS, per_domain: int = _PER_DOMAIN) -> None:
        self._threads = threads
        self._per_domain = per_domain
        self._running: Counter[str] = Counter()
        self._futures: dict[asyncio.Future[list[Address]], str] = {}
        self._closed = False

    def look_up(self, host: str, family: socket.AddressFamily) -> asyncio.Future[list[Address]]:
        """Begin a lookup. Its result: addresses, the one to be preferred first.

        The future raises:
            NoSuchNameError: there is no such name, or no address of it.
            LookupFailedError: no answer, or too many lookups are under way.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Address]] = loop.create_future()
        domain = _domain(host)
        if reason := self._blocking_reason(domain):
            future.set_exception(LookupFailedError(host, reason))
            return future
        self._running[domain] += 1
        self._futures[future] = host

        def run() -> None:
            found = _look_up(host, family)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._ended, domain, future, found)

        Thread(target=run, name="relaybox-hooks-dns", daemon=True).start()
        return future

    def close(self) -> None:
        """End every lookup as failed, without waiting for its thread."""
        self._closed = True
        for future, host in self._futures.items():
            if not future.done():
                future.set_exception(LookupFailedError(host, "the resolver is closed"))

    def _blocking_reason(self, domain: str) -> str | None:
        if self._closed:
            return "the resolver is closed"
        if self._running.total() >= self._threads:
            return f"{self._threads} lookups by the system's resolver hang already"
        if self._running[domain] >= self._per_domain:
            return f"{self._per_domain} lookups of names under {domain!r} hang already"
        return None

    def _ended(
        self, domain: str, future: asyncio.Future[list[Address]], found: list[Address] | OSError
    ) -> None:
        del self._futures[future]
        self._running[domain] -= 1
        if not self._running[domain]:
            del self._running[domain]
        if future.done():
            return
        if isinstance(found, OSError):
            future.set_exception(found)
        else:
            future.set_result(found)


def system_knows_more(nsswitch: Path = _NSSWITCH) -> bool:
    """Return whether the system looks names up elsewhere than in the hosts file and the DNS.

    ``nsswitch.conf`` says where: mdns, myhostname, sss, ldap ... Where there is none, Linux has
    no other place, and any other system may.
    """
    try:
        text = nsswitch.read_text("utf-8", "replace")
    except OSError:
        return sys.platform != "linux"
    line = re.search(r"^\s*hosts:(.*)", re.sub(r"#.*", "", text), re.MULTILINE)
    places = re.sub(r"\[.*?\]", " ", line[1]).split() if line else []
    return not {"files", "dns"}.issuperset(places)


def _domain(host: str) -> str:
    return ".".join(host.rstrip(".").lower().split(".")[-2:])


def _look_up(host: str, family: socket.AddressFamily) -> list[Address] | OSError:
    try:
        return to_addresses(
            socket.getaddrinfo(host, None, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        )
    except socket.gaierror as error:
        if error.errno == getattr(socket, "EAI_NODATA", None):
            return NoDataError(host)
        if error.errno in _NO_NAME:
            return NoSuchNameError(host)
        return LookupFailedError(host, str(error.strerror))
    except (OSError, ValueError) as error:
        return LookupFailedError(host, str(error))
