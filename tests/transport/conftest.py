"""aioresponses, made to work with aiohttp 3.14; a name server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from unittest.mock import Mock

import aioresponses.core
import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses as mocking
from support.name_server import NameServer


class _Response(ClientResponse):
    """Takes the argument that aiohttp 3.14 asks for and aioresponses 0.7.9 does not pass."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[mocking]:
    """Answers instead of the network. No connector, time-out or egress check runs under it."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", _Response)
    with mocking() as mocked:
        yield mocked


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    """A name server that knows no name yet."""
    async with NameServer() as server:
        yield server
