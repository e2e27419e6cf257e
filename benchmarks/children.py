"""Receivers in processes of their own, on loopback, that end with whoever started them.

A child's standard input is the leash: a line on it asks for what was recorded since the last
one, and its end, which comes however the parent goes, ends the child.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.paths import ROOT


class Child:
    """A receiver that runs while the ``with`` block does.

    Args:
        module: what to run; it calls :func:`serve_parent`.
        options: its command line.
        scheme: of its URLs.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, module: str, *options: str, scheme: str = "http") -> None:
        self._module = module
        self._scheme = scheme
        self._options = options

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", self._module, *self._options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the parent alone
        )
        self.port: int = self._read()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.__exit__(exc_type, exc, traceback)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def cpu(self) -> float:
        """CPU seconds that the child has used, in steps of a hundredth or so."""
        text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        fields = text.rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def url(self, path: str) -> str:
        """The URL of ``path``, which begins with a slash."""
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    def take(self) -> Any:
        """What the child recorded since it was last asked. Blocks for a moment."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"take\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


async def serve_parent(port: int, take: Callable[[], object]) -> None:
    """In the child: tell the parent ``port``, answer its questions, return when it is gone."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    print(port, flush=True)
    while await reader.readline():
        print(json.dumps(take()), flush=True)
    transport.close()
