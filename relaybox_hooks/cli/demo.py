"""Command ``demo``: a server and a receiver with a fault, a retry and a forged request."""

from __future__ import annotations

import asyncio
import time

import typer

from relaybox_hooks.cli.arrivals import EVENT_COLUMNS, Arrival
from relaybox_hooks.cli.console import duration, say, time_of_day
from relaybox_hooks.cli.faults import NO_FAULT, FaultOptions
from relaybox_hooks.cli.inputs import examples
from relaybox_hooks.cli.samples import DATA, session_for
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.events import EVENTS, Event
from relaybox_hooks.hooks import Hooks
from relaybox_hooks.observer import Attempt, Observer
from relaybox_hooks.receive import WebhookVerifier
from relaybox_hooks.targets.policies import RetryPolicy
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.testing import Fault, FaultReceiver, ReceivedRequest
from relaybox_hooks.wire.signing import generate_signing_key

EXAMPLES = examples("demo")

#: Event whose first attempt fails, and event that is also sent with a wrong key.
_FAILING, _FORGED = "room:publish", "room:destroy"

#: Time limit of the whole run, seconds. It usually takes less than one.
_TIME_LIMIT = 20.0


def demo() -> None:
    """Run a server and a receiver on one screen.

    The server emits each of the events, the receiver verifies the requests. One request fails
    and is retried, one is forged and rejected. Exit code 0 if all results are as expected.
    """
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        good = runner.run(_run())
    raise typer.Exit(0 if good else 1)


async def _run() -> bool:
    """Run the demo; return True if all results are as expected."""
    key = generate_signing_key()
    endpoint = _Endpoint(WebhookVerifier(key))
    server = _Server()
    async with FaultReceiver(endpoint.respond) as receiver:
        hooks = Hooks(
            [
                Webhook(receiver.url, ["*"], key, id="receiver", retry=RetryPolicy(initial=0.2)),
                Webhook(receiver.url, [_FORGED], generate_signing_key(), id="impostor"),
            ],
            observers=[server],
            logging=False,
            close_timeout=0,
        )
        hooks.add_subscriber("*", server.notice, name="local function")
        say(
            "a receiver at ", (receiver.url, "bold"), ", a server beside it. Each event goes to the"
        )
        say("receiver and to a local function, one of them from an impostor with another key too\n")
        async with asyncio.timeout(_TIME_LIMIT), hooks:
            receipts = [await hooks.emit(name, DATA[name], session_for(name)) for name in EVENTS]
            accepted = sum(receipt.accepted for receipt in receipts)
            _show("emitted", "cyan", f"{len(receipts)} events, accepted {accepted} times")
            await hooks.join()
            stats = hooks.stats()
    say("")
    say(str(stats))
    say("")
    good = (
        set(endpoint.verified) == set(EVENTS)
        and endpoint.rejected == 1
        and (server.noticed, stats.retried, stats.failed) == (len(EVENTS), 1, 1)
    )
    verdict = ("as it should be", "green") if good else ("NOT as it should be", "bold red")
    say(
        verdict,
        f": {len(set(endpoint.verified))} of {len(EVENTS)} events delivered and verified, "
        f"{stats.retried} tried again after a 503, {endpoint.rejected} forgery refused",
    )
    return good


class _Endpoint:
    """Receiver that verifies and shows requests; the first attempt of one event gets a 503."""

    def __init__(self, verifier: WebhookVerifier) -> None:
        self._verifier = verifier
        self._failed_once = False
        self.verified: list[str] = []
        self.rejected = 0

    def respond(self, request: ReceivedRequest) -> Fault:
        arrival = Arrival.verify(self._verifier, request, time.time())
        options = NO_FAULT
        name = arrival.event_name
        if name is None:
            self.rejected += 1
        elif name == _FAILING and not self._failed_once:
            self._failed_once = True
            options = FaultOptions(status=503)
        else:
            self.verified.append(name)
        say(arrival.line(options.describe(arrival.answer)))
        return options.apply(arrival.answer)


class _Server(Observer):
    """Server side: counts events in a local function and shows retries and dead letters."""

    def __init__(self) -> None:
        self.noticed = 0

    def notice(self, event: Event) -> None:
        self.noticed += 1

    def retried(self, attempt: Attempt) -> None:
        next_in = duration(attempt.next_in or 0.0)
        _show("retry", "yellow", f"{attempt.outcome}, again in {next_in}", attempt.event_name)

    def dead_lettered(self, letter: DeadLetter) -> None:
        text = f"webhook {letter.webhook_id}: {letter.outcome}, kept as a dead letter"
        _show("given up", "red", text, letter.event_name)


def _show(word: str, style: str, text: str, event: str = "") -> None:
    """Write a line of the server, aligned with the lines of received requests."""
    say(
        (f"{time_of_day(time.time())}  ", "dim"),
        (f"{word:<9}        ", style),
        (f"{event:<{EVENT_COLUMNS}}  " if event else "", "bold"),
        text,
    )
