"""Generator of the README's picture of ``listen`` and ``trigger``, from real runs of both.

    python examples/capture_listen.py

Each program runs on its own pseudo-terminal; their output becomes ``listen.svg`` in the directory
of this file.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

PICTURE: Final = Path(__file__).with_name("listen.svg")
PROGRAM: Final = Path(sys.executable).with_name("relaybox-hooks")
KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"

_COLUMNS, _ROWS = 120, 40

#: Timeout for output of a program, seconds.
_TIMEOUT: Final = 20.0

#: Default port of ``listen`` and ``trigger``.
_PORT: Final = 4000


class OnTerminal:
    """Program that runs on its own pseudo-terminal, with its output."""

    def __init__(self, command: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._process = subprocess.Popen(  # noqa: S603
            [str(PROGRAM), *command.split()[1:]],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "RELAYBOX_SIGNING_KEY": KEY, "TERM": "xterm-256color"},
        )
        os.close(theirs)
        self._written = b""

    @property
    def written(self) -> str:
        return self._written.decode().replace("\r\n", "\n").rstrip("\n")

    def wait_for(self, lines: int) -> None:
        """Read until the output has ``lines`` lines."""
        deadline = time.monotonic() + _TIMEOUT
        while self._written.count(b"\n") < lines:
            if not select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"the program wrote only: {self.written}")
            self._written += os.read(self._ours, 4096)

    def ends(self) -> None:
        """Read until the program exits."""
        while True:
            try:
                data = os.read(self._ours, 4096)
            except OSError:  # Linux raises EIO when the other side of the terminal is closed
                data = b""
            if not data:
                break
            self._written += data
        self._process.wait(_TIMEOUT)
        os.close(self._ours)

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)


def capture(picture: Path, port: int) -> None:
    """Run the programs and write the picture."""
    at = "" if port == _PORT else f" --port {port}"
    listen = f"relaybox-hooks listen{at} --status 503 --first 1"
    listening = OnTerminal(listen)
    listening.wait_for(1)
    to = "" if port == _PORT else f" --url {Text.from_ansi(listening.written).plain.split()[2]}"
    triggers = {}
    for what in ("room:publish", "presence:update", "auth:signin --key not-the-key"):
        command = f"relaybox-hooks trigger {what}{to}"
        triggers[command] = OnTerminal(command)
        triggers[command].ends()
    listening.interrupt()
    listening.ends()

    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    _show(console, listen, listening)
    console.print()
    for command, trigger in triggers.items():
        _show(console, command, trigger)
    svg = console.export_svg(title="relaybox-hooks listen, and trigger in another terminal")
    # Viewers of embedded SVGs do not load remote fonts; any monospace font fits.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    picture.write_text(svg, encoding="utf-8")
    print(f"{picture}: {len(svg)} characters")


def _show(console: Console, command: str, program: OnTerminal) -> None:
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))
    console.print(Text.from_ansi(program.written))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw listen.svg from real runs.")
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE)
    parser.add_argument("--port", type=int, default=_PORT, help="0 selects a free one")
    options = parser.parse_args()
    capture(options.picture, options.port)
