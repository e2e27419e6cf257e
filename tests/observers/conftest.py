"""A receiver, and traces that are seen to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from support.traces import Traces

from relaybox_hooks.testing import FaultReceiver


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.provider.shutdown()


@pytest.fixture
async def receiver() -> AsyncIterator[FaultReceiver]:
    async with FaultReceiver() as receiver:
        yield receiver
