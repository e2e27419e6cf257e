"""Command ``relaybox-hooks``: test webhooks, edit their configuration, inspect a journal.

Exit codes: 0 success; 1 failure or partial failure (not verified, not delivered); 2 invalid
option, file or port; 130 interrupted.
"""

from __future__ import annotations

import io
import sys
from typing import Final

from relaybox_hooks.errors import RelayboxHooksError

#: Packages that the extra installs.
_EXTRA: Final = frozenset({"rich", "tomlkit", "typer"})


def main() -> int:
    """Run the program and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # "?" for unencodable characters
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
        from relaybox_hooks.cli.console import print_error  # noqa: PLC0415 - needs an extra

        print_error(str(error))
        return 2
    return 0
