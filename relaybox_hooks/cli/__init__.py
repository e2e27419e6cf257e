"""``relaybox-hooks``: try webhooks out, keep their configuration, look into a journal.

Exit codes: 0 yes, done, delivered; 1 no, not all of it; 2 it could not be tried, because an
option, a file or a port does not allow it; 130 interrupted.
"""

from __future__ import annotations

import io
import sys
from typing import Final

from relaybox_hooks.errors import RelayboxHooksError

#: What the extra brings.
_EXTRA: Final = frozenset({"rich", "tomlkit", "typer"})


def main() -> int:
    """Run the program; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what it cannot write becomes a question mark
            stream.reconfigure(errors="replace")
    try:
        from relaybox_hooks.cli.app import app  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(
            f"relaybox-hooks needs {error.name}: pip install 'relaybox-hooks[cli]'",
            file=sys.stderr,
        )
        return 1
    try:
        app()
    except RelayboxHooksError as error:
        from relaybox_hooks.cli.console import complain  # noqa: PLC0415 - needs an extra

        complain(str(error))
        return 2
    return 0
