"""Traces that are seen to their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.traces import Traces


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.provider.shutdown()
