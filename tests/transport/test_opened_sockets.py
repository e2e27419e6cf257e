"""Sockets of a connection that was not to be: none is left, whenever its making was cancelled."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import TCPConnector
from support import soon, turns
from support.certificates import Certificate
from yarl import URL

from relaybox_hooks import EgressPolicy
from relaybox_hooks.testing import FaultReceiver, NeverRead
from relaybox_hooks.transport.dialler import dial, open_session
from relaybox_hooks.transport.egress import AddressInfo
from relaybox_hooks.transport.opened_sockets import closing_on_error, note


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_dial_cancelled_at_whatever_turn_leaves_no_socket(
    tls: bool, certificate: Certificate
) -> None:
    """A peer that never reads closes nothing: asyncio would wait for it after a TLS handshake."""
    opened: list[socket.socket] = []

    def open_socket(address: AddressInfo) -> socket.socket:
        opened.append(EgressPolicy.DEFAULT.open_socket(address))
        return opened[-1]

    server, client = (certificate.server(), certificate.client()) if tls else (None, None)
    connector = TCPConnector(limit=0, socket_factory=open_socket)
    async with (
        FaultReceiver(NeverRead(), ssl=server) as receiver,
        open_session(connector, owns_connector=True) as session,
    ):
        finished = cancelled = 0
        while not finished:
            dialling = asyncio.create_task(
                dial(session, URL(receiver.url), timeout=None, ssl=client)
            )
            await turns(cancelled)
            dialling.cancel()
            try:
                connection = await soon(dialling)
            except asyncio.CancelledError:
                cancelled += 1
                continue
            finished += 1
            connection.close()
        assert cancelled >= (6 if tls else 4)
        async with asyncio.timeout(5):
            while any(each.fileno() >= 0 for each in opened):
                await asyncio.sleep(0)


def fail_with(ours: socket.socket, closed: socket.socket, unconnected: socket.socket) -> None:
    with closing_on_error():
        for each in (ours, closed, unconnected):
            note(each)
        closed.close()
        raise KeyError


def test_a_block_that_ends_well_leaves_its_sockets_as_they_are() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with closing_on_error():
            assert note(ours) is ours
        ours.send(b"x")
        assert theirs.recv(1) == b"x"


def test_one_that_ends_with_an_error_shuts_them_down_and_the_error_stays() -> None:
    ours, theirs = socket.socketpair()
    closed, unconnected = socket.socket(), socket.socket()
    with ours, theirs, unconnected:
        with pytest.raises(KeyError):
            fail_with(ours, closed, unconnected)
        assert closed.fileno() < 0
        assert theirs.recv(1) == b""


def test_a_socket_noted_outside_is_not_of_the_block() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        note(ours)
        with pytest.raises(KeyError), closing_on_error():
            raise KeyError
        ours.send(b"x")
        assert theirs.recv(1) == b"x"
