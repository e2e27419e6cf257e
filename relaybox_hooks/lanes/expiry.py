"""Ages of a lane's deliveries: which are too old, and a timer for the next that will be."""

from __future__ import annotations

from collections.abc import Callable

from relaybox_hooks.clock import Alarm, Clocked
from relaybox_hooks.lanes.delivery import IN_FLIGHT, Delivery
from relaybox_hooks.lanes.delivery_queue import DeliveryQueue


class Expiry:
    """Finds the deliveries of a queue that are older than ``max_age`` seconds.

    Args:
        clocked: has the clock.
        queue: its deliveries are watched.
        max_age: seconds from the emit, by the wall clock.
        when_due: called when one may have become too old.
    """

    __slots__ = ("_alarm", "_clocked", "_max_age", "_queue")

    def __init__(
        self,
        clocked: Clocked,
        queue: DeliveryQueue,
        max_age: float,
        when_due: Callable[[], object],
    ) -> None:
        self._clocked = clocked
        self._queue = queue
        self._max_age = max_age
        self._alarm = Alarm(clocked, when_due)

    def watch(self, delivery: Delivery) -> None:
        """Set the timer for a delivery that is not in flight."""
        clock = self._clocked.clock
        age = clock.time() - delivery.envelope.time
        self._alarm.set(clock.monotonic() + max(0.0, self._max_age - age))

    def find(self) -> list[Delivery]:
        """Return what is too old and not in flight, and set the timer for the rest."""
        now = self._clocked.clock.time()
        expired: list[Delivery] = []
        for delivery in self._queue:
            if delivery.state == IN_FLIGHT:
                continue
            if now - delivery.envelope.time >= self._max_age:
                expired.append(delivery)
            else:
                self.watch(delivery)
                if self._queue.oldest_first:
                    break
        return expired

    def cancel(self) -> None:
        """Cancel the timer."""
        self._alarm.cancel()
