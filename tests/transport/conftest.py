"""aioresponses, made to work with aiohttp 3.14; a name server; exchanges without a socket."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import Mock

import aioresponses.core
import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses as mocking
from support.exchanges import Line
from support.name_server import NameServer
from yarl import URL


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


@pytest.fixture
async def line() -> Line:
    """A connection on which nothing has happened yet."""
    return Line()


@pytest.fixture
async def nothing_unretrieved() -> AsyncIterator[None]:
    """Fail a test after which the loop has an error to tell of that no task has taken."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert not found


@pytest.fixture
def full_backlog() -> Iterator[URL]:
    """A listener that answers no SYN, because its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):  # Linux takes one more than the backlog says
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield URL(f"http://127.0.0.1:{listener.getsockname()[1]}/")
