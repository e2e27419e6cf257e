"""Metrics to scrape, and traces that are seen to their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.scrapes import Scrapes
from support.traces import Traces


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.provider.shutdown()


@pytest.fixture
def scrapes() -> Scrapes:
    return Scrapes()
