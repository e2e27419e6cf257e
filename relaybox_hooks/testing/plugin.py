"""pytest fixtures; enable them in ``conftest.py``::

    pytest_plugins = ["relaybox_hooks.testing.plugin"]

They work with pytest-asyncio in either mode and with anyio's plugin on asyncio. If both are
installed, anyio's tests need pytest-asyncio's strict mode, because in auto mode it runs every
async fixture itself.
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
        from pytest_asyncio import fixture as _async_fixture  # required in strict mode
    except ImportError:
        _async_fixture = pytest.fixture


@_async_fixture
async def hooks() -> AsyncIterator[Hooks[Any]]:
    """Started Hooks without targets. Override it with those of your server."""
    async with Hooks() as hooks:
        yield hooks


@_async_fixture
async def recording(hooks: Hooks[Any]) -> AsyncIterator[Recording]:
    """Recording of the fixture ``hooks``. An error of a subscriber fails the test."""
    async with record(hooks) as recording:
        yield recording


@_async_fixture
async def webhook_receiver() -> AsyncIterator[FaultReceiver]:
    """Webhook receiver at ``webhook_receiver.url`` that responds with 200."""
    async with FaultReceiver() as receiver:
        yield receiver


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Clock for ``Hooks(clock=virtual_clock)`` that advances only by ``advance``."""
    return VirtualClock()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Let anyio run the fixtures of this module in its tests.

    pytest-asyncio would run the fixtures that it has marked in an event loop of its own, which
    does not run during such a test.
    """
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
