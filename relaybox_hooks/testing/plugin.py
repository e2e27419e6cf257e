"""Fixtures for pytest, for those who ask for them in their ``conftest.py``::

    pytest_plugins = ["relaybox_hooks.testing.plugin"]

They serve tests that pytest-asyncio runs, in either mode, and tests that anyio's plugin runs on
asyncio; beside pytest-asyncio in its strict mode only, for in auto mode it takes every fixture.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any

import pytest

from relaybox_hooks.hooks import Hooks
from relaybox_hooks.testing.clock import VirtualClock
from relaybox_hooks.testing.receiver import FaultReceiver
from relaybox_hooks.testing.recorder import Recording, record

if TYPE_CHECKING:
    _async_fixture = pytest.fixture
else:
    try:
        from pytest_asyncio import fixture as _async_fixture  # strict mode runs what this marks
    except ImportError:
        _async_fixture = pytest.fixture


@_async_fixture
async def hooks() -> AsyncIterator[Hooks[Any]]:
    """Open hooks without targets. Override it with your server's own."""
    async with Hooks() as hooks:
        yield hooks


@_async_fixture
async def recording(hooks: Hooks[Any]) -> AsyncIterator[Recording]:
    """What is emitted into the fixture ``hooks``. A subscriber's error fails the test."""
    async with record(hooks) as recording:
        yield recording


@_async_fixture
async def webhook_receiver() -> AsyncIterator[FaultReceiver]:
    """A server for webhooks at ``webhook_receiver.url`` that answers 200."""
    async with FaultReceiver() as receiver:
        yield receiver


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock for ``Hooks(clock=virtual_clock)`` that moves only by ``advance``."""
    return VirtualClock()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Leave our fixtures to anyio in its tests: pytest-asyncio would run those it has marked in
    an event loop of its own, which stands still during such a test."""
    function = fixturedef.func
    if (
        "anyio_backend" not in request.fixturenames
        or getattr(function, "__module__", None) != __name__
        or not isasyncgenfunction(function)
    ):
        return (yield)

    async def unmarked(**fixtures: object) -> AsyncIterator[object]:
        async with asynccontextmanager(function)(**fixtures) as value:
            yield value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixturedef, "func", unmarked)
        return (yield)
