"""A running receiver, once for each front end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, TCPConnector
from support import KEY
from support.front_ends import FRONT_ENDS, Application, Receiver

from relaybox_hooks import WebhookVerifier


@pytest.fixture(params=FRONT_ENDS)
async def receiver(request: pytest.FixtureRequest) -> AsyncIterator[Receiver]:
    """Each front end in turn, with a verifier of its own for ``KEY``."""
    application = Application()
    async with (
        FRONT_ENDS[request.param](application, WebhookVerifier(KEY)) as url,
        ClientSession(connector=TCPConnector(force_close=True)) as http,
    ):
        yield Receiver(url, application, http)
