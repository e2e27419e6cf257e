"""The transport that only writes: what it buffers, when it pauses, how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from support import turns, until

from relaybox_hooks.testing.connection import LINGER_RESET, Connection
from relaybox_hooks.testing.unread_socket import UnreadSocket

BIG = bytes(20_000_000)  # more than the kernels take


class Notes(list[str]):
    """The callbacks of a connection, noted."""

    def connection_made(self, transport: UnreadSocket) -> None:
        self.append("made")

    def pause_writing(self) -> None:
        self.append("paused")

    def resume_writing(self) -> None:
        self.append("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.append("lost")


Made = tuple[UnreadSocket, Notes, socket.socket]


@pytest.fixture
def make() -> Iterator[Callable[[], Made]]:
    """Connects a transport; returns its notes and the client's socket too."""
    clients: list[socket.socket] = []

    def make() -> Made:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        for sock in (client, server):
            sock.setblocking(False)
        clients.append(client)
        notes = Notes()
        return UnreadSocket(server, cast("Connection", cast("Any", notes))), notes, client

    yield make
    for client in clients:
        client.close()


async def receive(client: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes, or up to the end."""
    loop, read = asyncio.get_running_loop(), bytearray()
    while len(read) < size and (data := await loop.sock_recv(client, 1 << 20)):
        read += data
    return bytes(read)


async def test_what_the_client_reads_is_not_buffered(make: Callable[[], Made]) -> None:
    transport, notes, client = make()
    transport.write(b"one ")
    transport.write(b"two")
    transport.close()
    assert await receive(client, 100) == b"one two"
    assert notes == ["made", "lost"]


async def test_writing_pauses_until_the_client_has_read(make: Callable[[], Made]) -> None:
    transport, notes, client = make()
    transport.write(BIG)
    transport.write(b"end")
    assert notes == ["made", "paused"]
    assert await receive(client, len(BIG) + 3) == BIG + b"end"
    await until(lambda: notes == ["made", "paused", "resumed"])
    transport.abort()
    await turns()
    assert notes[-1] == "lost"


async def test_closing_sends_what_is_buffered_first(make: Callable[[], Made]) -> None:
    transport, notes, client = make()
    transport.write(BIG)
    transport.close()
    assert transport.is_closing()
    transport.write(b"too late")
    await turns()
    assert "lost" not in notes
    assert await receive(client, len(BIG) + 1) == BIG
    await until(lambda: notes == ["made", "paused", "lost"])


async def test_aborting_drops_what_is_buffered(make: Callable[[], Made]) -> None:
    transport, notes, client = make()
    transport.write(BIG)
    transport.abort()
    transport.abort()
    transport.close()
    assert notes == ["made", "paused"], "the callback does not come from within a call"
    await turns()
    assert notes == ["made", "paused", "lost"]
    assert len(await receive(client, len(BIG))) < len(BIG)


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_client_that_resets_ends_it_at_the_next_write(
    waiting: bool, make: Callable[[], Made]
) -> None:
    transport, notes, client = make()
    if waiting:
        transport.write(BIG)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    client.close()
    if not waiting:
        transport.write(b"x")
        assert transport.is_closing()
    await until(lambda: notes[-1] == "lost")
    assert notes == (["made", "paused", "lost"] if waiting else ["made", "lost"])
