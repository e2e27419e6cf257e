"""Closing leaves nothing behind, and the receiver can come back at the same address."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import weakref
from contextlib import suppress

import aiohttp
import pytest
from support.certificates import Certificate
from support.raw_http import PLAIN, Post, connect

from relaybox_hooks.errors import RelayboxHooksError
from relaybox_hooks.testing import (
    Answer,
    AnswerUnread,
    CloseOnReuse,
    Drip,
    EndlessBody,
    EndlessInterim,
    FaultReceiver,
    Hang,
    Hold,
    Late,
    NeverRead,
    Stall,
    SurplusResponses,
)


def open_sockets() -> int:
    count = 0
    for number in os.listdir("/dev/fd"):
        with suppress(OSError):  # the listing's own descriptor is gone by now
            count += stat.S_ISSOCK(os.fstat(int(number)).st_mode)
    return count


@pytest.mark.parametrize("tls", [False, True])
async def test_closing_leaves_no_task_socket_or_waiter_behind(
    tls: bool, certificate: Certificate
) -> None:
    """Whatever clients are in: hanging, dripping, flooded, half sent, idle, unread."""
    server, client = (certificate.server(), certificate.client()) if tls else (None, None)
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    slow = [Drip(Answer(), 60), Late(Answer(), 60), SurplusResponses(delay=60)]
    floods = [EndlessBody(), EndlessInterim(), EndlessInterim(interval=60)]
    script = [Hang(), *slow, *floods, Hold(), CloseOnReuse(), Answer()]
    unread = [NeverRead(), AnswerUnread(limit=None), AnswerUnread(limit=None, interval=60)]
    receiver = FaultReceiver([*script, *unread, Stall(), Answer()], ssl=server)
    await receiver.start()
    clients = []
    for count in range(1, len(script) + 1):
        clients.append(await connect(receiver, client))
        clients[-1][1].write(PLAIN)
        await receiver.wait_for(count)
    for _ in unread:
        clients.append(await connect(receiver, client))
        clients[-1][1].write(PLAIN)
    clients.append(await connect(receiver))  # without a handshake, because of the Stall
    await receiver.wait_until(lambda: receiver.connected == len(clients))
    clients.append(await connect(receiver, client))
    clients[-1][1].write(PLAIN[:20])
    await receiver.wait_until(lambda: receiver.attempts == len(script) + 1)
    assert receiver.connected == len(clients)
    waiting = asyncio.create_task(receiver.wait_for(100))
    await asyncio.sleep(0)
    await receiver.aclose()
    await receiver.aclose()
    with pytest.raises(RelayboxHooksError, match="closed"):
        await waiting
    assert receiver.connected == 0
    for _, writer in clients:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
    assert asyncio.all_tasks() == tasks
    assert open_sockets() == sockets


async def test_closing_forgets_answers_that_are_due_later() -> None:
    receiver = FaultReceiver(Late(Answer(), 60))
    await receiver.start()
    _, writer = await connect(receiver)
    writer.write(PLAIN)
    await receiver.wait_for(1)
    await receiver.aclose()
    writer.transport.abort()
    kept = weakref.ref(receiver)
    del receiver
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("turns", range(6))
async def test_closing_while_clients_connect_leaks_nothing(turns: int) -> None:
    async with FaultReceiver() as receiver:
        clients = [asyncio.create_task(connect(receiver)) for _ in range(20)]
        for _ in range(turns):
            await asyncio.sleep(0)
        here = asyncio.current_task()
    assert asyncio.all_tasks() <= {here, *clients}
    assert receiver.connected == 0
    for outcome in await asyncio.gather(*clients, return_exceptions=True):
        if isinstance(outcome, tuple):
            outcome[1].transport.abort()
        else:
            assert isinstance(outcome, OSError)


async def test_an_outage_ends_at_the_same_address(post: Post) -> None:
    async with FaultReceiver() as receiver:
        await post(receiver.url)
        await receiver.aclose()
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(receiver.url)
        await receiver.start()
        with pytest.raises(RelayboxHooksError, match="started already"):
            await receiver.start()
        assert await post(receiver.url) == (200, b"")
        assert [r.order for r in receiver.requests] == [1, 2]
