"""The lane of a subscriber: events in order, into a local function."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, cast

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.events import Event
from relaybox_hooks.lanes.lane import Hub, Lane, current_lane
from relaybox_hooks.observer import Notifier
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.targets.subscriber import Handler, Subscriber
from relaybox_hooks.validation import Overflow

#: After this many events handled without a pause, a worker lets the event loop run others.
_BURST: Final = 64


class SubscriberLane(Lane[Event]):
    """FIFO into one function, by default one event at a time.

    A worker exists only while there are events. It calls the function in a context of its
    own, so that no ``emit``'s context variables leak into another event's handling.
    """

    __slots__ = ("_call", "_concurrency", "_halted", "_queue", "subscriber")

    def __init__(self, hub: Hub, subscriber: Subscriber, limit: int, overflow: Overflow) -> None:
        super().__init__(hub, limit, overflow)
        self.subscriber = subscriber
        self._concurrency = subscriber.concurrency
        self._queue: deque[Event] = deque()
        self._halted = False
        self._call = _runner(subscriber)
        if hub.notifier.subscriber_began or hub.notifier.subscriber_ended:
            self._call = _observed(self._call, subscriber.name, hub.notifier)

    @property
    def target(self) -> str:
        return self.subscriber.name

    def put(self, item: Event) -> None:
        self.accepted += 1
        self.pending += 1
        self.hub.outstanding += 1
        self._queue.append(item)
        if len(self.workers) < self._concurrency:
            self._start()

    def evict(self) -> bool:
        if not self._queue:
            return False
        event = self._queue.popleft()
        self.dropped += 1
        self.pending -= 1
        self.hub.settled()
        self.bury(event, "overflow")
        return True

    def bury(self, item: Event, reason: Reason) -> None:
        notifier = self.hub.notifier
        if notifier.dropped:
            why = self.overflow if reason == "overflow" else reason
            notifier.tell(notifier.dropped, self.target, item.id, item.name, why)

    def halt(self) -> None:
        self._halted = True

    def abandon(self) -> int:
        left = self.pending
        self._queue.clear()
        self.failed += left
        self.pending = 0
        self.hub.settled(left)
        return left

    def stats(self) -> TargetStats:
        return TargetStats(
            name=self.target,
            kind="subscriber",
            accepted=self.accepted,
            delivered=self.delivered,
            failed=self.failed,
            retried=0,
            dropped=self.dropped,
            pending=self.pending,
            in_flight=self.pending - len(self._queue),
            breaker=None,
            enabled=True,
            oldest=self._queue[0]._time if self._queue else None,
        )

    def _start(self) -> None:
        context = self.hub.context.copy()
        context.run(current_lane.set, self)
        self.spawn(self._work(), context)

    async def _work(self) -> None:
        queue, call, hub = self._queue, self._call, self.hub
        task = self.begin()
        burst = 0
        try:
            while queue and not self._halted:
                event = queue.popleft()
                try:
                    await call(event)
                except Exception as error:
                    self._failed(event, error)
                except GeneratorExit:  # the loop is gone
                    raise
                except (KeyboardInterrupt, SystemExit) as error:
                    self._failed(event, error)
                    if queue:  # whoever catches it may yet want to drain
                        self._start()
                    task.add_done_callback(asyncio.Task.exception)  # told of already
                    raise
                except BaseException as error:
                    if isinstance(error, asyncio.CancelledError) and task.cancelling():
                        queue.appendleft(event)
                        raise
                    self._failed(event, error)
                else:
                    if self.pending:  # 0: given up at closing, the cancellation swallowed
                        self.delivered += 1
                        if self.waiters or hub.outstanding == 1:  # somebody is to be told
                            self.freed()
                        else:  # the same without the calls
                            self.pending -= 1
                            hub.outstanding -= 1
                burst += 1
                if burst == _BURST:
                    burst = 0
                    await asyncio.sleep(0)
        finally:
            self.workers.discard(task)

    def _failed(self, event: Event, error: BaseException) -> None:
        if not self.pending:  # given up at closing, the cancellation turned into an error
            return
        self.failed += 1
        self.freed()
        notifier = self.hub.notifier
        if notifier.subscriber_failed:
            notifier.tell(notifier.subscriber_failed, self.target, event, error)


class OnceLane(SubscriberLane):
    """The lane of a subscriber that is told of one event: taking it ends the subscription."""

    __slots__ = ("forget",)

    #: Takes this lane off the routes; set by whoever put it on them.
    forget: Callable[[SubscriberLane], None]

    def put(self, item: Event) -> None:
        self.forget(self)
        super().put(item)


def _runner(subscriber: Subscriber) -> Callable[[Event], Awaitable[object]]:
    """An async way to call the function, decided once."""
    function = subscriber.function
    if inspect.iscoroutinefunction(function):
        return cast("Callable[[Event], Coroutine[Any, Any, object]]", function)
    if subscriber.in_thread:
        return _in_thread(function, subscriber.concurrency)
    return _inline(function)


def _observed(
    call: Callable[[Event], Awaitable[object]], name: str, notifier: Notifier
) -> Callable[[Event], Awaitable[object]]:
    """``call`` with the observers told before and after, in the context that it runs in."""

    async def observed(event: Event) -> None:
        notifier.tell(notifier.subscriber_began, name, event)
        try:
            await call(event)
        except BaseException as error:
            notifier.tell(notifier.subscriber_ended, name, event, error)
            raise
        notifier.tell(notifier.subscriber_ended, name, event, None)

    return observed


def _in_thread(function: Handler, threads: int) -> Callable[[Event], Awaitable[object]]:
    # Where a function in a thread is registered: the others need not wait for the import.
    import anyio.to_thread  # noqa: PLC0415

    # A limiter of its own: the default one is shared by everybody in the process.
    limiter = anyio.CapacityLimiter(threads)

    async def call(event: Event) -> object:
        # Abandoned on cancellation, so that closing does not wait for a thread that hangs.
        result = await anyio.to_thread.run_sync(
            function, event, abandon_on_cancel=True, limiter=limiter
        )
        return await result if inspect.isawaitable(result) else result

    return call


def _inline(function: Handler) -> Callable[[Event], Awaitable[object]]:
    async def call(event: Event) -> None:
        result = function(event)
        if inspect.isawaitable(result):
            await result

    return call
