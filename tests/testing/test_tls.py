"""TLS of the receiver: requests over it, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import ssl
import sys
import termios
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from support import soon, turns, until
from support.certificates import Certificate
from support.raw_http import CHUNKED, PLAIN, connect, ending, leave, pause, resume
from yarl import URL

from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    Drip,
    EndlessBody,
    Exchange,
    Fault,
    FaultReceiver,
    Garbage,
    Hang,
    Hold,
    NeverRead,
    ResetAfterRead,
    ResetBeforeRead,
)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_are_served_over_tls(
    version: ssl.TLSVersion, certificate: Certificate
) -> None:
    client = certificate.client()
    client.minimum_version = client.maximum_version = version
    big = Answer(201, {}, bytes(5_000_000))
    async with (
        FaultReceiver([big, Answer(202)], ssl=certificate.server()) as receiver,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client)) as session,
    ):
        assert URL(receiver.url_for("/x?y=1")).scheme == "https"
        async with session.post(
            receiver.url_for("/x?y=1"), data=BytesIO(bytes(3_000_000))
        ) as response:
            assert (response.status, await response.read()) == (201, big.body)
        async with session.post(receiver.url) as response:
            assert response.status == 202
        first, second = receiver.requests
        assert (first.path, first.query, len(first.body)) == ("/x", "y=1", 3_000_000)
        assert (second.connection, second.position) == (1, 2)
        assert receiver.bytes_read(1) > 3_000_000


@pytest.mark.parametrize("piece", [1, 3, 50])
async def test_records_may_come_in_pieces(piece: int, certificate: Certificate) -> None:
    """The handshake is read record by record: none is lost between two of them."""
    async with FaultReceiver([Answer(201), Answer(202)], ssl=certificate.server()) as receiver:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = certificate.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
        reader, writer = await connect(receiver)

        async def exchanged(step: Any) -> bytes:
            while True:
                try:
                    result: bytes = step()
                except ssl.SSLWantReadError:
                    result = b""
                stream = outgoing.read()
                for start in range(0, len(stream), piece):
                    writer.write(stream[start : start + piece])
                    await asyncio.sleep(0)
                if result:
                    return result
                incoming.write(await soon(reader.read(65536)))

        def shake_hands() -> bytes:
            tls.do_handshake()
            return b"done"

        await exchanged(shake_hands)
        tls.write(PLAIN)
        tls.write(CHUNKED)
        wire = Answer(201).wire + Answer(202).wire
        answers = b""
        while len(answers) < len(wire):
            answers += await exchanged(lambda: tls.read(65536))
        assert answers == wire
        assert [request.body for request in receiver.requests] == [b"first", b"second"]
        leave(writer)


class Client:
    """A client whose every record is sent by hand."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def connect(self, receiver: FaultReceiver) -> None:
        """Connect, and shake hands up to the last flight, which stays in ``unsent()``."""
        self.reader, self.writer = await connect(receiver)
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.send()
                self._incoming.write(await soon(self.reader.read(65536)))

    def unsent(self) -> bytes:
        """Take the records that are ready."""
        return self._outgoing.read()

    def send(self) -> None:
        """Send the records that are ready."""
        self.writer.write(self.unsent())

    def say_goodbye(self) -> None:
        """Send a close_notify, but no FIN."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.send()

    async def read_to_the_end(self) -> bytes:
        """Return what comes before a close_notify; raise SSLEOFError if none comes before FIN."""
        self._incoming.write(await soon(self.reader.read()))
        self._incoming.write_eof()
        data = b""
        try:
            while part := self.tls.read(65536):
                data += part
        except ssl.SSLZeroReturnError:
            pass
        return data


@pytest.mark.parametrize("option", [0, ssl.OP_ENABLE_MIDDLEBOX_COMPAT])
async def test_nothing_beyond_the_handshake_is_taken_from_the_socket(
    option: ssl.Options, certificate: Certificate
) -> None:
    """Though the request comes in one piece with the end of the handshake."""
    context = certificate.client()
    context.options &= ~ssl.OP_ENABLE_MIDDLEBOX_COMPAT
    context.options |= option
    client = Client(context)
    async with FaultReceiver(NeverRead(), ssl=certificate.server()) as receiver:
        await client.connect(receiver)
        finished = client.unsent()
        client.tls.write(PLAIN)
        record = client.unsent()
        client.writer.write(finished + record)
        (connection,) = receiver._traffic.open
        server = connection.transport.get_extra_info("socket").fileno()

        def unread() -> int:
            return int.from_bytes(fcntl.ioctl(server, termios.FIONREAD, bytes(4)), sys.byteorder)

        await until(lambda: connection._unread is not None)
        assert unread() == len(record)
        await turns(100)
        assert unread() == len(record)
    leave(client.writer)


@pytest.mark.parametrize("fault", [NeverRead(), Garbage(b"")], ids=repr)
async def test_records_behind_the_last_request_are_not_decrypted(
    fault: Fault, certificate: Certificate
) -> None:
    client = Client(certificate.client())
    async with FaultReceiver(lambda request: fault, ssl=certificate.server()) as receiver:
        await client.connect(receiver)
        client.send()
        client.tls.write(PLAIN)
        client.tls.write(PLAIN)
        client.send()
        await soon(receiver.wait_for(1))
        await turns(100)
        assert receiver.bytes_read(1) == len(PLAIN)
    leave(client.writer)


async def test_a_response_is_sent_whole_whatever_comes_after_its_request(
    certificate: Certificate,
) -> None:
    """The records behind the request do not cut it short."""
    big = Answer(200, {"Connection": "close"}, bytes(5_000_000))
    client = Client(certificate.client())
    async with FaultReceiver([Garbage(big.wire)], ssl=certificate.server()) as receiver:
        await client.connect(receiver)
        client.send()
        client.tls.write(PLAIN)
        client.tls.write(PLAIN)
        client.send()
        assert await client.read_to_the_end() == big.wire
    leave(client.writer)


async def test_a_goodbye_ends_an_idle_connection_with_another(certificate: Certificate) -> None:
    client = Client(certificate.client())
    async with FaultReceiver(ssl=certificate.server()) as receiver:
        await client.connect(receiver)
        client.tls.write(PLAIN)
        client.send()
        await soon(receiver.wait_until(lambda: receiver.responses == 1))
        client.say_goodbye()
        assert await client.read_to_the_end() == Answer().wire
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
    leave(client.writer)


async def test_a_close_says_goodbye(certificate: Certificate) -> None:
    """And what a fault does after it is without effect, as it is without TLS."""

    class Closing(Fault):
        def play(self, exchange: Exchange) -> None:
            exchange.write(b"bye")
            exchange.close()
            exchange.write(b"too late")
            exchange.close()

    client = Client(certificate.client())
    async with FaultReceiver(Closing(), ssl=certificate.server()) as receiver:
        await client.connect(receiver)
        client.tls.write(PLAIN)
        client.send()
        assert await client.read_to_the_end() == b"bye"
    leave(client.writer)


@pytest.mark.parametrize("goodbye", [False, True])
async def test_a_client_that_leaves_ends_a_response_that_it_does_not_read(
    goodbye: bool, certificate: Certificate
) -> None:
    client = Client(certificate.client())
    async with FaultReceiver(EndlessBody(), ssl=certificate.server()) as receiver:
        await client.connect(receiver)
        pause(client.writer)
        client.tls.write(PLAIN)
        client.send()
        await soon(receiver.wait_for(1))
        (connection,) = receiver._traffic.open
        await until(lambda: connection._paused)
        if goodbye:
            client.say_goodbye()
        else:
            client.writer.write_eof()
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
    leave(client.writer)


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (ResetBeforeRead(), None),
        (ResetAfterRead(), None),
        (Garbage(b"\x00\xff"), b"\x00\xff"),
        (CloseMidResponse(Answer(body=b"abc"), 1), Answer(body=b"abc").wire[:-2]),
        (Drip(Answer(200, {"Connection": "close"}), 0.0), None),
    ],
    ids=repr,
)
async def test_faults_are_the_same_over_tls(
    fault: Fault, end: bytes | None, certificate: Certificate
) -> None:
    async with FaultReceiver([fault], ssl=certificate.server()) as receiver:
        reader, writer = await connect(receiver, certificate.client())
        writer.write(PLAIN)
        if isinstance(fault, Drip):
            end = fault.answer.wire
            assert await soon(reader.readexactly(len(end))) == end
        else:
            assert await soon(ending(reader)) == end
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
    leave(writer)


async def test_a_close_does_not_wait_for_the_client(certificate: Certificate) -> None:
    """A close_notify and FIN come at once; asyncio's transport would wait for an answer."""
    async with FaultReceiver([Garbage(b"")], ssl=certificate.server()) as receiver:
        reader, writer = await connect(receiver, certificate.client())
        pause(writer)
        writer.write(PLAIN)
        await soon(receiver.wait_until(lambda: receiver.connections == 1))
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert len(receiver.requests) == 1
        resume(writer)
        assert await soon(ending(reader)) == b""
    leave(writer)


@pytest.mark.parametrize("fault", [Hang(), Hold()], ids=repr)
async def test_a_client_that_leaves_is_noticed(fault: Fault, certificate: Certificate) -> None:
    """By its close_notify, and without one."""
    async with FaultReceiver(fault, ssl=certificate.server()) as receiver:
        for count in (1, 2):
            _, writer = await connect(receiver, certificate.client())
            writer.write(PLAIN)
            await receiver.wait_for(count)
            if count == 1:
                writer.close()
            else:
                leave(writer)
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert receiver.held == []


@pytest.mark.parametrize(
    "data", [PLAIN, b"\x16\x03\x01\x00\x04" + b"\xff" * 4, b"\x00" * 5, b"\x16"]
)
async def test_bytes_that_are_not_tls_begin_no_request(
    data: bytes, certificate: Certificate
) -> None:
    async with FaultReceiver(ssl=certificate.server()) as receiver:
        reader, writer = await connect(receiver)
        writer.write(data)
        if len(data) > 1:
            assert not (await soon(ending(reader)) or b"").startswith(b"HTTP")
        else:
            writer.write_eof()
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert (receiver.connections, receiver.attempts, receiver.bytes_read(1)) == (1, 0, 0)
    leave(writer)


async def test_a_client_that_distrusts_the_certificate_is_no_request(
    certificate: Certificate,
) -> None:
    async with FaultReceiver(ssl=certificate.server()) as receiver:
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(receiver, ssl.create_default_context())
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
        assert receiver.attempts == 0


async def test_broken_records_end_the_connection(certificate: Certificate) -> None:
    async with FaultReceiver(Hang(), ssl=certificate.server()) as receiver:
        _, writer = await connect(receiver, certificate.client())
        writer.write(PLAIN)
        await receiver.wait_for(1)
        record = b"\x17\x03\x03\x00\x20" + bytes(32)
        os.write(writer.get_extra_info("socket").fileno(), record)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))
    leave(writer)


async def test_closing_does_not_wait_for_a_handshake(certificate: Certificate) -> None:
    async with FaultReceiver(ssl=certificate.server()) as receiver:
        reader, writer = await connect(receiver)
        writer.write(b"\x16\x03\x01")
        await soon(receiver.wait_until(lambda: receiver.connected == 1))
        await turns()
    assert receiver.connected == 0
    await soon(ending(reader))
    leave(writer)


async def test_a_fault_of_ones_own_may_speak_before_the_handshake(
    certificate: Certificate,
) -> None:
    class Plain(Fault):
        stage = "accepted"

        def play(self, exchange: Exchange) -> None:
            exchange.write(b"220 not yet TLS\r\n")
            exchange.close()

    async with FaultReceiver([Plain()], ssl=certificate.server()) as receiver:
        reader, writer = await connect(receiver)
        assert await soon(reader.read()) == b"220 not yet TLS\r\n"
    leave(writer)
