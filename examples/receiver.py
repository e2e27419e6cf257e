"""Webhook receiver that verifies every request and prints it as one line.

    python examples/receiver.py --port 4000 --key 21d45d1d4dff46f13cd4478ba08395d9

The key can be set in the environment instead (RELAYBOX_SIGNING_KEY), where `ps` does not show it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

from relaybox_hooks import (
    MalformedBodyError,
    MissingHeaderError,
    ReceivedEvent,
    VerificationError,
    WebhookVerifier,
)

_COLUMNS = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Result of one request; ``str()`` is the line to print.

    ``event`` and the later fields are empty if the request failed verification, because an
    unverified body is untrusted.
    """

    status: int
    reason: str = ""
    event: str = ""
    id: str = ""
    duplicate: bool = False
    data: Any = None
    session: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, event: ReceivedEvent) -> Delivery:
        return cls(
            status=HTTPStatus.NO_CONTENT,
            event=event.name,
            id=event.id,
            duplicate=event.duplicate,
            data=event.data,
            session=event.session.to_wire(),
        )

    @property
    def verified(self) -> bool:
        return bool(self.event)

    def __str__(self) -> str:
        if not self.verified:
            verdict = "deferred" if self.status == HTTPStatus.SERVICE_UNAVAILABLE else "REFUSED"
            return _one_line(f"{verdict}  {self.status} {self.reason}")
        who = (self.session["user"] or {}).get("username") or "-"
        data = json.dumps(self.data, ensure_ascii=False)
        mark = " (duplicate)" if self.duplicate else ""
        return _one_line(f"verified  {self.event + mark:<24} {who:<12} {data}")


def _one_line(text: str) -> str:
    """Return ``text`` truncated to one line, without control and unencodable characters."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    if len(shown) > _COLUMNS:
        shown = shown[: _COLUMNS - 1] + "…"
    return shown.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding)


def make_app(
    key: str, on_delivery: Callable[[Delivery], None], *, fail_first: int = 0
) -> web.Application:
    """Return the aiohttp application with ``POST /webhook``.

    Args:
        key: signing key of the webhook.
        on_delivery: called with the result of each request before the response.
        fail_first: number of requests to answer with 503 first, as during a deployment.
    """
    verifier = WebhookVerifier(key)
    failures_left = fail_first

    async def receive(request: web.Request) -> web.Response:
        nonlocal failures_left
        body = await request.read()
        if failures_left:
            failures_left -= 1
            on_delivery(Delivery(status=503, reason="simulated failure: the sender should retry"))
            return web.json_response({"error": "Unavailable"}, status=503)
        try:
            event = verifier.verify(request.headers, body)
        except VerificationError as error:
            name, reason = type(error).__name__, str(error)
            unreadable = isinstance(error, MissingHeaderError | MalformedBodyError)
            status = 400 if unreadable else 401
            on_delivery(Delivery(status=status, reason=f"{name}: {reason}"))
            return web.json_response({"error": name, "reason": reason}, status=status)
        # A duplicate was processed before and only its response was lost: respond with success
        # again, and skip effects that must not happen twice.
        on_delivery(Delivery.of(event))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    app = web.Application()
    app.router.add_post("/webhook", receive)
    return app


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify webhooks and show each as one line.")
    parser.add_argument("--port", type=int, default=4000, help="0 selects a free one")
    parser.add_argument("--key", default=os.environ.get("RELAYBOX_SIGNING_KEY"))
    parser.add_argument("--json", action="store_true", help="print JSON lines, for programs")
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
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhook"

    def show(delivery: Delivery) -> None:
        print(json.dumps(asdict(delivery)) if options.json else delivery, flush=True)

    async def announce(app: web.Application) -> None:
        line = json.dumps({"listening": url}) if options.json else f"receiving at {url}"
        print(line, flush=True)

    app = make_app(options.key, show, fail_first=options.fail_first)
    app.on_startup.append(announce)
    web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
