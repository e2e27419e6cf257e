"""Bytes that the kernel holds for a socket, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest
from support import soon, until

from relaybox_hooks.transport import unsent
from relaybox_hooks.transport.unsent import count_unsent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not tell")

#: More than both kernels' buffers together, to begin with.
MUCH = 2**24


async def connected() -> tuple[asyncio.Transport, socket.socket]:
    """A transport, and the socket of its peer, which reads nothing by itself."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
        peer, _ = listener.accept()
    peer.setblocking(False)
    return transport, peer


async def test_a_peer_that_never_reads_leaves_bytes_in_the_kernel() -> None:
    transport, peer = await connected()
    with peer:
        transport.write(bytes(MUCH))
        assert count_unsent(transport) > 0
        transport.abort()
        await asyncio.sleep(0)


async def test_of_what_a_peer_has_read_nothing_is_left() -> None:
    """Its kernel acknowledges it, if only with what it sends."""
    transport, peer = await connected()
    loop = asyncio.get_running_loop()
    with peer:
        assert count_unsent(transport) == 0
        transport.write(bytes(MUCH))
        left = MUCH
        while left:
            left -= len(await soon(loop.sock_recv(peer, left)))
        await until(lambda: count_unsent(transport) == 0)
        transport.abort()
        await asyncio.sleep(0)


async def test_an_answer_acknowledges_the_request() -> None:
    transport, peer = await connected()
    loop = asyncio.get_running_loop()
    received = loop.create_future()

    class Reader(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            received.set_result(count_unsent(transport))

    transport.set_protocol(Reader())
    with peer:
        transport.write(b"request")
        assert await soon(loop.sock_recv(peer, 100)) == b"request"
        await loop.sock_sendall(peer, b"answer")
        assert await soon(received) == 0
        transport.abort()
        await asyncio.sleep(0)


async def test_where_the_kernel_does_not_tell_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport, peer = await connected()
    with peer:
        transport.write(bytes(MUCH))
        assert count_unsent(transport) > 0
        monkeypatch.setattr(unsent, "_TELLS", False)
        assert count_unsent(transport) == 0
        transport.abort()
        await asyncio.sleep(0)


def test_a_transport_without_a_socket_has_nothing_unsent() -> None:
    class Bare(asyncio.Transport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return default

    assert count_unsent(Bare()) == 0
