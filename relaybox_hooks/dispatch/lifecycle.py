"""The lifecycle of a ``Hooks``: new, open, closing, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from relaybox_hooks.dispatch import shutdown
from relaybox_hooks.dispatch.emitter import Emitter
from relaybox_hooks.dispatch.inline_calls import is_awaited_by
from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.dispatch.parts import Parts
from relaybox_hooks.errors import HooksClosedError, RelayboxHooksError
from relaybox_hooks.lanes.lane import Lane, current_lane
from relaybox_hooks.observer import logger
from relaybox_hooks.stats import CloseReport, Stats
from relaybox_hooks.validation import to_seconds


class Lifecycle:
    """Opens and closes the parts, in their order.

    Args:
        parts: of one ``Hooks``.
        options: of the same.
    """

    def __init__(self, parts: Parts, options: Options) -> None:
        self._parts = parts
        self._options = options
        self._close_timeout = to_seconds("close_timeout", options.close_timeout, zero=True)
        self._starting = asyncio.Lock()
        self._closing: asyncio.Task[CloseReport] | None = None

    async def start(self, shown: object, stats: Callable[[], Stats]) -> None:
        """Open the parts; see ``Hooks.start``.

        Args:
            shown: named in errors.
            stats: what observers ask for the counts.
        """
        async with self._starting:
            await self._start(shown, stats)

    async def _start(self, shown: object, stats: Callable[[], Stats]) -> None:
        runtime, gateway = self._parts.runtime, self._parts.gateway
        runtime.check_not_closed()
        if runtime.state == "open":
            if runtime.loop is not asyncio.get_running_loop():
                raise RelayboxHooksError(f"{shown!r} are open in another event loop; make new ones")
            return
        runtime.start()
        runtime.context.run(current_lane.set, None)
        if gateway is not None:
            await gateway.open()
            self._parts.accounting.dead_letters = gateway.dead_letters
            if runtime.state != "new":  # closed meanwhile
                await gateway.aclose()
                raise HooksClosedError(runtime.state)
        runtime.open_session(self._options.egress)
        if gateway is not None:
            self._parts.registry.take_over_all()
            gateway.begin()
        runtime.state = "open"
        self._parts.emitter.refresh()
        if self._options.logging:
            self._warn_of_few_connections()
        if runtime.notifier.started:
            runtime.notifier.notify(runtime.notifier.started, stats)

    def _warn_of_few_connections(self) -> None:
        budget, webhooks = self._parts.runtime.budget, len(self._parts.registry.webhooks)
        if budget is not None and webhooks > budget.maximum:
            logger.warning(
                "%d webhooks are registered and max_connections is %d: when more of them have work "
                "at a time, they wait for one another; raise max_connections, and with it the "
                "limit on open files",
                webhooks,
                budget.maximum,
            )

    async def aclose(self, timeout: float | timedelta | None) -> CloseReport:
        """Drain and close the parts; see ``Hooks.aclose``."""
        limit = self._close_timeout
        if timeout is not None:
            limit = to_seconds("timeout", timeout, zero=True)
        self.check_outside("aclose")
        if self._closing is not None:
            return await asyncio.shield(self._closing)
        runtime = self._parts.runtime
        if runtime.state != "open":  # never started
            runtime.state = "closed"
            return CloseReport(0, 0, 0, {}, "drained")
        runtime.state = "closing"
        self._parts.emitter.refresh()
        drain = shutdown.Drain(runtime.loop)
        lanes = list(self._parts.registry.lanes())
        before = sum(lane.delivered for lane in lanes), sum(lane.failed for lane in lanes)
        task = runtime.loop.create_task(self._close(lanes, before, drain, limit))
        self._closing = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            drain.cut_short("cancelled")
            import anyio  # noqa: PLC0415 - rarely cancelled, and importing it takes time

            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            raise

    async def join(self) -> None:
        """Wait until nothing is outstanding."""
        self.check_outside("join")
        runtime = self._parts.runtime
        while runtime.outstanding:
            await runtime.at_rest()

    def check_outside(self, method: str) -> None:
        """Raise RelayboxHooksError in a subscriber of these hooks, which would wait for itself."""
        emitter = self._parts.emitter
        if is_awaited_by(Emitter.emit.__code__, emitter):
            raise RelayboxHooksError(
                f"{method}() inside an inline subscriber would wait for that subscriber; "
                "call it from a task of its own, or from outside"
            )
        lane = current_lane.get()
        inside = lane is not None and lane.runtime is self._parts.runtime
        if lane is not None and inside and asyncio.current_task() in lane.workers:
            raise RelayboxHooksError(
                f"{method}() inside subscriber {lane.target!r} would wait for that subscriber; "
                "call it from a task of its own, or from outside"
            )

    async def _until_idle(self, lanes: list[Lane[Any]]) -> None:
        await self._parts.emitter.inline_calls.wait_until_idle()
        await shutdown.wait_until_idle(lanes)

    async def _close(
        self,
        lanes: list[Lane[Any]],
        before: tuple[int, int],
        drain: shutdown.Drain,
        timeout: float,
    ) -> CloseReport:
        runtime, gateway = self._parts.runtime, self._parts.gateway
        self._parts.registry.parked_workers.close()
        for lane in lanes:
            lane.reject_waiters("shutdown")
        at_rest: asyncio.Future[None]
        if gateway is None:
            at_rest = runtime.at_rest()
        else:
            gateway.reject_waiters()
            at_rest = runtime.loop.create_task(self._until_idle(lanes))
        ending = await drain.wait(runtime.clock, timeout, at_rest)
        at_rest.cancel()
        self._parts.emitter.inline_calls.suspend()
        await shutdown.cancel_workers(lanes)
        if gateway is not None:
            gateway.reject_waiters()  # of emits whose inline functions were under way
            await gateway.flush()
        for lane in lanes:  # of emits that were being stored as closing began
            lane.reject_waiters("shutdown")
        report = shutdown.discard_pending(lanes, before, ending)
        for lane in lanes:
            lane.cancel_timers()
        runtime.deadlines.cancel()
        if gateway is not None:
            await gateway.aclose()
        await runtime.close_session()
        runtime.state = "closed"
        runtime.notifier.notify(runtime.notifier.closed, report)
        return report
