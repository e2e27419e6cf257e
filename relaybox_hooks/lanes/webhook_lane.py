"""The lane of a webhook: deliveries in order per key, retried, held back, or given up on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import ClassVar, Final

from relaybox_hooks.clock import Alarm
from relaybox_hooks.dead_letters import DeadLetter, Reason
from relaybox_hooks.lanes.breaker import Breaker
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.lanes.memory_queue import Backlog, Delivery, State
from relaybox_hooks.lanes.retry_queue import RetryQueue
from relaybox_hooks.lanes.runtime import RemoteHub
from relaybox_hooks.outcome import Outcome, Verdict, next_delay
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.targets.order_key import key_function
from relaybox_hooks.targets.policies import CLOSED, OPEN, BreakerState
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.deadlines import Deadlines, Worker
from relaybox_hooks.transport.endpoint import INTERRUPTED, TIMED_OUT, Endpoint

_NEVER: Final = float("inf")
# Looking up an enum's member by name costs more than each of the decisions it is needed for.
_DELIVERED: Final = Verdict.DELIVERED
_RETRY: Final = Verdict.RETRY


class WebhookLane(Lane[Delivery]):
    """Everything one webhook still owes, and the workers that deliver it.

    Mutable state besides the counts: the backlog and what is held for a retry; workers and
    their deadlines; the breaker; alarms.
    """

    __slots__ = (
        "_backlog",
        "_breaker",
        "_breaker_alarm",
        "_deadlines",
        "_endpoint",
        "_expiry_alarm",
        "_halted",
        "_held",
        "_max_age",
        "ending",
        "key_of",
        "retried",
        "settings",
        "webhook",
    )

    hub: RemoteHub
    #: Whether what is pushed later was emitted later.
    _oldest_first: ClassVar[bool] = True

    def __init__(self, hub: RemoteHub, webhook: Webhook, settings: Settings) -> None:
        super().__init__(hub, settings.queue_size, settings.overflow)
        self.webhook = webhook
        self.settings = settings
        self.retried = 0
        #: Why what fails now is given up on at once: the webhook was disabled or removed.
        self.ending: Reason | None = None
        #: The function that finds a delivery's order key; ``None`` for the connection's.
        self.key_of = key_function(settings.order_by)
        self._endpoint: Endpoint | None = None
        self._backlog = Backlog()
        # Made when first needed, for the sake of webhooks that are idle and never fail.
        self._held: RetryQueue | None = None
        self._expiry_alarm: Alarm | None = None
        self._deadlines = Deadlines(hub)
        self._halted = False
        self._max_age = settings.max_age_seconds
        self._breaker = Breaker(settings.breaker) if settings.breaker else None
        self._breaker_alarm = Alarm(hub, self._fill)

    @property
    def target(self) -> str:
        return self.webhook.id

    @property
    def endpoint(self) -> Endpoint:
        """The prepared endpoint, made when it is first needed."""
        if self._endpoint is None:
            settings = self.settings
            self._endpoint = Endpoint(
                self.webhook, settings.retry, settings.timeouts, settings.max_response
            )
        return self._endpoint

    # Taking in and dropping

    def put(self, item: Delivery) -> None:
        self.accepted += 1
        self.pending += 1
        self.hub.outstanding += 1
        self._enter(item)

    def _enter(self, item: Delivery) -> None:
        """Begin to owe ``item``, which is counted already."""
        self._backlog.push(item)
        if self._max_age != _NEVER:
            self._expires(item)
        if item.state is State.READY and len(self.workers) < self.settings.concurrency:
            if self._breaker is None or self._breaker.state == CLOSED:
                self._start()
            else:
                self._fill()

    def evict(self) -> bool:
        oldest = self._backlog.oldest_idle()
        if oldest is None:
            return False
        self._backlog.remove(oldest)
        self.dropped += 1
        self.pending -= 1
        self.hub.settled()
        self.bury(oldest, "overflow")
        self._fill()  # it may have held back the next of its key
        return True

    def bury(self, item: Delivery, reason: Reason) -> None:
        hub, envelope = self.hub, item.envelope
        if reason == "overflow" and hub.notifier.dropped:
            hub.notifier.tell(
                hub.notifier.dropped, self.target, envelope.id, envelope.name, self.overflow
            )
        hub.bury(
            DeadLetter(
                webhook_id=self.webhook.id,
                reason=reason,
                outcome=item.outcome,
                attempts=item.attempts,
                died_at=datetime.fromtimestamp(hub.clock.time(), UTC),
                envelope=envelope,
                seq=item.seq,
            )
        )

    def end(self, reason: Reason) -> None:
        """Give up what is not in flight; what is in flight has this one attempt left."""
        self.ending = reason
        self.dismiss_waiters(reason)
        # A copy each time: observers of one loss may cause the next, and break the chain.
        for delivery in tuple(self._backlog):
            if delivery.state is not State.BUSY:
                self._give_up(delivery, reason)

    def resume(self) -> None:
        """Take in and try again, with a breaker that has seen nothing: much may be mended."""
        self.ending = None
        if self.settings.breaker:
            self._breaker = Breaker(self.settings.breaker)

    def halt(self) -> None:
        self._halted = True

    def abandon(self) -> int:
        left = self.pending
        for delivery in tuple(self._backlog):
            self._give_up(delivery, "shutdown")
        return left

    @property
    def replayable(self) -> bool:
        """Whether dead letters may be sent again: it is not disabled, removed or closed."""
        return self.ending is None and not self._halted

    def revive(self, letter: DeadLetter) -> bool:
        """A dead letter was delivered by a replay; false if it died under another lane."""
        if letter.reason == "overflow" and self.dropped:
            self.dropped -= 1
        elif letter.reason != "overflow" and self.failed:
            self.failed -= 1
        else:
            return False
        self.delivered += 1
        return True

    def stop(self) -> None:
        for timed in (self._held, self._deadlines, self._breaker_alarm, self._expiry_alarm):
            if timed is not None:
                timed.cancel()

    def stats(self) -> TargetStats:
        oldest = next(iter(self._backlog), None)
        return TargetStats(
            name=self.webhook.name,
            kind="webhook",
            accepted=self.accepted,
            delivered=self.delivered,
            failed=self.failed,
            retried=self.retried,
            dropped=self.dropped,
            pending=self.pending,
            in_flight=self._deadlines.in_flight,
            breaker=self._breaker.state if self._breaker else None,
            enabled=self.ending is None,
            oldest=oldest.envelope.time if oldest else None,
        )

    # Workers

    def _start(self) -> None:
        if not self._halted:
            self.spawn(self._work(), self.hub.context.copy())

    def _fill(self) -> None:
        """Start as many workers as there is ready work for."""
        breaker = self._breaker
        if breaker is not None and breaker.state != CLOSED:
            if breaker.state == OPEN and self._backlog.ready_count:
                if self.hub.clock.monotonic() < breaker.until:
                    self._breaker_alarm.set(breaker.until)
                elif len(self.workers) < self.settings.concurrency:
                    self._start()
            return
        idle = self.settings.concurrency - len(self.workers)
        for _ in range(min(idle, self._backlog.ready_count)):
            self._start()

    async def _work(self) -> None:
        task = self.begin()
        worker = Worker(task)
        self._deadlines.workers.add(worker)
        try:
            while (delivery := self._next()) is not None:
                await self._attempt(worker, delivery)
        finally:
            self._deadlines.workers.discard(worker)
            self.workers.discard(task)

    def _next(self) -> Delivery | None:
        """The next delivery to attempt, if there is one and the breaker lets it go."""
        if self._max_age != _NEVER:
            self._expire()  # who waited long for room brings what is too old already
        breaker = self._breaker
        if breaker is None or breaker.state == CLOSED:
            return self._backlog.pop()
        if not self._backlog.ready_count:
            return None
        before = breaker.state
        if not breaker.admit(self.hub.clock.monotonic()):
            if breaker.state == OPEN:
                self._breaker_alarm.set(breaker.until)
            return None
        delivery = self._backlog.pop()  # before any observer can take it away
        self._breaker_moved(before)
        return delivery

    async def _attempt(self, worker: Worker, delivery: Delivery) -> None:
        hub, endpoint, envelope = self.hub, self.endpoint, delivery.envelope
        extra = None
        if hub.notifier.attempting:
            extra = hub.notifier.headers(self.webhook, envelope, delivery.attempts + 1)
        worker.began = hub.clock.monotonic()
        worker.turn = self._breaker.turn if self._breaker else 0
        self._deadlines.begin(worker, worker.began + endpoint.deadline)
        outcome: Outcome | None = None
        try:
            outcome, response = await endpoint.send(hub.session, envelope, hub.clock.time, extra)
            if response is None:
                await asyncio.sleep(0)  # an address is refused without a pause, for all alike
            elif not (response.closed and response.content.at_eof()):  # most have no body
                await endpoint.drain(response)
        except asyncio.CancelledError:
            if not worker.overdue or worker.task.uncancel():
                self._interrupted(worker, delivery, outcome)
                raise
            outcome = outcome or TIMED_OUT
        finally:
            self._deadlines.end(worker)
        self._settle(worker, delivery, outcome)

    # Outcomes

    def _interrupted(self, worker: Worker, delivery: Delivery, outcome: Outcome | None) -> None:
        """The worker was cancelled: settle if the outcome is known, else leave it pending."""
        if outcome is not None:
            self._settle(worker, delivery, outcome)
            return
        if self._breaker is not None:
            self._breaker.abandon(self.hub.clock.monotonic(), worker.turn)
        if self._backlog.release(delivery):
            self._record(delivery, INTERRUPTED)
            self.hub.notifier.tell_attempt(
                self.hub.clock,
                self.webhook,
                delivery.envelope,
                delivery.attempts,
                INTERRUPTED,
                worker.began,
            )

    def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        delivery.attempts += 1
        if delivery.attempts > 1:
            self.retried += 1
        delivery.outcome = outcome

    def _settle(self, worker: Worker, delivery: Delivery, outcome: Outcome) -> None:
        if delivery.state is State.GONE:
            return  # given up at closing, before this worker had ended
        self._record(delivery, outcome)
        verdict = outcome.verdict
        if self._breaker is not None:
            self._judge(self._breaker, outcome, worker.turn)
        wait = None
        if verdict is _RETRY and self.ending is None:
            wait = next_delay(outcome, delivery.attempts, self.settings.retry, self.hub.random)
        self.hub.notifier.tell_attempt(
            self.hub.clock,
            self.webhook,
            delivery.envelope,
            delivery.attempts,
            outcome,
            worker.began,
            wait,
        )
        if verdict is _DELIVERED:
            self._complete(delivery)
        elif wait is not None and self.ending is None:  # an observer may just have ended it
            self._hold(delivery, wait)
        elif verdict is _RETRY:
            self._give_up(delivery, self.ending or "exhausted")
        else:
            self._give_up(delivery, "rejected")
            if verdict is Verdict.GONE:
                self.hub.endpoint_gone(self.webhook)

    def _judge(self, breaker: Breaker, outcome: Outcome, turn: int) -> None:
        """Let the breaker know. Any answer but "later" shows that the endpoint works."""
        before = breaker.state
        if outcome.verdict is _RETRY:
            breaker.failure(self.hub.clock.monotonic(), turn)
        elif outcome.status is not None:
            breaker.success()
        else:
            breaker.abandon(self.hub.clock.monotonic(), turn)
        if breaker.state != before:
            self._breaker_moved(before)
            self._fill()

    def _breaker_moved(self, before: BreakerState) -> None:
        notifier = self.hub.notifier
        if notifier.breaker_changed and self._breaker is not None:
            after = self._breaker.state
            notifier.tell(notifier.breaker_changed, self.webhook, before, after)

    def _complete(self, delivery: Delivery) -> None:
        self._backlog.remove(delivery)
        self.delivered += 1
        self.freed()

    def _hold(self, delivery: Delivery, wait: float) -> None:
        self._backlog.hold(delivery)
        if self._held is None:
            self._held = RetryQueue(self.hub, self._release_due)
        self._held.push(delivery, self.hub.clock.monotonic() + wait)
        if self._max_age != _NEVER:
            self._expires(delivery)

    def _release_due(self) -> None:
        for delivery in self._held.pop_due() if self._held else ():
            self._backlog.release(delivery)
        self._fill()

    def _give_up(self, delivery: Delivery, reason: Reason) -> None:
        if delivery.state is State.GONE:
            return  # an observer of the one before disabled or removed the webhook
        self._backlog.remove(delivery)
        self.failed += 1
        self.freed()
        self.bury(delivery, reason)

    # Age

    def _expires(self, delivery: Delivery) -> None:
        age = self.hub.clock.time() - delivery.envelope.time
        if self._expiry_alarm is None:
            self._expiry_alarm = Alarm(self.hub, self._expire)
        self._expiry_alarm.set(self.hub.clock.monotonic() + max(0.0, self._max_age - age))

    def _expire(self) -> None:
        now = self.hub.clock.time()
        expired: list[Delivery] = []
        for delivery in self._backlog:
            if delivery.state is State.BUSY:
                continue
            if now - delivery.envelope.time >= self._max_age:
                expired.append(delivery)
            else:
                self._expires(delivery)
                if self._oldest_first:
                    break
        for delivery in expired:
            self._give_up(delivery, "expired")
        if expired:
            self._fill()  # they may have held back the next of their keys
