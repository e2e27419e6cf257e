"""Whatever goes wrong: each accepted event is delivered, pending or a dead letter, never two."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import pytest
from support import KEY

from relaybox_hooks import (
    Attempt,
    BreakerPolicy,
    CloseReport,
    DeadLetter,
    Hooks,
    LaneFullError,
    Observer,
    Receipt,
    RetryPolicy,
    Session,
    Stats,
    TargetStats,
    Timeouts,
    Webhook,
)
from relaybox_hooks.events import RoomCreateData
from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    Drip,
    EndlessBody,
    EndlessHeaders,
    Fault,
    FaultReceiver,
    FaultScript,
    Garbage,
    Hang,
    Late,
    Redirect,
    ResetAfterRead,
    ResetBeforeRead,
)
from relaybox_hooks.testing.clock import VirtualClock

WEBHOOKS: Final = 20
#: Events that are emitted when the receiver has stopped answering, just before the close.
STUCK: Final = 100
PRODUCERS: Final = 16
TIMEOUT: Final = 0.2

#: Every fault there is. What costs a time-out is rare.
WEIGHTS: Final[Mapping[Fault, float]] = {
    Answer(): 70,
    Answer(201, body=b"made"): 5,
    Answer(204, {"Connection": "close"}): 2,
    **{Answer(status): 1.5 for status in (408, 425, 500, 502, 503, 504)},
    **{Answer(status): 0.2 for status in (207, 300, 304, 400, 401, 404, 418, 451, 501, 599)},
    Answer(429, {"Retry-After": "0"}): 1.5,
    Answer(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}): 1,
    Answer(410): 0.04,
    Redirect("http://127.0.0.1:9/"): 0.3,
    Late(Answer(), 0.01): 2,
    Late(Answer(), TIMEOUT): 0.3,
    Late(Answer(), 2 * TIMEOUT): 0.1,
    Hang(): 0.2,
    Drip(Answer(), 0): 0.5,
    Drip(Answer(body=b"x" * 100), TIMEOUT / 50): 0.2,
    ResetBeforeRead(): 1.5,
    ResetAfterRead(): 1.5,
    CloseMidResponse(Answer(502, body=b"cut short"), after_bytes=3): 1,
    CloseMidResponse(Answer(body=b"cut short"), after_bytes=3): 1,
    Garbage(): 1,
    EndlessBody(): 0.3,
    EndlessBody(503): 0.3,
    EndlessHeaders(): 0.3,
}

#: What the webhooks differ in, in turn; those that drop are full in any case.
POLICIES: Final[tuple[dict[str, Any], ...]] = (
    {"order_by": "connection"},
    {"order_by": "room", "breaker": None},
    {"order_by": "none", "breaker": None},
    {"order_by": "connection", "overflow": "drop_oldest", "queue_size": 2},
    {"order_by": "none", "overflow": "drop_newest", "queue_size": 2, "breaker": None},
    {"order_by": "room", "overflow": "raise"},
    {"order_by": "connection", "max_age": 0.02, "concurrency": 1},
)


Fate = tuple[str, str]  # a webhook's id and an event's


class JournalState(Observer):
    """What was handed out, and what the dispatcher said became of it."""

    def __init__(self) -> None:
        self.live: dict[str, Webhook] = {}
        self.emits: dict[asyncio.Task[Any] | None, list[str]] = {}
        self.handed: Counter[Fate] = Counter()
        self.arrived: Counter[Fate] = Counter()
        self.letters: dict[Fate, list[DeadLetter]] = defaultdict(list)
        self.attempts: Counter[Fate] = Counter()
        self.timed_out: Counter[Fate] = Counter()
        #: How many letters each webhook has, and how many were delivered to it.
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.calls = 0
        self.errors: list[str] = []  # an observer's own errors do not get out
        self.hooks: Hooks

    def emitted(self, name: str, receipt: Receipt) -> None:
        targets = self.emits.pop(asyncio.current_task())
        if receipt.accepted + receipt.dropped != len(targets):
            self.errors.append(f"{receipt} for {targets}")
        self.handed.update((target, receipt.event_id) for target in targets)

    def attempted(self, attempt: Attempt) -> None:
        self.look()
        fate = attempt.webhook.id, attempt.event_id
        self.attempts[fate] += 1
        if attempt.number != self.attempts[fate]:
            self.errors.append(f"{fate}: {attempt.number}, not {self.attempts[fate]}")
        if attempt.outcome.error == "TimeoutError":
            self.timed_out[fate] += 1

    def delivered(self, attempt: Attempt) -> None:
        self.arrived[attempt.webhook.id, attempt.event_id] += 1
        self.counts[attempt.webhook.id]["delivered"] += 1

    def dead_lettered(self, letter: DeadLetter) -> None:
        self.look()
        self.letters[letter.webhook_id, letter.event_id].append(letter)
        self.counts[letter.webhook_id]["dead"] += 1

    def webhook_disabled(self, webhook: Webhook, reason: str) -> None:
        del self.live[webhook.id]
        self.look()

    def targets(self, name: str, app: str) -> list[str]:
        """Who must be handed an event that is emitted now."""
        return [w.id for w in self.live.values() if name in w.events and w.app_pid in (app, None)]

    def look(self) -> None:
        """Some of the moments at which a callback finds the books."""
        self.calls += 1
        if self.calls % 10 == 0:
            self.errors += unbalanced(self.hooks.stats())

    def cross_check(self) -> None:
        """Between two steps of the dispatcher its books are also those kept here."""
        stats = self.hooks.stats()
        assert unbalanced(stats) == []
        for target, row in stats.targets.items():
            assert row.delivered == self.counts[target]["delivered"]
            assert row.failed + row.dropped == self.counts[target]["dead"]
        assert stats.delivered == self.arrived.total()
        assert stats.failed + stats.dropped == sum(map(len, self.letters.values()))


def unbalanced(stats: Stats) -> list[str]:
    """What does not add up."""
    rows: list[Stats | TargetStats] = [stats, *stats.targets.values()]
    return [
        str(row)
        for row in rows
        if row.accepted != row.delivered + row.failed + row.dropped + row.pending
        or min(row.delivered, row.failed, row.dropped, row.pending) < 0
    ]


class Server:
    """A realtime server that emits, while its webhooks come and go."""

    def __init__(
        self, hooks: Hooks, ledger: JournalState, receiver: FaultReceiver, seed: int
    ) -> None:
        self.hooks = hooks
        self.ledger = ledger
        self.receiver = receiver
        self.random = random.Random(seed)
        self.made = 0
        self.emitted = 0
        for _ in range(WEBHOOKS):
            self.add()

    def add(self) -> None:
        number = self.made
        self.made += 1
        shared = number % 10 == 0  # those want the rarer event of every application
        webhook = Webhook(
            self.receiver.url_for(f"/{number}"),
            ["room:create"] if shared else ["room:join", "room:create"],
            KEY,
            id=f"webhook-{number}",
            app_pid=None if shared else f"app-{number % WEBHOOKS}",
            **POLICIES[number % len(POLICIES)],
        )
        self.hooks.add_webhook(webhook)
        self.ledger.live[webhook.id] = webhook

    def change(self) -> None:
        """Add, remove, enable or disable a webhook; there are about as many as before."""
        registered = self.hooks.webhooks
        enabled = sorted(self.ledger.live)
        disabled = [webhook for webhook in registered if not webhook.enabled]
        if len(enabled) < WEBHOOKS - 3:
            if disabled and self.random.random() < 0.7:
                webhook = self.random.choice(disabled)
                self.hooks.enable_webhook(webhook.id)
                self.ledger.live[webhook.id] = webhook
            else:
                self.add()
        elif self.random.random() < 0.5:
            self.hooks.disable_webhook(self.random.choice(enabled))
        else:
            removed = self.random.choice(enabled)
            del self.ledger.live[removed]
            self.hooks.remove_webhook(removed)

    async def produce(self, until: int) -> None:
        """Emit until ``until`` events were taken, by all the producers together."""
        while self.emitted < until:
            self.emitted += 1
            if self.emitted % 200 == 0:
                self.change()
            if self.emitted % 20 == 0:
                self.ledger.cross_check()
            if self.random.random() < 0.01:
                await self.emit_and_leave()
            elif not await self.emit():
                self.emitted -= 1
                await asyncio.sleep(0)
            if self.random.random() < 0.3:
                await asyncio.sleep(0)

    async def emit(self) -> bool:
        """Emit to whoever there is; false where nobody was, or a full lane refused."""
        app = f"app-{self.random.randrange(WEBHOOKS)}"
        connection = f"{app}-{self.random.randrange(15)}"
        session = Session(app_pid=app, connection_id=connection)
        room = f"{app}-{self.random.randrange(5)}"
        create = self.random.random() < 0.05
        targets = self.ledger.targets("room:create" if create else "room:join", app)
        if not targets:
            return False
        self.ledger.emits[asyncio.current_task()] = targets
        try:
            if create:
                data: RoomCreateData = {"id": room, "uuid": "", "visibility": "public"}
                await self.hooks.emit("room:create", data, session)
            else:
                await self.hooks.emit("room:join", {"roomId": room}, session)
        except LaneFullError:  # then nobody was handed it
            del self.ledger.emits[asyncio.current_task()]
            return False
        return True

    async def emit_and_leave(self) -> None:
        """As a request handler does whose client has gone."""
        task = asyncio.create_task(self.emit())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            if not await task:
                self.emitted -= 1


async def run(seed: int, events: int) -> tuple[JournalState, FaultReceiver, Stats, CloseReport]:
    """Emit ``events`` events through every fault, and close before all of them are settled."""
    ledger = JournalState()
    receiver = FaultReceiver(FaultScript.random(seed, WEIGHTS))
    hooks = Hooks(
        queue_size=40,
        concurrency=4,
        retry=RetryPolicy(attempts=3, initial=0.002, maximum=0.02),
        timeouts=Timeouts(total=TIMEOUT),
        breaker=BreakerPolicy(failures=4, cooldown=0.005, maximum=0.02),
        emit_timeout=TIMEOUT,
        max_response=16_384,
        observers=[ledger],
        logging=False,
        dead_letter_limit=10 * events,
        random=random.Random(seed).random,
    )
    ledger.hooks = hooks
    async with asyncio.timeout(120), receiver, hooks:
        server = Server(hooks, ledger, receiver, seed)
        for until in (events - STUCK, events):
            await asyncio.gather(*(server.produce(until) for _ in range(PRODUCERS)))
            receiver.hold()
        report = await hooks.aclose(timeout=TIMEOUT / 5)
        return ledger, receiver, hooks.stats(), report


def sends_2xx(fault: Fault | None) -> bool:
    """Whether a fault that never comes to the end of its response begins it with a 2xx."""
    if isinstance(fault, CloseMidResponse | Drip):
        return fault.answer.status < 300
    return isinstance(fault, EndlessBody) and fault.status < 300


@pytest.mark.parametrize(("seed", "events"), [(1, 20_000), (2, 3_000), (3, 3_000)])
async def test_every_delivery_is_accounted_for(seed: int, events: int) -> None:
    ledger, receiver, stats, report = await run(seed, events)
    reasons = Counter(letter.reason for found in ledger.letters.values() for letter in found)
    print(
        f"\nseed {seed}: {ledger.handed.total()} accepted, {stats.delivered} delivered, dead: "
        f"{dict(sorted(reasons.items()))}, {ledger.attempts.total()} attempts, "
        f"{len(receiver.requests)} requests, {ledger.calls // 10} looks from inside"
    )
    assert ledger.errors == []
    ledger.cross_check()
    assert not ledger.emits

    # Every accepted event is on exactly one side, for each webhook.
    dead = Counter({fate: len(found) for fate, found in ledger.letters.items()})
    assert set(ledger.handed.values()) == {1}
    assert ledger.arrived + dead == ledger.handed
    assert stats.pending == 0
    assert stats.accepted == ledger.handed.total()
    assert len(await ledger.hooks.dead_letters()) == dead.total()
    for fate, [letter] in ledger.letters.items():
        assert letter.attempts == ledger.attempts[fate]
    assert report.left == sum(report.targets.values()) == reasons["shutdown"] > 0
    assert reasons.keys() >= {"exhausted", "rejected", "overflow", "expired", "disabled", "removed"}

    agree_with_the_receiver(ledger, receiver)


def agree_with_the_receiver(ledger: JournalState, receiver: FaultReceiver) -> None:
    """Compare what was sent and answered with what the dispatcher counted, event by event.

    A whole 2xx is a delivery, unless the attempt had timed out, or the close cut it short, in
    the moment before it was written. A delivery is a whole 2xx, or one cut short after its
    head: the verdict is the status line's.
    """
    requests: Counter[Fate] = Counter()
    cut_short: Counter[Fate] = Counter()
    for request in receiver.requests:
        assert request.webhook_id is not None
        assert request.event_id is not None
        fate = request.webhook_id, request.event_id
        requests[fate] += 1
        cut_short[fate] += request.answered_status is None and sends_2xx(request.fault)
    whole = Counter[Fate]()
    for accepted in receiver.accepted:
        whole[str(accepted.webhook_id), str(accepted.event_id)] += 1
    at_close = Counter(
        fate for fate, [letter] in ledger.letters.items() if letter.reason == "shutdown"
    )
    assert requests <= ledger.attempts + at_close
    assert whole <= ledger.arrived + ledger.timed_out + at_close
    assert ledger.arrived <= whole + cut_short
    # Nothing above is empty: each exception is met, and most deliveries are none.
    assert ledger.timed_out
    assert cut_short
    assert (whole & ledger.arrived).total() > 0.95 * ledger.arrived.total()


async def test_a_2xx_counts_though_its_body_outlasts_the_deadline() -> None:
    """The verdict is the status line's: sent again, the event would arrive twice."""
    clock = VirtualClock()
    async with asyncio.timeout(20), FaultReceiver(EndlessBody(interval=1000)) as receiver:
        webhook = Webhook(receiver.url, ["room:join"], KEY, id="w")
        timeouts = Timeouts(total=5)
        async with Hooks([webhook], timeouts=timeouts, clock=clock, close_timeout=0) as hooks:
            await hooks.emit("room:join", {"roomId": "r"})
            await receiver.wait_for(1)
            await clock.advance(4.9)
            assert hooks.stats().pending == 1
            await clock.advance(0.1)
            await hooks.join()
            assert hooks.stats().delivered == len(receiver.requests) == 1
