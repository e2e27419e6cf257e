"""``listen``: a receiver that verifies each request, shows it, and misbehaves if asked to."""

from __future__ import annotations

import asyncio
import errno
import time
from contextlib import AsyncExitStack
from typing import Annotated, Final

import typer
from yarl import URL

from relaybox_hooks.cli.arrivals import Arrival
from relaybox_hooks.cli.console import clock, duration, printable, say, say_indented, say_json
from relaybox_hooks.cli.faults import GOOD, FaultName, Misbehaviour
from relaybox_hooks.cli.forward import Forwarded, Forwarder, PassOn
from relaybox_hooks.cli.inputs import JSONOption, KeysOption, examples, signing_keys
from relaybox_hooks.receive import WebhookVerifier
from relaybox_hooks.testing import Fault, FaultReceiver, ReceivedRequest
from relaybox_hooks.wire.signing import generate_signing_key

EXAMPLES = examples(
    "listen --key 21d45d1d4dff46f13cd4478ba08395d9",
    "listen --payload --forward-to http://127.0.0.1:8000/webhook",
    "listen --status 503 --first 2            the first two fail, a retry gets through",
    "listen --fault hang                      never answers: try a sender's time-out",
    "listen --json --max-requests 1           for scripts: 0 if it was verified, 1 if not",
)

#: Columns of a payload's margin: those of the time.
_INDENT: Final = 14


def listen(
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 4000,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    keys: KeysOption = None,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How far from now a request may have been signed; 0 does not check.",
        ),
    ] = 30,
    show_payload: Annotated[
        bool, typer.Option("--payload", help="Show data and session of each request.")
    ] = False,
    as_json: JSONOption = False,
    forward_to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Pass each request on as it came, and its answer back."),
    ] = None,
    status: Annotated[
        int | None, typer.Option(metavar="STATUS", help="Answer this, whatever the request.")
    ] = None,
    fault: Annotated[
        FaultName | None,
        typer.Option(
            help="Never answer, reset the connection, answer what is not HTTP, redirect, send a "
            "byte at a time, end half-way, never end.",
        ),
    ] = None,
    delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait before each answer.")
    ] = 0,
    retry_after: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=0, help="Answer with a Retry-After header."),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Misbehave to the first N requests only, as the options say."
        ),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="End after N requests; with 1 if one was not verified."
        ),
    ] = None,
) -> None:
    """Receive webhooks: verify and show each one.

    A request that holds is answered 204, another one 401 or 400, unless the options say
    otherwise; a duplicate is one whose event was accepted before. Without a key one is made
    up and shown. Ctrl-C ends it.
    """
    target = None if forward_to is None else _target(forward_to)
    found = signing_keys(keys)
    made = None if found else generate_signing_key()
    listener = _Listener(
        WebhookVerifier(*(found or [str(made)]), tolerance=tolerance or None),
        Misbehaviour(status=status, fault=fault, delay=delay, retry_after=retry_after, first=first),
        show_payload=show_payload,
        as_json=as_json,
    )
    try:
        # A loop with add_reader, which the receiver needs, on every system.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(listener.run(host, port, made, target, max_requests))
    except KeyboardInterrupt:
        return
    raise typer.Exit(1 if listener.refused else 0)


class _Listener:
    """Judges, shows and answers requests."""

    def __init__(
        self,
        verifier: WebhookVerifier,
        misbehaviour: Misbehaviour,
        *,
        show_payload: bool,
        as_json: bool,
    ) -> None:
        self._verifier = verifier
        self._misbehaviour = misbehaviour
        self._show_payload = show_payload
        self._as_json = as_json
        self._forwarder: Forwarder | None = None
        self._unanswered: list[ReceivedRequest] = []
        self._judged = 0
        self.refused = 0

    async def run(
        self,
        host: str,
        port: int,
        made_key: str | None,
        target: URL | None,
        max_requests: int | None,
    ) -> None:
        """Serve until ``max_requests`` are over, or for ever."""
        self._receiver = FaultReceiver(self._meet, host=host, port=port)
        async with AsyncExitStack() as stack:
            if target is not None:
                self._forwarder = Forwarder(target, self._show_forwarded)
                await stack.enter_async_context(self._forwarder)
            try:
                await stack.enter_async_context(self._receiver)
            except OSError as error:
                raise typer.BadParameter(_in_words(error, host, port)) from None
            self._announce(made_key)
            await self._receiver.wait_until(lambda: self._over(max_requests))

    def _over(self, max_requests: int | None) -> bool:
        if max_requests is None or self._judged < max_requests:
            return False
        # Where a request is never answered, its client leaves.
        return not self._unanswered_now() or not self._receiver.connected

    def _unanswered_now(self) -> list[ReceivedRequest]:
        self._unanswered = [r for r in self._unanswered if r.answered_status is None]
        return self._unanswered

    def _meet(self, request: ReceivedRequest) -> Fault:
        """Judge and show a request; returns what becomes of it."""
        arrival = Arrival.judge(self._verifier, request, time.time())
        self._judged += 1
        self.refused += not arrival.verified
        self._unanswered = [*self._unanswered_now(), request]
        self._receiver.requests.clear()  # which it keeps for tests, and we for nobody
        self._receiver.accepted.clear()
        misbehaves = self._misbehaviour.meets(self._judged)
        conduct = self._misbehaviour if misbehaves else GOOD
        if self._forwarder is None or conduct.answers:
            self._show(arrival, conduct.words(arrival.answer))
        else:
            self._show(arrival, "forwarding")
        if self._forwarder is None:
            return conduct.of(arrival.answer)
        return PassOn(self._forwarder, request, conduct.of)

    def _announce(self, made_key: str | None) -> None:
        url = self._receiver.url
        if self._as_json:
            say_json({"type": "listening", "url": url, "made_key": made_key})
            return
        say("receiving at ", (f"{url}  ", "bold"), "(Ctrl-C ends it)")
        if made_key is not None:
            say("signing key ", (f"{made_key}  ", "bold"), "(made up for now: no --key was given)")

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
            (f"{clock(time.time())}  ", "dim"),
            (f"{'forwarded':<9} ", "cyan"),
            "→ ",
            (f"{what}  ", "" if good else "red"),
            f"{duration(forwarded.elapsed)}  event {which}",
        )


def _target(text: str) -> URL:
    """Where requests are passed on to."""
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise typer.BadParameter(
            f"{text!r}: give an http:// or https:// URL with a host", param_hint="--forward-to"
        )
    return url


def _in_words(error: OSError, host: str, port: int) -> str:
    """Why it cannot listen, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use: end the program that has it, or give another --port "
            "(0 takes a free one)"
        )
    return f"port {port} at {host}: {error.strerror}"
