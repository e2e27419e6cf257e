"""Dialling: the connector's own connections, with its egress, resolver and TLS, and no leak."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientSession,
    ConnectionTimeoutError,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from support import soon, turns
from yarl import URL

from relaybox_hooks import EgressError, EgressPolicy
from relaybox_hooks.testing import FaultReceiver
from relaybox_hooks.transport.attempt import of_error
from relaybox_hooks.transport.dialler import Taken, dial, open_session
from relaybox_hooks.transport.egress import blocked_by, make_connector

DEFAULT = EgressPolicy.DEFAULT


@asynccontextmanager
async def dialling(policy: EgressPolicy = DEFAULT, **options: Any) -> AsyncIterator[ClientSession]:
    """A session that dials by a policy."""
    connector = make_connector(policy, **options)
    async with open_session(connector, owns_connector=True) as session:
        yield session


async def hang_up(connection: Taken) -> None:
    """Abort a connection, and wait until its socket is closed."""
    connection.close()
    await turns()


async def test_each_connection_is_a_new_one() -> None:
    async with FaultReceiver() as receiver, dialling() as session:
        url = URL(receiver.url)
        dialled = [await soon(dial(session, url, timeout=None)) for _ in range(3)]
        await soon(receiver.wait_until(lambda: receiver.connected == 3))
        assert len({connection.transport for connection in dialled}) == 3
        assert receiver.attempts == 0
        for connection in dialled:
            await hang_up(connection)


async def test_a_connection_that_a_host_s_session_has_left_is_not_taken() -> None:
    """What its endpoint sent on it would be read as the answer to another's request."""
    async with FaultReceiver() as receiver, TCPConnector() as connector:
        async with (
            ClientSession(connector=connector, connector_owner=False) as hosts,
            hosts.post(receiver.url) as response,
        ):
            assert response.status == 200
        assert (receiver.connections, receiver.connected) == (1, 1)
        async with open_session(connector, owns_connector=False) as session:
            connection = await soon(dial(session, URL(receiver.url), timeout=None))
            await soon(receiver.wait_until(lambda: receiver.connections == 2))
            await hang_up(connection)
        assert not connector.closed


async def test_the_connector_neither_counts_nor_closes_what_was_taken() -> None:
    """Else its limit would be one of idle connections, and its end would wait for their ends."""
    async with FaultReceiver() as receiver:
        async with dialling(limit=1, limit_per_host=1) as session:
            dialled = [await soon(dial(session, URL(receiver.url), timeout=None)) for _ in range(2)]
            await soon(session.close())
        await turns()
        assert receiver.connected == 2
        for connection in dialled:
            await hang_up(connection)


async def test_the_egress_policy_refuses() -> None:
    async with FaultReceiver() as receiver, dialling(EgressPolicy.PUBLIC_ONLY) as session:
        with pytest.raises(ClientConnectorError) as caught:
            await soon(dial(session, URL(receiver.url), timeout=None))
        assert isinstance(caught.value.os_error, EgressError)
        assert blocked_by(caught.value) is not None
        assert "127.0.0.0/8 loopback" in str(caught.value)
        assert receiver.connections == 0


class Answers(AbstractResolver):
    """A resolver that has one answer for each name."""

    def __init__(self, address: str) -> None:
        self.asked: list[str] = []
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        result = ResolveResult(
            hostname=host, host=self._address, port=port, family=family, proto=0, flags=0
        )
        return [result]

    async def close(self) -> None:
        """Nothing to close."""


async def test_the_connector_s_resolver_is_used() -> None:
    resolver = Answers("127.0.0.1")
    async with FaultReceiver() as receiver, dialling(resolver=resolver) as session:
        url = URL(receiver.url).with_host("hooks.example")
        await hang_up(await soon(dial(session, url, timeout=None)))
        assert (resolver.asked, receiver.connections) == (["hooks.example"], 1)


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultReceiver() as receiver, FaultReceiver() as proxy, dialling() as session:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await hang_up(await soon(dial(session, URL(receiver.url), timeout=None)))
        assert (receiver.connections, proxy.connections) == (1, 0)


async def test_one_that_is_refused_says_where() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with dialling() as session:
            with pytest.raises(ClientConnectorError, match=rf"127\.0\.0\.1:{port}"):
                await soon(dial(session, URL(f"http://127.0.0.1:{port}/"), timeout=None))


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself, and its key, in one file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl")
    folder = tmp_path_factory.mktemp("certificate")
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - ours
    both = folder / "both.pem"
    both.write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.fixture
async def tls_url(certificate: Path) -> AsyncIterator[URL]:
    """A server that speaks TLS and says nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    writers: list[asyncio.StreamWriter] = []
    serve = await asyncio.start_server(
        lambda _, writer: writers.append(writer), "127.0.0.1", 0, ssl=context
    )
    async with serve:
        yield URL(f"https://localhost:{serve.sockets[0].getsockname()[1]}/")
        for writer in writers:
            writer.transport.abort()
        await turns()


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def test_a_context_of_its_own_is_spoken_tls_with(certificate: Path, tls_url: URL) -> None:
    resolver = Answers("127.0.0.1")
    async with dialling(resolver=resolver) as session:
        context = trusting(certificate)
        connection = await soon(dial(session, tls_url, timeout=None, ssl=context))
        assert connection.transport is not None
        assert connection.transport.get_extra_info("sslcontext") is context
        await hang_up(connection)


async def test_without_one_the_connector_s_own_is(certificate: Path, tls_url: URL) -> None:
    context = trusting(certificate)
    async with dialling(resolver=Answers("127.0.0.1"), ssl=context) as session:
        connection = await soon(dial(session, tls_url, timeout=None))
        assert connection.transport is not None
        assert connection.transport.get_extra_info("sslcontext") is context
        await hang_up(connection)


async def test_a_certificate_that_is_not_trusted_is_an_error(tls_url: URL) -> None:
    async with dialling(resolver=Answers("127.0.0.1")) as session:
        with pytest.raises(ClientConnectorCertificateError, match="self-signed"):
            await soon(dial(session, tls_url, timeout=None))


async def test_a_certificate_for_another_name_is_an_error(certificate: Path, tls_url: URL) -> None:
    async with dialling(resolver=Answers("127.0.0.1"), ssl=trusting(certificate)) as session:
        with pytest.raises(ClientConnectorCertificateError, match=r"hooks\.example"):
            await soon(dial(session, tls_url.with_host("hooks.example"), timeout=None))


# Dials that come to nothing


async def test_a_connection_that_is_never_accepted_ends_by_the_time_out(full_backlog: URL) -> None:
    async with dialling() as session:
        with pytest.raises(ConnectionTimeoutError):
            await soon(dial(session, full_backlog, timeout=0.02))


async def test_a_handshake_that_is_never_answered_ends_by_the_time_out() -> None:
    """TCP is connected at once; the endpoint never speaks TLS."""
    async with FaultReceiver() as receiver, dialling() as session:
        url = URL(receiver.url).with_scheme("https")
        with pytest.raises(ConnectionTimeoutError):
            await soon(dial(session, url, timeout=0.02))
        await soon(receiver.wait_until(lambda: receiver.connected == 0))


async def test_a_cancelled_dial_leaves_no_socket(full_backlog: URL) -> None:
    """While TCP connects; the fixture of all tests looks for sockets that are left."""
    async with dialling() as session:
        dialling_on = asyncio.create_task(dial(session, full_backlog, timeout=None))
        await turns()
        assert not dialling_on.done()
        dialling_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(dialling_on)


async def test_a_dial_that_is_cancelled_in_its_handshake_leaves_no_socket() -> None:
    async with FaultReceiver() as receiver, dialling() as session:
        url = URL(receiver.url).with_scheme("https")
        dialling_on = asyncio.create_task(dial(session, url, timeout=None))
        await soon(receiver.wait_until(lambda: receiver.attempts == 1))
        dialling_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(dialling_on)
        await soon(receiver.wait_until(lambda: receiver.connected == 0))


async def test_a_dial_cancelled_at_whatever_turn_leaves_no_socket() -> None:
    async with FaultReceiver() as receiver, dialling() as session:
        finished = 0
        for number in range(12):
            dialling_on = asyncio.create_task(dial(session, URL(receiver.url), timeout=None))
            await turns(number)
            dialling_on.cancel()
            try:
                connection = await soon(dialling_on)
            except asyncio.CancelledError:
                continue
            finished += 1
            await hang_up(connection)
        assert 0 < finished < 12
        await turns()
        await soon(receiver.wait_until(lambda: receiver.connected == 0))


async def test_a_session_that_is_closed_is_an_outcome_to_try_again() -> None:
    async with FaultReceiver() as receiver:
        async with dialling() as session:
            pass
        with pytest.raises(RuntimeError) as caught:
            await soon(dial(session, URL(receiver.url), timeout=None))
        outcome = of_error(caught.value, URL(receiver.url))
        assert (outcome.verdict, outcome.detail) == ("retry", "Session is closed")


async def test_a_session_that_is_closed_meanwhile_is_an_outcome_too(full_backlog: URL) -> None:
    async with dialling() as session:
        dialling_on = asyncio.create_task(dial(session, full_backlog, timeout=0.05))
        await turns()
        await session.close()
        with pytest.raises(Exception, match=r"closed|timeout") as caught:
            await soon(dialling_on)
    assert of_error(caught.value, full_backlog).verdict == "retry"


async def test_a_session_whose_requests_are_replaced_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As test tools replace them, which would otherwise be taken to be an endpoint's error."""

    class Replaced:
        closed = False

        def close(self) -> None:
            self.closed = True

    answer = Replaced()

    async def replaced(*args: object, **options: object) -> Replaced:
        return answer

    monkeypatch.setattr(ClientSession, "_request", replaced)
    async with dialling() as session:
        with pytest.raises(RuntimeError, match="without its connector; give an http_session"):
            await soon(dial(session, URL("http://127.0.0.1/"), timeout=None))
    assert answer.closed


async def test_the_host_s_connector_is_left_open() -> None:
    async with TCPConnector() as connector:
        async with open_session(connector, owns_connector=False):
            pass
        assert not connector.closed
        async with open_session(connector, owns_connector=True):
            pass
        assert connector.closed
