"""Endpoints that are ill for ever: ``/hang``, ``/drip`` and ``/error``.

Run as a child process, see :class:`benchmarks.children.Child`, apart from the healthy sink so
that their trouble is not its trouble.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import cycle
from typing import Final
from urllib.parse import urlsplit

from benchmarks.children import serve_parent
from relaybox_hooks.testing import Answer, Drip, FaultReceiver, Hang, ResetAfterRead, Script

#: 36 bytes, one every 20 ms: most of a second until the head is whole.
_DRIP: Final = Drip(Answer(204, {"X": "drip"}), 0.02)


async def main() -> None:
    """Misbehave until the parent goes away."""
    drip_or_reset = cycle((_DRIP, ResetAfterRead()))
    script: dict[str, Script] = {"/hang": Hang(), "/drip": drip_or_reset, "/error": Answer(500)}
    async with FaultReceiver(script) as receiver:

        def take() -> dict[str, int]:
            counts = Counter(request.path for request in receiver.requests)
            receiver.requests.clear()
            return dict(counts)

        await serve_parent(urlsplit(receiver.url).port or 0, take)


if __name__ == "__main__":
    asyncio.run(main())
