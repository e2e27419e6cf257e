"""TLS: certificates of private authorities and of clients, for one webhook or for all."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
from support import KEY, ONCE, ROOM, soon
from support.certificates import Certificate, make_certificate

from relaybox_hooks import EgressPolicy, Hooks, Webhook
from relaybox_hooks.testing import FaultReceiver
from relaybox_hooks.transport.egress import make_connector


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("client"))


async def deliver(hooks: Hooks) -> tuple[int, set[str | None]]:
    """How many events arrive of two, and the errors of those that do not."""
    for _ in range(2):
        await hooks.emit("room:join", ROOM)
    await soon(hooks.join())
    return hooks.stats().delivered, {letter.error for letter in await hooks.dead_letters()}


async def test_a_private_authority_is_trusted_by_the_webhook_that_says_so(
    server: Certificate,
) -> None:
    async with FaultReceiver(ssl=server.server()) as receiver:
        trusting = Webhook(receiver.url, ["*"], KEY, retry=ONCE, ssl=server.client())
        async with Hooks([trusting], logging=False) as hooks:
            assert await deliver(hooks) == (2, set())
        doubting = Webhook(receiver.url, ["*"], KEY, retry=ONCE)
        async with Hooks([doubting], logging=False) as hooks:
            delivered, errors = await deliver(hooks)
        assert delivered == 0
        assert errors == {"ClientConnectorCertificateError(SSLCertVerificationError)"}


async def test_a_client_certificate_is_shown_to_the_endpoint_that_asks_for_it(
    server: Certificate, client: Certificate
) -> None:
    asking = server.server()
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_verify_locations(client.cert)
    showing = server.client()
    showing.load_cert_chain(client.cert, client.key)
    async with FaultReceiver(ssl=asking) as receiver:
        webhook = Webhook(receiver.url, ["*"], KEY, retry=ONCE, ssl=showing)
        async with Hooks([webhook], logging=False) as hooks:
            assert await deliver(hooks) == (2, set())
        without = Webhook(receiver.url, ["*"], KEY, retry=ONCE, ssl=server.client())
        async with Hooks([without], logging=False) as hooks:
            delivered, _ = await deliver(hooks)
        assert delivered == 0
        assert len(receiver.requests) == 2


async def test_the_context_holds_with_a_hosts_own_session_too(server: Certificate) -> None:
    async with (
        FaultReceiver(ssl=server.server()) as receiver,
        aiohttp.ClientSession() as session,
    ):
        webhook = Webhook(receiver.url, ["*"], KEY, retry=ONCE, ssl=server.client())
        async with Hooks([webhook], http_session=session, logging=False) as hooks:
            assert await deliver(hooks) == (2, set())


async def test_a_hosts_connector_speaks_tls_for_all_webhooks(server: Certificate) -> None:
    async with (
        FaultReceiver(ssl=server.server()) as receiver,
        make_connector(EgressPolicy.DEFAULT, ssl=server.client()) as connector,
    ):
        webhook = Webhook(receiver.url, ["*"], KEY, retry=ONCE)
        async with Hooks([webhook], connector=connector, logging=False) as hooks:
            assert await deliver(hooks) == (2, set())
        assert not connector.closed
