"""Command ``listen``: a receiver that verifies and shows requests and can simulate faults."""

from __future__ import annotations

import asyncio
import errno
import time
from contextlib import AsyncExitStack
from typing import Annotated, Final

import typer
from yarl import URL

from relaybox_hooks.cli.arrivals import Arrival
from relaybox_hooks.cli.console import (
    duration,
    printable,
    say,
    say_indented,
    say_json,
    time_of_day,
)
from relaybox_hooks.cli.faults import NO_FAULT, FaultName, FaultOptions
from relaybox_hooks.cli.forward import Forwarded, Forwarder, ForwardFault
from relaybox_hooks.cli.inputs import JSONOption, KeysOption, examples, signing_keys
from relaybox_hooks.receive import WebhookVerifier
from relaybox_hooks.testing import Fault, FaultReceiver, ReceivedRequest
from relaybox_hooks.wire.signing import generate_signing_key

EXAMPLES = examples(
    "listen --key 21d45d1d4dff46f13cd4478ba08395d9",
    "listen --payload --forward-to http://127.0.0.1:8000/webhook",
    "listen --status 503 --first 2            the first two fail, a retry succeeds",
    "listen --fault hang                      never responds: test a sender's timeout",
    "listen --json --max-requests 1           for scripts: 0 if it was verified, 1 if not",
)

#: Indentation of a payload: the width of the time column.
_INDENT: Final = 14


def listen(
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Port to listen on; 0 selects a free one."
        ),
    ] = 4000,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    keys: KeysOption = None,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Maximum difference between signing time and now; 0 disables the check.",
        ),
    ] = 30,
    show_payload: Annotated[
        bool, typer.Option("--payload", help="Show data and session of each request.")
    ] = False,
    as_json: JSONOption = False,
    forward_to: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Forward each request unchanged, and return the response."
        ),
    ] = None,
    status: Annotated[
        int | None,
        typer.Option(metavar="STATUS", help="Respond with this status to every request."),
    ] = None,
    fault: Annotated[
        FaultName | None,
        typer.Option(
            help="Never respond, reset the connection, send invalid HTTP, redirect, send one byte "
            "at a time, truncate the response, never end it.",
        ),
    ] = None,
    delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Delay each response.")
    ] = 0,
    retry_after: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=0, help="Add a Retry-After header to each response."),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Apply --status, --fault, --delay, --retry-after to the first N requests only.",
        ),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Exit after N requests; with 1 if one failed verification."
        ),
    ] = None,
) -> None:
    """Receive webhooks: verify and show each request.

    Responds with 204 to a valid request and with 401 or 400 to an invalid one, unless options
    say otherwise. A duplicate is a request whose event was accepted before. Without a key, a
    new one is generated and shown. Press Ctrl-C to stop.
    """
    target = None if forward_to is None else _target(forward_to)
    found = signing_keys(keys)
    made = None if found else generate_signing_key()
    listener = _Listener(
        WebhookVerifier(*(found or [str(made)]), tolerance=tolerance or None),
        FaultOptions(status=status, fault=fault, delay=delay, retry_after=retry_after, first=first),
        show_payload=show_payload,
        as_json=as_json,
    )
    try:
        # The receiver needs add_reader, which not every platform's default loop has.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(listener.run(host, port, made, target, max_requests))
    except KeyboardInterrupt:
        return
    raise typer.Exit(1 if listener.rejected else 0)


class _Listener:
    """Receiver that verifies, shows and answers requests."""

    def __init__(
        self,
        verifier: WebhookVerifier,
        fault_options: FaultOptions,
        *,
        show_payload: bool,
        as_json: bool,
    ) -> None:
        self._verifier = verifier
        self._fault_options = fault_options
        self._show_payload = show_payload
        self._as_json = as_json
        self._forwarder: Forwarder | None = None
        self._unanswered: list[ReceivedRequest] = []
        self._received = 0
        self.rejected = 0

    async def run(
        self,
        host: str,
        port: int,
        made_key: str | None,
        target: URL | None,
        max_requests: int | None,
    ) -> None:
        """Serve until ``max_requests`` have been answered, or forever."""
        self._receiver = FaultReceiver(self._respond, host=host, port=port)
        async with AsyncExitStack() as stack:
            if target is not None:
                self._forwarder = Forwarder(target, self._show_forwarded)
                await stack.enter_async_context(self._forwarder)
            try:
                await stack.enter_async_context(self._receiver)
            except OSError as error:
                raise typer.BadParameter(_explain(error, host, port)) from None
            self._announce(made_key)
            await self._receiver.wait_until(lambda: self._is_finished(max_requests))

    def _is_finished(self, max_requests: int | None) -> bool:
        if max_requests is None or self._received < max_requests:
            return False
        # A request that never gets a response ends when its client disconnects.
        return not self._unanswered_now() or not self._receiver.connected

    def _unanswered_now(self) -> list[ReceivedRequest]:
        self._unanswered = [r for r in self._unanswered if r.answered_status is None]
        return self._unanswered

    def _respond(self, request: ReceivedRequest) -> Fault:
        """Verify and show a request; return the fault to play."""
        arrival = Arrival.verify(self._verifier, request, time.time())
        self._received += 1
        self.rejected += not arrival.verified
        self._unanswered = [*self._unanswered_now(), request]
        self._receiver.requests.clear()  # not needed here, and they would grow forever
        self._receiver.accepted.clear()
        applies = self._fault_options.applies_to(self._received)
        options = self._fault_options if applies else NO_FAULT
        if self._forwarder is None or options.overrides_answer:
            self._show(arrival, options.describe(arrival.answer))
        else:
            self._show(arrival, "forwarding")
        if self._forwarder is None:
            return options.apply(arrival.answer)
        return ForwardFault(self._forwarder, request, options.apply)

    def _announce(self, made_key: str | None) -> None:
        url = self._receiver.url
        if self._as_json:
            say_json({"type": "listening", "url": url, "made_key": made_key})
            return
        say("receiving at ", (f"{url}  ", "bold"), "(Ctrl-C to stop)")
        if made_key is not None:
            say("signing key ", (f"{made_key}  ", "bold"), "(generated, since no --key was given)")

    def _show(self, arrival: Arrival, answer: str) -> None:
        if self._as_json:
            say_json(arrival.record(answer))
            return
        say(arrival.line(answer))
        if self._show_payload:
            say_indented(arrival.payload(), _INDENT)

    def _show_forwarded(self, forwarded: Forwarded) -> None:
        if self._as_json:
            say_json(
                {
                    "type": "forwarded",
                    "id": forwarded.request.event_id,
                    "status": forwarded.status,
                    "error": forwarded.error or None,
                    "elapsed": round(forwarded.elapsed, 6),
                }
            )
            return
        what = str(forwarded.status) if forwarded.status else printable(forwarded.error)
        good = forwarded.status is not None and forwarded.status < 300
        which = printable(forwarded.request.event_id or forwarded.request.path)
        say(
            (f"{time_of_day(time.time())}  ", "dim"),
            (f"{'forwarded':<9} ", "cyan"),
            "→ ",
            (f"{what}  ", "" if good else "red"),
            f"{duration(forwarded.elapsed)}  event {which}",
        )


def _target(text: str) -> URL:
    """Parse the URL of ``--forward-to``."""
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise typer.BadParameter(
            f"{text!r}: give an http:// or https:// URL with a host", param_hint="--forward-to"
        )
    return url


def _explain(error: OSError, host: str, port: int) -> str:
    """Return cause and remedy of a failure to listen."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use: end the program that has it, or give another --port "
            "(0 takes a free one)"
        )
    return f"port {port} at {host}: {error.strerror}"
