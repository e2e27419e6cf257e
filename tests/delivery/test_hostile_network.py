"""Endpoints that do not read, on a network with packets of 1,500 bytes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path
from typing import Final

import pytest
from support import network_namespace

_TESTS: Final = Path(__file__).resolve().parents[1]
#: What depends on how much the buffers at both ends take.
_WHICH: Final = "closing or not_sent or deadline or asked_for"


async def _run(*arguments: str) -> tuple[int, str]:
    command = network_namespace.command(*arguments)
    if command is None:
        pytest.skip("no unshare: a network namespace cannot be made here")
    environment = {
        name: text for name, text in os.environ.items() if name[:3] not in ("PYT", "COV")
    }
    path = os.pathsep.join((str(_TESTS), str(_TESTS.parent)))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=_TESTS,
        env=environment | {"PYTHONPATH": path},
    )
    output = (await process.communicate())[0].decode()
    if "unshare failed" in output:
        pytest.skip(f"a network namespace cannot be made here: {output.strip()}")
    return process.returncode or 0, output


async def test_packets_are_as_small_as_they_are_said_to_be() -> None:
    """By the largest segment of a connection: 1,500 bytes less the headers."""
    program = (
        "import socket; server = socket.create_server(('127.0.0.1', 0));"
        "client = socket.create_connection(server.getsockname());"
        "print(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))"
    )
    code, output = await _run(sys.executable, "-c", program)
    assert code == 0, output
    said, segment = output.splitlines()
    assert said == "packets of 1500 bytes"
    assert 1400 < int(segment) <= 1460


async def test_endpoints_that_do_not_read_are_as_harmless_there() -> None:
    """The same tests as on the loopback device, where they run too."""
    options = ["-q", "-p", "no:cacheprovider", "-k", _WHICH]
    pytest_ = [sys.executable, "-m", "pytest", *options, "delivery/test_hostile_endpoints.py"]
    code, output = await _run(*pytest_)
    assert code == 0, output
    assert "packets of 1500 bytes" in output
    assert " passed" in output.splitlines()[-1], output
