"""Server that emits an event at intervals and serves metrics for Prometheus.

    python examples/metrics.py --port 8000
    curl http://127.0.0.1:8000/metrics

Its webhook sends to the server itself, to an endpoint that answers every third request with 503.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import socket
import sys
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from relaybox_hooks import Event, Hooks, RetryPolicy, Session, Webhook, generate_signing_key
from relaybox_hooks.observers.prometheus import PrometheusMetrics

ROOMS = ("chat:lobby", "chat:garden")


def make_app(url: str, pause: float) -> web.Application:
    """Return the aiohttp application with ``GET /metrics`` and ``POST /webhook``.

    Args:
        url: base URL of the server, without a path.
        pause: seconds between two events.
    """
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry=registry)
    webhook = Webhook(
        f"{url}/webhook",
        ["room:*"],
        generate_signing_key(),
        id="itself",
        retry=RetryPolicy(initial=0.05),
    )
    hooks = Hooks([webhook], observers=[metrics.observer()], logging=False)
    requests = itertools.count(1)

    @hooks.on("room:join", name="greet")
    def greet(event: Event) -> None:
        print(f"welcome to {event.data['roomId']}", flush=True)

    async def scrape(request: web.Request) -> web.Response:
        # In a thread, because the text of many webhooks takes long enough to stall the event loop.
        text = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def receive(request: web.Request) -> web.Response:
        return web.Response(status=503 if next(requests) % 3 == 0 else 204)

    async def join_rooms() -> None:
        session = Session(client_id="zoe", connection_id="c-1")
        for room in itertools.cycle(ROOMS):
            await hooks.emit("room:join", {"roomId": room}, session)
            await asyncio.sleep(pause)

    async def run(app: web.Application) -> AsyncIterator[None]:
        async with hooks:
            joining = asyncio.create_task(join_rooms())
            yield
            joining.cancel()

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    app.router.add_post("/webhook", receive)
    app.cleanup_ctx.append(run)
    return app


def main() -> int:
    parser = argparse.ArgumentParser(description="Emit events and show their metrics.")
    parser.add_argument("--port", type=int, default=8000, help="0 selects a free one")
    parser.add_argument(
        "--pause", type=float, default=1.0, metavar="SECONDS", help="between events"
    )
    options = parser.parse_args()
    try:
        listener = socket.create_server(("127.0.0.1", options.port))
    except OSError as error:
        parser.error(f"port {options.port}: {error.strerror}")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print(f"metrics at {url}/metrics", flush=True)
    app = make_app(url, options.pause)
    web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
