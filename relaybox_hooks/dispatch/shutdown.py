"""Shutdown: drain to a deadline, cancel what is left, and report."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any, Final

from relaybox_hooks.clock import Clock
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.observer import logger
from relaybox_hooks.stats import CloseReport, Ending

#: Seconds that cancelled workers get to clean up in. A subscriber that swallows its
#: cancellation must not keep a server from stopping.
_GRACE: Final = 2.0


class Drain:
    """Waits for all lanes to come to rest; a deadline or a cancellation ends the wait early."""

    __slots__ = ("_ending",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ending: asyncio.Future[Ending] = loop.create_future()

    def cut_short(self, ending: Ending) -> None:
        """Wait no longer; only the first reason counts."""
        if not self._ending.done():
            self._ending.set_result(ending)

    async def wait(self, clock: Clock, timeout: float, at_rest: asyncio.Future[None]) -> Ending:
        """Wait until ``at_rest`` is done, for at most ``timeout`` seconds."""
        at_rest.add_done_callback(lambda _: self.cut_short("drained"))
        deadline = clock.monotonic() + timeout
        handle = clock.call_at(deadline, lambda: self.cut_short("timed out"))
        try:
            return await self._ending
        except asyncio.CancelledError:  # the loop is being shut down
            return "cancelled"
        finally:
            handle.cancel()


async def wait_until_idle(lanes: Collection[Lane[Any]]) -> None:
    """Wait until nothing runs for any lane: what is left waits for its time."""
    while tasks := {task for lane in lanes for task in lane.tasks()}:
        await asyncio.wait(tasks)


async def cancel_workers(lanes: Collection[Lane[Any]]) -> None:
    """Cancel every worker and wait until it has ended, for a short while."""
    for lane in lanes:
        lane.suspend()
    tasks = {task for lane in lanes for task in lane.tasks() if not task.done()}
    for task in tasks:
        task.cancel()
    if tasks:
        _, stubborn = await asyncio.wait(tasks, timeout=_GRACE)
        for task in stubborn:
            logger.error("a subscriber swallows its cancellation and is left behind: %r", task)


def discard_pending(
    lanes: Iterable[Lane[Any]], before: tuple[int, int], ending: Ending
) -> CloseReport:
    """Give up all that is pending, and report.

    Args:
        lanes: all of them.
        before: how much had been delivered, and had failed, when closing began.
        ending: how the drain ended.
    """
    lanes = list(lanes)
    delivered = sum(lane.delivered for lane in lanes) - before[0]
    failed = sum(lane.failed for lane in lanes) - before[1]
    left: dict[str, int] = {}
    for lane in lanes:
        events = lane.discard()
        if events:
            left[lane.target] = left.get(lane.target, 0) + events
    return CloseReport(delivered, failed, sum(left.values()), left, ending)
