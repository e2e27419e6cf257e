"""Closing: drain to a deadline, cancel what is left, and account for it."""

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
    """The wait for all lanes to come to rest, which a deadline or a cancellation ends early."""

    __slots__ = ("_ended",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ended: asyncio.Future[Ending] = loop.create_future()

    def end(self, ending: Ending) -> None:
        """Stop waiting; only the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(ending)

    async def wait(self, clock: Clock, timeout: float, at_rest: asyncio.Future[None]) -> Ending:
        """Wait until ``at_rest`` is done, ``timeout`` seconds at the most."""
        at_rest.add_done_callback(lambda _: self.end("drained"))
        handle = clock.call_at(clock.monotonic() + timeout, lambda: self.end("timed out"))
        try:
            return await self._ended
        except asyncio.CancelledError:  # the loop is being shut down
            return "cancelled"
        finally:
            handle.cancel()


async def quiet(lanes: Collection[Lane[Any]]) -> None:
    """Wait until no lane can do anything more at the moment: what is left waits for its time."""
    while tasks := {task for lane in lanes for task in lane.tasks()}:
        await asyncio.wait(tasks)


async def cancel_workers(lanes: Collection[Lane[Any]]) -> None:
    """Cancel every worker and wait until it has ended, for a short while."""
    for lane in lanes:
        lane.halt()
    tasks = {task for lane in lanes for task in lane.tasks() if not task.done()}
    for task in tasks:
        task.cancel()
    if tasks:
        _, stubborn = await asyncio.wait(tasks, timeout=_GRACE)
        for task in stubborn:
            logger.error("a subscriber swallows its cancellation and is left behind: %r", task)


def account(lanes: Iterable[Lane[Any]], before: tuple[int, int], ending: Ending) -> CloseReport:
    """Give up all that is pending, and report.

    Args:
        lanes: all of them.
        before: what had been delivered and what had failed when closing began.
        ending: how the drain went.
    """
    lanes = list(lanes)
    delivered = sum(lane.delivered for lane in lanes) - before[0]
    failed = sum(lane.failed for lane in lanes) - before[1]
    left: dict[str, int] = {}
    for lane in lanes:
        events = lane.abandon()
        if events:
            left[lane.target] = left.get(lane.target, 0) + events
    return CloseReport(delivered, failed, sum(left.values()), left, ending)
