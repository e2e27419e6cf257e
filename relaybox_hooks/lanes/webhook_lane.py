"""The lane of a webhook: deliveries in order per key, retried, held back, or dead-lettered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from relaybox_hooks.clock import Alarm
from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.events import Event
from relaybox_hooks.lanes.breaker import Breaker
from relaybox_hooks.lanes.callbacks import LaneCallbacks
from relaybox_hooks.lanes.delivery import IN_FLIGHT, READY, REMOVED, Delivery
from relaybox_hooks.lanes.delivery_queue import DeliveryQueue
from relaybox_hooks.lanes.expiry import Expiry
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.outcome import DELIVERED, ENDPOINT_GONE, RETRY, Outcome, next_delay
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.targets.order_key import key_function
from relaybox_hooks.targets.policies import CLOSED, OPEN, BreakerState
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.attempt import INTERRUPTED, Attempter
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.runtime import Runtime

_NEVER: Final = float("inf")

#: Makes the queue of a lane.
MakeQueue: TypeAlias = "Callable[[WebhookLane], DeliveryQueue]"


class WebhookLane(Lane[Delivery]):
    """A webhook's deliveries, and the workers that make its attempts.

    Mutable state besides the counts: the queue, the breaker, and two timers.

    Args:
        runtime: shared with the other lanes.
        webhook: where deliveries go.
        settings: the policies that hold for it.
        make_queue: makes the queue that its deliveries are kept in.
        callbacks: what is reported upwards.
    """

    __slots__ = (
        "_breaker_alarm",
        "_callbacks",
        "_endpoint",
        "_expiry",
        "_suspended",
        "breaker",
        "closed_for",
        "in_flight",
        "key_of",
        "queue",
        "replayed",
        "retried",
        "settings",
        "webhook",
    )

    # Of the base class; named again, because a type checker asks for it where they are counted.
    accepted: int
    delivered: int
    dropped: int
    failed: int
    pending: int

    def __init__(
        self,
        runtime: Runtime,
        webhook: Webhook,
        settings: Settings,
        make_queue: MakeQueue,
        callbacks: LaneCallbacks,
    ) -> None:
        super().__init__(runtime, settings.queue_size, settings.overflow)
        self.webhook: Webhook = webhook
        self.settings: Settings = settings
        self.retried: int = 0
        self.replayed: int = 0
        self.in_flight: int = 0
        #: Why deliveries are given up at once; ``None`` while the webhook is enabled.
        self.closed_for: Reason | None = None
        #: Returns a delivery's order key; ``None`` for the connection's.
        self.key_of: Callable[[Event], str | None] | None = key_function(settings.order_by)
        self.queue: DeliveryQueue = make_queue(self)
        self.breaker = Breaker(settings.breaker) if settings.breaker else None
        self._callbacks = callbacks
        self._suspended = False
        self._expiry: Expiry | None = None
        if settings.max_age_seconds != _NEVER:
            self._expiry = Expiry(runtime, self.queue, settings.max_age_seconds, self._expire)
        # Made when they are first needed, for the sake of webhooks that are idle and never fail.
        self._endpoint: Endpoint | None = None
        self._breaker_alarm: Alarm | None = None

    @property
    def target(self) -> str:
        return self.webhook.id

    @property
    def endpoint(self) -> Endpoint:
        """The prepared endpoint."""
        if self._endpoint is None:
            self._endpoint = Endpoint(self.webhook, self.settings)
        return self._endpoint

    @property
    def takes_replays(self) -> bool:
        """True if dead letters may be sent again: it is not disabled, removed or closing."""
        return self.closed_for is None and not self._suspended

    # Taking in and dropping

    def enqueue(self, item: Delivery) -> None:
        self.accepted += 1
        self.pending += 1
        self.runtime.outstanding += 1
        if self.queue.put(item):
            self.entered(item)

    def entered(self, delivery: Delivery) -> None:
        """Start what a delivery needs that has entered the queue's memory, counted already."""
        if self._expiry is not None:
            self._expiry.watch(delivery)
        if delivery.state == READY and len(self.workers) < self.settings.concurrency:
            if self.breaker is None or self.breaker.state == CLOSED:
                self._start()
            else:
                self.fill()

    def drop_oldest(self, item: Delivery) -> None:
        self.drop_one()

    def drop_one(self) -> bool:
        """Drop the oldest delivery that is not in flight; return whether there was one."""
        oldest = self.queue.drop_oldest()
        if oldest is None:
            return False
        self.dropped += 1
        self.pending -= 1
        self.runtime.settled()
        self.record_loss(oldest, "overflow")
        self.fill()  # it may have blocked the next of its key
        return True

    def record_loss(self, item: Delivery, reason: Reason, *, rejected: bool = False) -> None:
        notifier, envelope = self.runtime.notifier, item.envelope
        if reason == "overflow" and notifier.dropped:
            policy = self.overflow
            notifier.notify(notifier.dropped, self.target, envelope.id, envelope.name, policy)
        self._callbacks.dead_letter(self.webhook, item, reason, rejected)

    def take_over(self, pending: int, breaker: Mapping[str, float] | None) -> None:
        """Count deliveries that a journal holds from before a restart; restore its breaker."""
        self.accepted += pending
        self.pending += pending
        self.runtime.outstanding += pending
        clock = self.runtime.clock
        if breaker and self.breaker is not None:
            self.breaker.restore(breaker, clock.monotonic(), clock.time())

    def saved_breaker(self) -> dict[str, float] | None:
        """Return the breaker's state that is to survive a restart; ``None`` if there is none."""
        breaker, clock = self.breaker, self.runtime.clock
        return None if breaker is None else breaker.saved(clock.monotonic(), clock.time())

    # Closing and reopening

    def close(self, reason: Reason) -> None:
        """Give up what is not in flight; what is in flight has this one attempt left."""
        self.closed_for = reason
        self.reject_waiters(reason)
        self.queue.close()
        # A copy each time: observers of one loss may cause the next, and break the chain.
        for delivery in tuple(self.queue):
            if delivery.state != IN_FLIGHT:
                self.dead_letter(delivery, reason)

    def reopen(self) -> None:
        """Take in and try again, with a new breaker: much may be mended."""
        self.closed_for = None
        self.queue.reopen()
        if self.settings.breaker:
            self.breaker = Breaker(self.settings.breaker)

    def suspend(self) -> None:
        self._suspended = True
        self.queue.suspend()

    def discard(self) -> int:
        left = self.pending
        for delivery in self.queue.clear():
            self.failed += 1
            self.settle_one()
            self.record_loss(delivery, "shutdown")
        self.runtime.settled(self.pending)  # the rest is kept, and is pending after a restart
        return left

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return {*self.workers, *self.queue.tasks()}

    def cancel_timers(self) -> None:
        self.queue.cancel_timers()
        if self._breaker_alarm is not None:
            self._breaker_alarm.cancel()
        if self._expiry is not None:
            self._expiry.cancel()

    def stats(self) -> TargetStats:
        oldest = next(iter(self.queue), None)
        return TargetStats(
            name=self.webhook.name,
            kind="webhook",
            accepted=self.accepted,
            delivered=self.delivered,
            failed=self.failed,
            retried=self.retried,
            dropped=self.dropped,
            pending=self.pending,
            in_flight=self.in_flight,
            breaker=self.breaker.state if self.breaker else None,
            enabled=self.closed_for is None,
            oldest=oldest.envelope.time if oldest else None,
            replayed=self.replayed,
        )

    # Workers

    def fill(self) -> None:
        """Start as many workers as there is ready work for."""
        breaker = self.breaker
        if breaker is not None and breaker.state != CLOSED:
            if breaker.state == OPEN and self.queue.ready_count:
                if self.runtime.clock.monotonic() < breaker.until:
                    self._wait_for_probe(breaker)
                elif len(self.workers) < self.settings.concurrency:
                    self._start()
            return
        idle = self.settings.concurrency - len(self.workers)
        for _ in range(min(idle, self.queue.ready_count)):
            self._start()

    def _start(self) -> None:
        if not self._suspended:
            self.start_worker(self._work(), self.runtime.context.copy())

    async def _work(self) -> None:
        attempter = Attempter(self.runtime)
        attempter.task.remove_done_callback(self.workers.discard)
        try:
            while True:
                if self._expiry is not None:
                    self._expire()  # one that waited long for room may be too old already
                breaker = self.breaker
                if breaker is None or breaker.state == CLOSED:
                    delivery = self.queue.next()
                else:
                    delivery = self._next_probe(breaker)
                if delivery is None:
                    break
                await self._attempt(attempter, delivery)
        finally:
            self.workers.discard(attempter.task)

    def _next_probe(self, breaker: Breaker) -> Delivery | None:
        """Return the delivery to probe the endpoint with, if the breaker admits one."""
        if not self.queue.ready_count:
            return None
        before = breaker.state
        if not breaker.admit(self.runtime.clock.monotonic()):
            if breaker.state == OPEN:
                self._wait_for_probe(breaker)
            return None
        delivery = self.queue.next()  # before any observer can take it away
        self._breaker_changed(before)
        return delivery

    async def _attempt(self, attempter: Attempter, delivery: Delivery) -> None:
        generation = self.breaker.generation if self.breaker else 0
        self.in_flight += 1
        try:
            outcome = await attempter.attempt(
                self.endpoint, self.webhook, delivery.envelope, delivery.attempts + 1
            )
        except asyncio.CancelledError:
            self._interrupted(delivery, attempter, generation)
            raise
        finally:
            self.in_flight -= 1
        self._settle(delivery, outcome, attempter, generation)

    # Outcomes

    def _interrupted(self, delivery: Delivery, attempter: Attempter, generation: int) -> None:
        """Settle a delivery whose worker was cancelled if the outcome is known, else requeue it."""
        if attempter.outcome is not None:
            self._settle(delivery, attempter.outcome, attempter, generation)
            return
        if self.breaker is not None:
            self.breaker.inconclusive(self.runtime.clock.monotonic(), generation)
        if delivery.state != REMOVED:
            self._record(delivery, INTERRUPTED)
            self.queue.requeue(delivery)
            self._report(delivery, INTERRUPTED, attempter)

    def _settle(
        self, delivery: Delivery, outcome: Outcome, attempter: Attempter, generation: int
    ) -> None:
        if delivery.state == REMOVED:
            return  # given up at closing, before this worker had ended
        self._record(delivery, outcome)
        verdict = outcome.verdict
        breaker = self.breaker
        if breaker is not None and not (breaker.healthy and verdict == DELIVERED):
            self._judge(breaker, outcome, generation)
        wait = None
        if verdict == RETRY and self.closed_for is None:
            policy = self.settings.retry
            wait = next_delay(outcome, delivery.attempts, policy, self.runtime.random)
        self._report(delivery, outcome, attempter, wait)
        if verdict == DELIVERED:
            self.queue.complete(delivery)
            self.delivered += 1
            self.settle_one()
        elif wait is not None and self.closed_for is None:  # an observer may just have closed it
            self.queue.retry_at(delivery, self.runtime.clock.monotonic() + wait)
            if self._expiry is not None:
                self._expiry.watch(delivery)
        elif verdict == RETRY:
            self.dead_letter(delivery, self.closed_for or "exhausted")
        else:
            self.dead_letter(delivery, "rejected")
            if verdict == ENDPOINT_GONE:
                self._callbacks.endpoint_gone(self.webhook)

    def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        delivery.attempts += 1
        if delivery.attempts > 1:
            self.retried += 1
        delivery.outcome = outcome

    def _report(
        self,
        delivery: Delivery,
        outcome: Outcome,
        attempter: Attempter,
        wait: float | None = None,
    ) -> None:
        clock, notifier, envelope = self.runtime.clock, self.runtime.notifier, delivery.envelope
        if notifier.observes_attempts:
            number, began = delivery.attempts, attempter.began
            notifier.notify_attempt(clock, self.webhook, envelope, number, outcome, began, wait)

    def dead_letter(self, delivery: Delivery, reason: Reason) -> None:
        """Make a dead letter of a delivery."""
        if delivery.state == REMOVED:
            return  # an observer of the one before disabled or removed the webhook
        self.queue.discard(delivery)
        self.failed += 1
        self.settle_one()
        self.record_loss(delivery, reason)

    # Breaker

    def _judge(self, breaker: Breaker, outcome: Outcome, generation: int) -> None:
        """Report an outcome to the breaker: any answer but "later" shows a working endpoint."""
        before = breaker.state
        if outcome.verdict == RETRY:
            breaker.failure(self.runtime.clock.monotonic(), generation)
        elif outcome.status is not None:
            breaker.success()
        else:
            breaker.inconclusive(self.runtime.clock.monotonic(), generation)
        if breaker.state != before:
            self._breaker_changed(before)
            self.fill()

    def _breaker_changed(self, before: BreakerState) -> None:
        self._callbacks.state_changed(self.target)
        notifier = self.runtime.notifier
        if notifier.breaker_changed and self.breaker is not None:
            after = self.breaker.state
            notifier.notify(notifier.breaker_changed, self.webhook, before, after)

    def _wait_for_probe(self, breaker: Breaker) -> None:
        if self._breaker_alarm is None:
            self._breaker_alarm = Alarm(self.runtime, self.fill)
        self._breaker_alarm.set(breaker.until)

    def _expire(self) -> None:
        expired = self._expiry.find() if self._expiry is not None else ()
        for delivery in expired:
            self.dead_letter(delivery, "expired")
        if expired:
            self.fill()  # they may have blocked the next of their keys
