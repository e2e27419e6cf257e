"""A hostile hour in fifteen seconds; ``python -m hostile --seconds 3600`` takes its time."""

from __future__ import annotations

import inspect
import sys
from typing import Final

import pytest
from hostile.endpoints import ENDPOINTS
from hostile.parent import run
from support.certificates import Certificate

from relaybox_hooks import testing
from relaybox_hooks.testing import Fault

_SECONDS: Final = 15.0


def test_every_fault_is_among_the_endpoints() -> None:
    """Each that ``relaybox_hooks.testing`` exports; 50 in all, at some of which TLS is spoken."""
    exported = {
        kind
        for name in testing.__all__
        if inspect.isclass(kind := getattr(testing, name)) and issubclass(kind, Fault)
    }
    assert {type(endpoint.fault) for endpoint in ENDPOINTS} == exported - {Fault}
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS) == 50
    assert sum(endpoint.tls for endpoint in ENDPOINTS) >= 10


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
async def test_fifty_hostile_webhooks_harm_neither_the_host_nor_fifty_healthy_ones(
    certificate: Certificate,
) -> None:
    """Files, connections, bytes and turns are in bounds at every look, and all adds up.

    With 256 files, of which the host has its part, whose clients are served throughout.
    """
    report = await run(certificate, seconds=_SECONDS, seed=1)
    print(f"\n{report}")
    assert report.faults == []
    assert len(report.seen) >= _SECONDS  # of 4 a second, on a busy machine
