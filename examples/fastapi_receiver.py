"""Webhook receiver in FastAPI that handles verified requests only and counts each event once.

    python examples/fastapi_receiver.py --port 4000 --key 21d45d1d4dff46f13cd4478ba08395d9

The key can be set in the environment instead (RELAYBOX_SIGNING_KEY), where `ps` does not show it.
Prints a line for each event, and one on stderr for each rejected request; GET /counts returns the
totals. FastAPI and uvicorn are in the extra: pip install "relaybox-hooks[examples]"
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, TypeAlias

import uvicorn
from fastapi import Depends, FastAPI, HTTPException

from relaybox_hooks import ReceivedEvent, WebhookVerifier
from relaybox_hooks.receive import HandledEvents
from relaybox_hooks.receive.fastapi import WebhookMiddleware, received_event

VerifiedEvent: TypeAlias = Annotated[ReceivedEvent, Depends(received_event)]


class Counts:
    """Number of each event; stands for a database that may be unavailable at first."""

    def __init__(self, failures: int = 0) -> None:
        self._failures = failures
        self.of: Counter[str] = Counter()

    def add(self, event: ReceivedEvent) -> None:
        if self._failures:
            self._failures -= 1
            raise HTTPException(503, "simulated failure: the sender should retry")
        self.of[event.name] += 1
        # As ASCII, so that no control character reaches the terminal.
        print("counted", json.dumps([event.name, event.data]), flush=True)


def make_app(key: str, url: str, counts: Counts) -> FastAPI:
    """Return the application with ``POST /webhook`` and ``GET /counts``.

    Args:
        key: signing key of the webhook.
        url: URL of the receiver, to print at the start.
        counts: counter of events.
    """
    handled = HandledEvents()

    @asynccontextmanager
    async def announce(app: FastAPI) -> AsyncIterator[None]:
        print("receiving at", url, flush=True)
        yield

    app = FastAPI(lifespan=announce)
    # The middleware rejects forged, stale and replayed requests before the handler.
    app.add_middleware(WebhookMiddleware, WebhookVerifier(key), "/webhook")

    @app.post("/webhook", status_code=204)
    async def webhook(event: VerifiedEvent) -> None:
        # A retry arrives if the response was lost, or if counting failed the first time.
        async with handled.claim(event) as unhandled:
            if unhandled:
                counts.add(event)

    @app.get("/counts")
    async def read_counts() -> dict[str, int]:
        return counts.of

    return app


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify webhooks with FastAPI and count them.")
    parser.add_argument("--port", type=int, default=4000, help="0 selects a free one")
    parser.add_argument("--key", default=os.environ.get("RELAYBOX_SIGNING_KEY"))
    parser.add_argument(
        "--fail-first",
        type=int,
        default=0,
        metavar="N",
        help="respond with 503 to the first N requests",
    )
    options = parser.parse_args()
    if not options.key:
        parser.error("give the webhook's signing key: --key, or RELAYBOX_SIGNING_KEY")
    try:
        listener = socket.create_server(("127.0.0.1", options.port))
    except OSError as error:
        parser.error(f"port {options.port}: {error.strerror}")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("relaybox_hooks").setLevel(logging.INFO)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhook"
    app = make_app(options.key, url, Counts(options.fail_first))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
