"""A webhook's breaker at work: which attempts it admits, when the next probe is due, reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relaybox_hooks.clock import Alarm
from relaybox_hooks.lanes.breaker import Breaker
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.delivery_queue import DeliveryQueue
from relaybox_hooks.outcome import RETRY, Outcome
from relaybox_hooks.targets.policies import OPEN, BreakerPolicy, BreakerState
from relaybox_hooks.transport.runtime import Runtime


class BreakerGate:
    """Lets the attempts of a lane through, and judges by their outcomes.

    Args:
        runtime: has the clock.
        policy: of the breaker.
        probe: called when a probe is due, or attempts are admitted again.
        changed: called after each change with the state before it.

    Attributes:
        breaker: the breaker.
    """

    __slots__ = ("_alarm", "_changed", "_policy", "_probe", "_runtime", "breaker")

    def __init__(
        self,
        runtime: Runtime,
        policy: BreakerPolicy,
        probe: Callable[[], object],
        changed: Callable[[BreakerState], object],
    ) -> None:
        self._runtime = runtime
        self._policy = policy
        self._probe = probe
        self._changed = changed
        # Made when it is first needed, for the sake of webhooks that never fail.
        self._alarm: Alarm | None = None
        self.breaker: Breaker = Breaker(policy)

    def renew(self) -> None:
        """Begin with a new breaker: much may be mended."""
        self.breaker = Breaker(self._policy)

    def restore(self, saved: Mapping[str, float]) -> None:
        """Take up the state from before a restart."""
        clock = self._runtime.clock
        self.breaker.restore(saved, clock.monotonic(), clock.time())

    def saved(self) -> dict[str, float] | None:
        """Return the state that is to survive a restart; ``None`` if there is none."""
        clock = self._runtime.clock
        return self.breaker.saved(clock.monotonic(), clock.time())

    def probe_is_due(self) -> bool:
        """Return whether a worker may begin a probe; let ``probe`` be called when one may."""
        breaker = self.breaker
        if breaker.state != OPEN:
            return False
        if self._runtime.clock.monotonic() < breaker.until:
            self._wait()
            return False
        return True

    def next_probe(self, queue: DeliveryQueue) -> Delivery | None:
        """Return the delivery to probe the endpoint with, if the breaker admits one."""
        breaker = self.breaker
        if not queue.ready_count:
            return None
        before = breaker.state
        if not breaker.admit(self._runtime.clock.monotonic()):
            if breaker.state == OPEN:
                self._wait()
            return None
        delivery = queue.next()  # before any observer can take it away
        self._changed(before)
        return delivery

    def judge(self, outcome: Outcome, generation: int) -> None:
        """Report an outcome to the breaker: any answer but "later" shows a working endpoint."""
        breaker = self.breaker
        before = breaker.state
        if outcome.verdict == RETRY:
            breaker.failure(self._runtime.clock.monotonic(), generation)
        elif outcome.status is not None:
            breaker.success()
        else:
            breaker.inconclusive(self._runtime.clock.monotonic(), generation)
        if breaker.state != before:
            self._changed(before)
            self._probe()

    def inconclusive(self, generation: int) -> None:
        """Report an attempt that was interrupted."""
        self.breaker.inconclusive(self._runtime.clock.monotonic(), generation)

    def cancel_timer(self) -> None:
        """Call ``probe`` no more by itself."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _wait(self) -> None:
        if self._alarm is None:
            self._alarm = Alarm(self._runtime, self._probe)
        self._alarm.set(self.breaker.until)
