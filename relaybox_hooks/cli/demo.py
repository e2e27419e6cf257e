"""``demo``: a small server, a receiver, a fault, a retry and a forgery, on one screen."""

from __future__ import annotations

import asyncio
import time

import typer

from relaybox_hooks.cli.arrivals import EVENT_COLUMNS, Arrival
from relaybox_hooks.cli.console import clock, duration, say
from relaybox_hooks.cli.faults import GOOD, Misbehaviour
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

#: The event whose first attempt meets a fault, and the one that is forged.
_UNLUCKY, _FORGED = "room:publish", "room:destroy"

#: Seconds that all of it may take. It takes less than one.
_TIME_LIMIT = 20.0


def demo() -> None:
    """See all of it at work, on one screen.

    A server emits each of the events, a receiver verifies what arrives. One request meets a
    fault and is tried again, one is forged and is refused. Exit code 0 if everything came as
    it should.
    """
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        good = runner.run(_play())
    raise typer.Exit(0 if good else 1)


async def _play() -> bool:
    """Whether everything came as it should."""
    key = generate_signing_key()
    endpoint = _Endpoint(WebhookVerifier(key))
    server = _Server()
    async with FaultReceiver(endpoint.meet) as receiver:
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
            _tell("emitted", "cyan", f"{len(receipts)} events, accepted {accepted} times")
            await hooks.join()
            stats = hooks.stats()
    say("")
    say(str(stats))
    say("")
    good = (
        set(endpoint.verified) == set(EVENTS)
        and endpoint.refused == 1
        and (server.noticed, stats.retried, stats.failed) == (len(EVENTS), 1, 1)
    )
    verdict = ("as it should be", "green") if good else ("NOT as it should be", "bold red")
    say(
        verdict,
        f": {len(set(endpoint.verified))} of {len(EVENTS)} events delivered and verified, "
        f"{stats.retried} tried again after a 503, {endpoint.refused} forgery refused",
    )
    return good


class _Endpoint:
    """Verifies and shows requests; the first attempt at one event finds it out of order."""

    def __init__(self, verifier: WebhookVerifier) -> None:
        self._verifier = verifier
        self._spoilt = False
        self.verified: list[str] = []
        self.refused = 0

    def meet(self, request: ReceivedRequest) -> Fault:
        arrival = Arrival.judge(self._verifier, request, time.time())
        conduct = GOOD
        name = arrival.event_name
        if name is None:
            self.refused += 1
        elif name == _UNLUCKY and not self._spoilt:
            self._spoilt = True
            conduct = Misbehaviour(status=503)
        else:
            self.verified.append(name)
        say(arrival.line(conduct.words(arrival.answer)))
        return conduct.of(arrival.answer)


class _Server(Observer):
    """The server's side: a local function, and what it shows of retries and losses."""

    def __init__(self) -> None:
        self.noticed = 0

    def notice(self, event: Event) -> None:
        self.noticed += 1

    def retried(self, attempt: Attempt) -> None:
        next_in = duration(attempt.next_in or 0.0)
        _tell("retry", "yellow", f"{attempt.outcome}, again in {next_in}", attempt.event_name)

    def dead_lettered(self, letter: DeadLetter) -> None:
        said = f"webhook {letter.webhook_id}: {letter.outcome}, kept as a dead letter"
        _tell("given up", "red", said, letter.event_name)


def _tell(word: str, style: str, said: str, event: str = "") -> None:
    """Show what happens on the server's side, in the columns of what arrives."""
    say(
        (f"{clock(time.time())}  ", "dim"),
        (f"{word:<9}        ", style),
        (f"{event:<{EVENT_COLUMNS}}  " if event else "", "bold"),
        said,
    )
