"""Endpoints that are mostly well, and now and then do anything that endpoints do: every path.

Run as a child process, see :class:`benchmarks.children.Child`. What is cut short is never a 2xx,
so that receiver and sender agree on what a success is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

from benchmarks.children import serve_parent
from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    Drip,
    EndlessHeaders,
    Fault,
    FaultReceiver,
    Garbage,
    Hang,
    Late,
    ReceivedRequest,
    Redirect,
    ResetAfterRead,
)

#: Percent of the requests, roughly.
_WEIGHTS: Final[Mapping[Fault, float]] = {
    Answer(204): 70,
    Answer(201, body=b"made"): 10,
    Answer(204, {"Connection": "close"}): 1,
    Answer(500): 2,
    Answer(503): 2,
    Answer(429, {"Retry-After": "0"}): 2,
    Answer(404): 0.5,
    Redirect("http://127.0.0.1:9/"): 0.5,
    Late(Answer(), 0.05): 5,
    Late(Answer(), 2.0): 0.2,
    Hang(): 0.2,
    Drip(Answer(204), 0.001): 1,  # no body, whose end a time-out could cut off after the 2xx
    ResetAfterRead(): 2,
    CloseMidResponse(Answer(502, body=b"cut short"), after_bytes=3): 1,
    Garbage(): 1,
    EndlessHeaders(): 0.2,
}


async def main() -> None:
    """Misbehave until the parent goes away, the same way every time it is run."""
    draw = random.Random(5)
    faults, bounds = list(_WEIGHTS), list(accumulate(_WEIGHTS.values()))

    def fault(request: ReceivedRequest) -> Fault:
        return draw.choices(faults, cum_weights=bounds)[0]

    async with FaultReceiver(fault) as receiver:

        def take() -> dict[str, int]:
            counts = {"requests": len(receiver.requests), "accepted": len(receiver.accepted)}
            receiver.requests.clear()
            receiver.accepted.clear()
            return counts

        await serve_parent(int(receiver.url.rsplit(":")[-1].strip("/")), take)


if __name__ == "__main__":
    asyncio.run(main())
