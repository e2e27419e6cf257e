"""The Node side of the interop tests.

``npm install --prefix tests/interop`` sets it up. Without it these tests are skipped on a
developer's machine, and fail where the environment variable ``CI`` is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from support import KEY
from support.node import NodeReceiver

HERE = Path(__file__).parent


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node() -> str:
    """Where Node is; with the packages that the scripts need."""
    executable = shutil.which("node")
    if executable is None:
        _missing("Node is not installed")
    if not (HERE / "node_modules" / "json-canonicalize").is_dir():
        _missing("the Node packages are missing: run npm install --prefix tests/interop")
    return executable


@pytest.fixture
def node_receiver(node: str) -> Iterator[NodeReceiver]:
    """A webhook endpoint in a Node process of its own."""
    with subprocess.Popen(  # noqa: S603
        [node, str(HERE / "receiver.mjs"), KEY], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            assert port, "receiver.mjs ended before it listened"
            yield NodeReceiver(f"http://127.0.0.1:{port}", KEY)
        finally:
            process.terminate()
