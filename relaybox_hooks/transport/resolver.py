"""Name resolution: a lookup that hangs delays no other name."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

#: Lookups at a time. The event loop's own pool, which aiohttp would use, has 5 threads on a
#: single core, for the whole process: a few names whose servers are silent would fill it.
_THREADS: Final = 64

_Lookup: TypeAlias = tuple[str, int, int]


class SystemResolver(AbstractResolver):
    """The system's resolver, in threads of its own, one at a time for each name.

    A name that hangs keeps one thread, however many attempts wait for it or have given up.
    """

    def __init__(self) -> None:
        # By its full name, for concurrent.futures imports what it needs on the first access.
        self._threads = concurrent.futures.ThreadPoolExecutor(
            _THREADS, thread_name_prefix="relaybox-hooks-dns"
        )
        self._running: dict[_Lookup, asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``; join a lookup that is under way.

        Raises:
            OSError: it has none, or the lookup failed.
        """
        key = host, port, int(family)
        lookup = self._running.get(key)
        if lookup is None:
            loop = asyncio.get_running_loop()
            lookup = loop.run_in_executor(self._threads, _look_up, host, port, family)
            self._running[key] = lookup
            lookup.add_done_callback(lambda done: self._finished(key, done))
        # One caller's cancellation must not take the lookup from the others.
        return await asyncio.shield(lookup)

    def shut_down(self) -> None:
        """Cancel the lookups under way, without waiting for their threads."""
        for lookup in tuple(self._running.values()):
            lookup.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def close(self) -> None:
        """Shut down, as aiohttp asks for it."""
        self.shut_down()

    def _finished(self, key: _Lookup, lookup: asyncio.Future[list[ResolveResult]]) -> None:
        del self._running[key]
        if not lookup.cancelled():
            lookup.exception()  # asked for, in case all who waited have left


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    found = socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    results = []
    for kind, _, proto, _, address in found:
        # Of a scoped address only getnameinfo keeps the scope: fe80::1%eth0.
        name, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        results.append(
            ResolveResult(
                hostname=host, host=name, port=port, family=kind, proto=proto, flags=numeric
            )
        )
    return results
