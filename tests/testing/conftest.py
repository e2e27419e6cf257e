"""How the tests of the receiver send to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture
def post(session: aiohttp.ClientSession) -> Callable[..., Coroutine[Any, Any, tuple[int, bytes]]]:
    """Sends the event ``e1``, or another, to a URL; returns the answer's status and body."""

    async def post(url: str, event: str = "e1", **options: Any) -> tuple[int, bytes]:
        headers = {"X-Relaybox-Webhook-Id": "wh"}
        options.setdefault("allow_redirects", False)
        body = json.dumps({"id": event}).encode()
        async with session.post(url, data=body, headers=headers, **options) as response:
            return response.status, await response.read()

    return post
