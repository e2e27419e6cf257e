"""An event loop that a test turns by hand, for the tasks of queues."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextvars import copy_context

from relaybox_hooks.observer import Notifier
from relaybox_hooks.transport.runtime import Runtime

from .journal_queues import FakeLane
from .manual_clock import ManualClock


class Turns:
    """An event loop that a test turns by hand; what a queue's tasks raise, it raises."""

    def __init__(self, clock: ManualClock) -> None:
        self.loop = asyncio.new_event_loop()
        self.runtime = Runtime(Notifier(()), lambda: 0.5, clock=clock)
        self.runtime.loop = self.loop
        self.runtime.context = copy_context()
        self._tasks: set[asyncio.Task[None]] = set()

    def turn(self, lanes: Collection[FakeLane]) -> None:
        """Run what is ready now."""
        self._tasks.update(task for lane in lanes for task in lane.queue.tasks())
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        done = {task for task in self._tasks if task.done()}
        self._tasks -= done
        for task in done:
            if not task.cancelled():
                task.result()

    def close(self, lanes: Collection[FakeLane]) -> None:
        """Cancel what a failed test has left, and close the loop."""
        for lane in lanes:
            lane.queue.suspend()
            for task in lane.queue.tasks():
                task.cancel()
        self.turn(lanes)
        self.loop.close()
