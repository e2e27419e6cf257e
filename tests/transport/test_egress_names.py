"""Addresses that a name had before are checked like those it has now."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import aiohttp
import pytest
from support import soon
from support.manual_clock import ManualClock
from support.name_server import NameServer

from relaybox_hooks.testing import FaultReceiver
from relaybox_hooks.transport import egress
from relaybox_hooks.transport.egress import EgressPolicy, blocked_by, make_connector
from relaybox_hooks.transport.resolver import NameResolver


async def post(session: aiohttp.ClientSession, url: str) -> str:
    """Say that it was delivered, or why not."""
    try:
        async with session.post(url) as response:
            return "delivered" if response.ok else str(response.status)
    except aiohttp.ClientConnectorDNSError:
        return "does not resolve"
    except aiohttp.ClientConnectorError as exc:
        return blocked_by(exc) or "unreachable"


async def test_a_stale_address_is_checked_at_each_connection(
    server: NameServer, receiver: FaultReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the policy of the connection that is made: the same answer, admitted or refused."""
    clock = ManualClock()
    names = NameResolver(nameservers=[server.address], now=clock.monotonic, patience=0)
    server.addresses["a.example"] = ["127.0.0.1"]
    await names.resolve("a.example", 80, socket.AF_UNSPEC)
    server.failing = {"a.example"}
    clock.advance(3_600)
    url = receiver.url.replace("127.0.0.1", "a.example")
    results = []
    for policy in (EgressPolicy.DEFAULT, EgressPolicy.PUBLIC_ONLY):
        connector = make_connector(policy, resolver=names, use_dns_cache=False)
        async with aiohttp.ClientSession(connector=connector) as session:
            results.append(await post(session, url))
    assert results == [
        "delivered",
        "egress to 127.0.0.1 refused by rule: 127.0.0.0/8 loopback",
    ]
    await names.close()


async def test_no_cache_of_aiohttp_prolongs_the_hour(
    server: NameServer, receiver: FaultReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    own = partial(NameResolver, nameservers=[server.address], now=clock.monotonic, patience=0)
    monkeypatch.setattr(egress, "NameResolver", own)
    server.addresses["a.example"] = ["127.0.0.1"]
    url = receiver.url.replace("127.0.0.1", "a.example")
    connector = make_connector(EgressPolicy.DEFAULT, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        assert await post(session, url) == "delivered"
        server.failing = {"a.example"}
        clock.advance(3_600)
        assert await post(session, url) == "delivered"
        clock.advance(1)
        assert await post(session, url) == "does not resolve"


async def test_closing_a_connector_waits_for_no_lookup(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = partial(NameResolver, nameservers=[server.address])
    monkeypatch.setattr(egress, "NameResolver", own)
    server.silent = {"silent"}
    session = aiohttp.ClientSession(connector=make_connector(EgressPolicy.DEFAULT))
    waiting = [asyncio.ensure_future(post(session, f"http://{n}.silent/")) for n in range(5)]
    while len({name for name, _ in server.asked}) < 5:
        await asyncio.sleep(0)
    await soon(session.close())
    assert await soon(asyncio.gather(*waiting)) == ["does not resolve"] * 5
