"""Name resolution: a lookup that hangs delays no other name.

Names are looked up by c-ares, which waits for any number of answers on a few sockets. A name
whose lookup fails keeps the addresses it had, for an hour at most. What c-ares does not find is
looked up by the system if that knows other places than the hosts file and the DNS.

Nothing here judges an address: the egress policy does, as each connection is made, and cannot
tell an old answer from a new one.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from relaybox_hooks.transport.answer_cache import AnswerCache, NameKey
from relaybox_hooks.transport.dns_channels import DnsChannels, loop_can_watch_sockets
from relaybox_hooks.transport.lookups import (
    Address,
    LookupFailedError,
    NoDataError,
    NoSuchNameError,
    numeric_addresses,
)
from relaybox_hooks.transport.system_lookups import SystemLookups, system_knows_more

#: Seconds that a lookup may take: two queries of glibc's, which waits 5 s for each.
_LIMIT: Final = 10.0

#: Seconds to wait for a lookup where an older answer is at hand (RFC 8767 §5).
_PATIENCE: Final = 1.8

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class NameResolver(AbstractResolver):
    """A resolver for aiohttp's connectors: one lookup at a time for each name and family.

    Args:
        nameservers: ``address`` or ``address:port`` of each; the system's unless given.
        limit: seconds that a lookup may take.
        patience: seconds to wait for a lookup where an older answer is at hand.
        now: the clock by which answers age, in seconds.
        system: lookups by the system's own resolver.
        ask_system: look up there what c-ares does not find; unless given, as ``nsswitch.conf``
            has other places than ``files`` and ``dns``.
    """

    def __init__(
        self,
        *,
        nameservers: Sequence[str] = (),
        limit: float = _LIMIT,
        patience: float = _PATIENCE,
        now: Callable[[], float] = time.monotonic,
        system: SystemLookups | None = None,
        ask_system: bool | None = None,
    ) -> None:
        self._limit = limit
        self._patience = patience
        self._answers = AnswerCache(now)
        self._channels = DnsChannels(nameservers=nameservers, now=now)
        self._system = system or SystemLookups()
        self._ask_system = system_knows_more() if ask_system is None else ask_system
        self._running: dict[NameKey, asyncio.Task[list[Address]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``; join a lookup that is under way.

        Raises:
            NoSuchNameError: it has none.
            LookupFailedError: the lookup failed, and none found within the last hour is known.
        """
        addresses = numeric_addresses(host, family)
        if addresses is None:
            addresses = await self._addresses((host, family))
        return [
            ResolveResult(
                hostname=host, host=numeric, port=port, family=kind, proto=0, flags=_NUMERIC
            )
            for kind, numeric in addresses
        ]

    async def close(self) -> None:
        """End every lookup as failed, without waiting for any answer or thread."""
        self._channels.close()
        self._system.close()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _addresses(self, key: NameKey) -> list[Address]:
        answer = self._answers.get(key)
        if answer is not None and self._answers.is_fresh(answer):
            return answer.take()
        lookup = self._running.get(key) or self._begin(key)
        if answer is None:
            # One caller's cancellation must not take the lookup from the others.
            return await asyncio.shield(lookup)
        if not answer.failing:
            await asyncio.wait((lookup,), timeout=self._patience)
            answer.failing = True  # unless the lookup has put another one in its place
        if lookup.done() and not isinstance(lookup.exception(), LookupFailedError):
            return lookup.result()
        latest = self._answers.get(key)
        return await asyncio.shield(lookup) if latest is None else latest.take()

    def _begin(self, key: NameKey) -> asyncio.Task[list[Address]]:
        lookup = self._running[key] = asyncio.create_task(self._look_up(key))
        lookup.add_done_callback(lambda done: self._ended(key, done))
        return lookup

    def _ended(self, key: NameKey, lookup: asyncio.Task[list[Address]]) -> None:
        del self._running[key]
        if not lookup.cancelled():
            lookup.exception()  # asked for, in case all who waited have left

    async def _look_up(self, key: NameKey) -> list[Address]:
        host, family = key
        try:
            async with asyncio.timeout(self._limit):
                addresses = await self._ask(host, family)
        except TimeoutError:
            raise LookupFailedError(host, f"no answer within {self._limit:g} s") from None
        except NoSuchNameError:
            self._answers.drop(key)
            raise
        return self._answers.put(key, addresses).take()

    async def _ask(self, host: str, family: socket.AddressFamily) -> list[Address]:
        if not loop_can_watch_sockets(asyncio.get_running_loop()):
            return await self._system.look_up(host, family)
        if host.lower().rstrip(".") == "localhost":
            # c-ares adds ::1 to what the hosts file has, where another service may listen.
            try:
                return await self._system.look_up(host, family)
            except LookupFailedError:
                pass
        try:
            return await self._ask_dns(host, family)
        except NoSuchNameError:
            if not self._ask_system:
                raise
        return await self._system.look_up(host, family)

    async def _ask_dns(self, host: str, family: socket.AddressFamily) -> list[Address]:
        try:
            return await self._channels.look_up(host, family)
        except NoDataError:
            if family != socket.AF_UNSPEC:
                raise
        # Of both families c-ares says "no data" too if one has none and the other's query failed.
        try:
            return await self._channels.look_up(host, socket.AF_INET)
        except NoSuchNameError:
            return await self._channels.look_up(host, socket.AF_INET6)
