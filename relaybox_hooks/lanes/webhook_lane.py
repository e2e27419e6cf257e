"""The lane of a webhook: deliveries in order per key, retried, held back, or dead-lettered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.events import Event
from relaybox_hooks.lanes.breaker_gate import BreakerGate
from relaybox_hooks.lanes.callbacks import LaneCallbacks
from relaybox_hooks.lanes.delivery import IN_FLIGHT, READY, REMOVED, Delivery
from relaybox_hooks.lanes.delivery_queue import DeliveryQueue
from relaybox_hooks.lanes.expiry import Expiry
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.outcome import DELIVERED, ENDPOINT_GONE, RETRY, Outcome, next_delay
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.targets.order_key import key_function
from relaybox_hooks.targets.policies import CLOSED, BreakerState
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.attempt import INTERRUPTED, Attempter
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.transport.starts import Starts, Waiting

_NEVER: Final = float("inf")

MakeQueue: TypeAlias = "Callable[[WebhookLane], DeliveryQueue]"


class WebhookLane(Lane[Delivery]):
    """A webhook's deliveries, and the workers that make its attempts.

    Mutable state: counts, queue and breaker; ``asked``, ``slow``, ``workers`` for ``Starts``.

    Args:
        runtime: shared with the other lanes.
        webhook: where deliveries go.
        settings: the policies that hold for it.
        make_queue: makes the queue that its deliveries are kept in.
        callbacks: what is reported upwards.
    """

    __slots__ = (
        *("_beginning", "_breaker_gate", "_callbacks", "_endpoint", "_expiry", "_suspended"),
        *("asked", "closed_for", "in_flight", "key_of", "queue", "replayed", "retried"),
        *("settings", "slow", "webhook"),
    )

    # Of the base class; named again, because a type checker asks for it where they are counted.
    accepted: int
    delivered: int
    dropped: int
    failed: int
    limit: int
    pending: int
    pending_bytes: int

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
        self._breaker_gate: BreakerGate | None = None
        if settings.breaker:
            self._breaker_gate = BreakerGate(
                runtime, settings.breaker, self.fill, self._breaker_changed
            )
        self._callbacks = callbacks
        self._suspended = False
        self.asked: Waiting | None = None
        self.slow: bool = False
        #: Workers that were started and have not begun.
        self._beginning = 0
        self._expiry: Expiry | None = None
        if settings.max_age_seconds != _NEVER:
            self._expiry = Expiry(runtime, self.queue, settings.max_age_seconds, self._expire)
        self._endpoint: Endpoint | None = None  # made when it is first needed

    @property
    def target(self) -> str:
        return self.webhook.id

    @property
    def endpoint(self) -> Endpoint:
        """The prepared endpoint."""
        if self._endpoint is None:
            self._endpoint = self.runtime.profiles.endpoint(self.webhook, self.settings)
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
        self.pending_bytes += len(item.envelope.prefix)
        if self.pending_bytes >= self.settings.max_pending_bytes:
            self.limit = 0  # until there are fewer: the emitter looks at nothing else
        if self.queue.put(item):
            self.entered(item)

    def entered(self, delivery: Delivery) -> None:
        """Start what a delivery needs that has entered the queue's memory, counted already."""
        if self._expiry is not None:
            self._expiry.watch(delivery)
        if delivery.state == READY and len(self.workers) < self.settings.concurrency:
            gate, starts = self._breaker_gate, self.runtime.starts
            closed = gate is None or gate.breaker.state == CLOSED
            if starts.at_once and closed and not (self.slow or self._suspended):
                starts.at_once -= 1
                starts.beginning += 1
                starts.running += 1
                self.start_one()
            else:
                self.fill()

    def drop_oldest(self, item: Delivery) -> None:
        while self.drop_one() and not self.limit:
            pass

    def drop_one(self) -> bool:
        """Drop the oldest delivery that is not in flight; return whether there was one."""
        oldest = self.queue.drop_oldest()
        if oldest is None:
            return False
        self.dropped += 1
        self._free(oldest)
        self.pending -= 1
        self.runtime.settled()
        self.record_loss(oldest, "overflow")
        self.fill()  # it may have blocked the next of its key
        return True

    def _free(self, delivery: Delivery) -> None:
        """Count the bytes of a delivery as pending no longer."""
        self.pending_bytes -= len(delivery.envelope.prefix)
        if not self.limit and self.pending_bytes < self.settings.max_pending_bytes:
            self.limit = self.size

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
        if breaker and self._breaker_gate is not None:
            self._breaker_gate.restore(breaker)

    def saved_breaker(self) -> dict[str, float] | None:
        """Return the breaker's state that is to survive a restart; ``None`` if there is none."""
        return None if self._breaker_gate is None else self._breaker_gate.saved()

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
        if self._breaker_gate is not None:
            self._breaker_gate.renew()

    def suspend(self) -> None:
        self._suspended = True
        self.queue.suspend()

    def discard(self) -> int:
        left = self.pending
        for delivery in self.queue.clear():
            self.failed += 1
            self._free(delivery)
            self.settle_one()
            self.record_loss(delivery, "shutdown")
        self.runtime.settled(self.pending)  # the rest is kept, and is pending after a restart
        return left

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return {*self.workers, *self.queue.tasks()}

    def cancel_timers(self) -> None:
        self.queue.cancel_timers()
        if self._breaker_gate is not None:
            self._breaker_gate.cancel_timer()
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
            breaker=self._breaker_gate.breaker.state if self._breaker_gate else None,
            enabled=self.closed_for is None,
            oldest=oldest.envelope.time if oldest else None,
            replayed=self.replayed,
        )

    # Workers

    def fill(self) -> None:
        """Start as many workers as there is ready work for, or have them started."""
        while self.wants_worker() and self.runtime.starts.admit(self):
            self.start_one()

    def wants_worker(self) -> bool:
        """Return whether there is work for one worker more."""
        if self._suspended or len(self.workers) >= self.settings.concurrency:
            return False
        if self.queue.ready_count <= self._beginning:
            return False
        gate = self._breaker_gate
        return gate is None or gate.breaker.state == CLOSED or gate.probe_is_due()

    def start_one(self) -> None:
        """Start a worker."""
        self._beginning += 1
        self.start_worker(self._work(self.slow), self.runtime.context.copy())

    @staticmethod
    def _all_begun(starts: Starts) -> None:
        if starts.waiting:
            starts.all_begun()
        else:
            starts.at_once = min(starts.batch, starts.maximum - starts.running)

    async def _work(self, slow: bool) -> None:
        starts, attempts = self.runtime.starts, 0
        self._beginning -= 1
        starts.beginning -= 1
        if not starts.beginning:
            self._all_begun(starts)
        endpoint, attempter = self.endpoint, Attempter(self.runtime)
        attempter.task.remove_done_callback(self.workers.discard)
        delivery: Delivery | None
        try:
            while True:
                if self._expiry is not None:
                    self._expire()  # one that waited long for room may be too old already
                gate = self._breaker_gate
                if gate is None or gate.breaker.state == CLOSED:
                    delivery = self.queue.next()
                else:
                    delivery = gate.next_probe(self.queue)
                if delivery is None:
                    break
                generation = gate.breaker.generation if gate else 0
                self.in_flight += 1
                try:
                    outcome = await attempter.attempt(
                        endpoint, self.webhook, delivery.envelope, delivery.attempts + 1
                    )
                except asyncio.CancelledError:
                    self._interrupted(delivery, attempter, generation)
                    raise
                finally:
                    self.in_flight -= 1
                self.slow = attempter.timed_out
                self._settle(delivery, outcome, attempter, generation)
                attempts += 1
                if self.slow != slow or (starts.waiting and starts.must_yield(self, attempts)):
                    break
        finally:
            self.workers.discard(attempter.task)
            starts.running -= 1
            starts.slow_running -= slow
            if starts.waiting:
                starts.launch()
        if delivery is not None:
            self.fill()

    # Outcomes

    def _interrupted(self, delivery: Delivery, attempter: Attempter, generation: int) -> None:
        """Settle a delivery whose worker was cancelled if the outcome is known, else requeue it."""
        if attempter.outcome is not None:
            self._settle(delivery, attempter.outcome, attempter, generation)
            return
        if self._breaker_gate is not None:
            self._breaker_gate.inconclusive(generation)
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
        gate = self._breaker_gate
        if gate is not None and not (gate.breaker.healthy and verdict == DELIVERED):
            gate.judge(outcome, generation)
        wait = None
        if verdict == RETRY and self.closed_for is None:
            policy = self.settings.retry
            wait = next_delay(outcome, delivery.attempts, policy, self.runtime.random)
        self._report(delivery, outcome, attempter, wait)
        if verdict == DELIVERED:
            self._free(delivery)
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
        self._free(delivery)
        self.queue.discard(delivery)
        self.failed += 1
        self.settle_one()
        self.record_loss(delivery, reason)

    def _breaker_changed(self, before: BreakerState) -> None:
        self._callbacks.state_changed(self.target)
        notifier = self.runtime.notifier
        if notifier.breaker_changed and self._breaker_gate is not None:
            after = self._breaker_gate.breaker.state
            notifier.notify(notifier.breaker_changed, self.webhook, before, after)

    def _expire(self) -> None:
        expired = self._expiry.find() if self._expiry is not None else ()
        for delivery in expired:
            self.dead_letter(delivery, "expired")
        if expired:
            self.fill()  # they may have blocked the next of their keys
