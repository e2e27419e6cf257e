"""The listening socket: its receive buffer, and faults that begin with the connection."""

from __future__ import annotations

import asyncio
import socket

import pytest
from support import soon, turns, until
from support.certificates import Certificate
from support.raw_http import PLAIN, connect, leave, pause, taken
from yarl import URL

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing import (
    AnswerUnread,
    Fault,
    FaultReceiver,
    FaultScript,
    Hang,
    NeverRead,
    ReceivedRequest,
)


async def test_a_small_receive_buffer_holds_from_the_handshake_on() -> None:
    """Set on an accepted socket it would come too late: the first window is 64 KiB by then."""
    held = []
    for size in (4096, 32768, None):
        async with FaultReceiver(NeverRead(), receive_buffer=size) as receiver:
            held.append(await taken(receiver, 4_000_000))
    assert held == sorted(held)
    assert held[0] < 20_000
    assert held[2] > 60_000


async def test_a_small_receive_buffer_hinders_no_request() -> None:
    size = 300_000
    async with FaultReceiver(receive_buffer=4096) as receiver:
        _, writer = await connect(receiver)
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        (request,) = await soon(receiver.wait_for(1))
        assert len(request.body) == size
        assert receiver.bytes_read(1) > size
    leave(writer)


@pytest.mark.parametrize("size", [0, -1, True, 1.5])
def test_a_receive_buffer_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="receive_buffer="):
        FaultReceiver(receive_buffer=size)


async def test_connections_are_counted_when_they_are_accepted_and_while_they_are_open() -> None:
    async with FaultReceiver([NeverRead(), Hang()]) as receiver:
        writers = []
        for count in (1, 2, 3):
            writers.append((await connect(receiver))[1])
            await until(lambda: receiver.connected == len(writers))
            assert receiver.connections == count
        writers[1].write(PLAIN[:30])
        await soon(receiver.wait_until(lambda: receiver.bytes_read(2) == 30))
        writers[1].write(PLAIN[30:40])
        await soon(receiver.wait_until(lambda: receiver.bytes_read(2) == 40))
        writers[1].write(PLAIN[40:])
        await soon(receiver.wait_until(lambda: receiver.bytes_read(2) == len(PLAIN)))
        leave(*writers)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert receiver.connections == 3
        assert [receiver.bytes_read(number) for number in (1, 2, 3, 4)] == [0, len(PLAIN), 0, 0]


async def connect_and_read(client: socket.socket, receiver: FaultReceiver) -> bytes:
    """Return the first bytes that come without a request."""
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", URL(receiver.url).port))
    return await loop.sock_recv(client, 1)


@pytest.mark.parametrize("tls", [False, True])
async def test_an_error_of_the_script_at_an_accepted_connection_reaches_the_test(
    tls: bool, certificate: Certificate
) -> None:
    class Broken(FaultScript):
        def accept(self, connection: int) -> Fault | None:
            raise LookupError("broken on purpose")

        def begin(self, connection: int, position: int) -> Fault | None:
            return None

        def choose(self, request: ReceivedRequest) -> Fault:
            return Hang()

    receiver = FaultReceiver(Broken(), ssl=certificate.server() if tls else None)
    await receiver.start()
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(ConnectionResetError):  # while it connects, or thereafter
            await soon(connect_and_read(client, receiver))
    assert (receiver.connections, receiver.connected) == (1, 0)
    with pytest.raises(LookupError, match="on purpose"):
        await receiver.aclose()


async def test_an_address_that_is_taken_leaves_no_socket() -> None:
    async with FaultReceiver() as receiver:
        other = FaultReceiver(port=URL(receiver.url).port or 0)
        with pytest.raises(OSError, match="in use"):
            await other.start()


@pytest.mark.parametrize("tls", [False, True])
async def test_closing_ends_what_no_reader_or_writer_would(
    tls: bool, certificate: Certificate
) -> None:
    """Connections that are not read, with answers under way, and one that nobody has accepted."""
    server, client = (certificate.server(), certificate.client()) if tls else (None, None)
    endless = AnswerUnread(limit=None)
    receiver = FaultReceiver([NeverRead(), endless, AnswerUnread()], ssl=server)
    await receiver.start()
    clients = [await connect(receiver, client) for _ in range(3)]
    for _, writer in clients:
        pause(writer)
        writer.write(PLAIN)
    await soon(receiver.wait_until(lambda: receiver.responses > 2))
    await turns(500)
    late = socket.create_connection(("127.0.0.1", URL(receiver.url).port or 0))
    await soon(receiver.aclose())
    assert receiver.connected == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    late.close()
    leave(*(writer for _, writer in clients))
