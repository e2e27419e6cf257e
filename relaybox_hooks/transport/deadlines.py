"""Deadlines of the attempts under way, all kept by a single timer."""

from __future__ import annotations

from typing import Final, Protocol

from relaybox_hooks.clock import Alarm, Clocked

_NEVER: Final = float("inf")


class Overdue(Protocol):
    """An attempt that has a deadline.

    Attributes:
        deadline: when it must end, monotonic.
    """

    deadline: float

    def time_out(self) -> None:
        """Cancel the attempt, because its deadline has passed."""


class Deadlines:
    """Ends attempts that take too long.

    One timer, set to the earliest deadline, does for all of them: with one for each, as aiohttp
    starts, timers would cost more than the rest of an attempt's bookkeeping.

    Attributes:
        running: the attempts under way.
        earliest: when the timer fires, monotonic; ``inf`` while it is not set.
    """

    __slots__ = ("_alarm", "earliest", "running")

    def __init__(self, owner: Clocked) -> None:
        self._alarm = Alarm(owner, self._end_overdue)
        self.running: set[Overdue] = set()
        self.earliest: float = _NEVER

    def set_timer(self, deadline: float) -> None:
        """Let the timer fire at ``deadline``, which is before ``earliest``."""
        self.earliest = deadline
        self._alarm.set(deadline)

    def cancel(self) -> None:
        """Cancel the timer, unless an attempt is under way: a replay may outlast closing."""
        if self.running:
            return
        self.earliest = _NEVER
        self._alarm.cancel()

    def _end_overdue(self) -> None:
        self.earliest = _NEVER
        now = self._alarm.now()
        nearest = _NEVER
        for attempt in tuple(self.running):
            if attempt.deadline > now:
                nearest = min(nearest, attempt.deadline)
            else:
                attempt.time_out()
        if nearest != _NEVER:
            self.set_timer(nearest)
