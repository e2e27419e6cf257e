"""Clients that disconnect from sockets that nobody reads are noticed, and data is not mistaken."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator

import pytest
from support import soon, turns

from relaybox_hooks.testing.connection import LINGER_RESET
from relaybox_hooks.testing.hangups import Hangups

if sys.platform != "linux":
    pytest.skip("only Linux's epoll tells", allow_module_level=True)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection: the client's, and the one that is watched."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves_is_noticed_behind_data(
    reset: bool, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = pair
    hangups, noticed = Hangups(), asyncio.Event()
    hangups.watch(server.fileno(), noticed.set)
    client.sendall(b"unread")
    await turns(50)
    assert not noticed.is_set()
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    client.close()
    await soon(noticed.wait())
    hangups.unwatch(server.fileno())


async def test_what_is_not_watched_is_not_told(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    hangups, noticed = Hangups(), asyncio.Event()
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    hangups.watch(server.fileno(), noticed.set)
    hangups.watch(client.fileno(), noticed.set)
    hangups.unwatch(server.fileno())
    client.shutdown(socket.SHUT_WR)
    await turns(50)
    assert not noticed.is_set()
    assert errors == []
    hangups.unwatch(client.fileno())


async def test_a_socket_may_be_closed_before_its_watch_ends(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    hangups, fds = Hangups(), [sock.fileno() for sock in pair]
    for fd in fds:
        hangups.watch(fd, lambda: None)
    for sock in pair:
        sock.close()
    for fd in fds:
        hangups.unwatch(fd)
    assert hangups._epoll is None, "it is closed with the last one"


async def test_watching_begins_again_after_the_last_one(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    hangups, noticed = Hangups(), asyncio.Event()
    hangups.watch(server.fileno(), noticed.set)
    hangups.unwatch(server.fileno())
    hangups.watch(server.fileno(), noticed.set)
    client.close()
    await soon(noticed.wait())
    hangups.unwatch(server.fileno())
