"""Deadlines of the attempts under way at one webhook, all kept by a single timer."""

from __future__ import annotations

import asyncio
from typing import Final

from relaybox_hooks.clock import Alarm, Clocked

_NEVER: Final = float("inf")


class Worker:
    """A running worker and the attempt that it makes.

    Attributes:
        task: the task it runs in.
        began: when the attempt began, monotonic.
        turn: the breaker's turn in which it began.
        deadline: when the attempt under way must end, monotonic; ``inf`` between attempts.
        overdue: the deadline has passed, and the task was cancelled for that reason.
    """

    __slots__ = ("began", "deadline", "overdue", "task", "turn")

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.began = 0.0
        self.turn = 0
        self.deadline = _NEVER
        self.overdue = False


class Deadlines:
    """Cancels workers whose attempt takes too long.

    aiohttp would start a timer for every request; as all the attempts of a webhook may take
    equally long, one that is set to the earliest deadline does for them all.
    """

    __slots__ = ("_alarm", "workers")

    def __init__(self, owner: Clocked) -> None:
        self._alarm = Alarm(owner, self._cancel_overdue)
        #: The running workers.
        self.workers: set[Worker] = set()

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return sum(worker.deadline != _NEVER for worker in self.workers)

    def begin(self, worker: Worker, deadline: float) -> None:
        """The worker's attempt has until ``deadline``, monotonic."""
        worker.deadline = deadline
        self._alarm.set(deadline)

    def end(self, worker: Worker) -> None:
        """The worker's attempt is over."""
        worker.deadline = _NEVER
        worker.overdue = False

    def cancel(self) -> None:
        """Cut nobody off any more."""
        self._alarm.cancel()

    def _cancel_overdue(self) -> None:
        now = self._alarm.now()
        nearest = _NEVER
        for worker in self.workers:
            if worker.deadline > now:
                nearest = min(nearest, worker.deadline)
            elif not worker.overdue:
                worker.overdue = True
                worker.task.cancel()
        if nearest != _NEVER:
            self._alarm.set(nearest)
