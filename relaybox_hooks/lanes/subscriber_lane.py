"""The lane of a subscriber: events in order, into a local function."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, cast

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.events import Event
from relaybox_hooks.lanes.lane import Lane, current_lane
from relaybox_hooks.lanes.parked_workers import ParkedWorkers
from relaybox_hooks.observer import Notifier
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.targets.subscriber import Handler, Subscriber, to_async
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import Overflow

#: After this many events handled without a pause, a worker lets the event loop run others.
_BURST: Final = 64


class SubscriberLane(Lane[Event]):
    """FIFO into one function, by default one event at a time.

    A worker exists only while there are events, and parked for a while after that. It calls the
    function in a context of its own, so that no ``emit``'s context variables leak into another
    event's handling.

    Args:
        runtime: shared with the other lanes.
        subscriber: the function and its options.
        limit: how many events may be pending.
        overflow: the policy where they are.
        parked_workers: those of all lanes.
        on_first: called with the lane as it takes its first event; for ``once``.

    Attributes:
        parked: what its parked workers wait for; see ``HasWorkers``.
        subscriber: the function and its options.
        watched: the timer will look at its parked workers; see ``HasWorkers``.
    """

    __slots__ = (
        "_call",
        "_concurrency",
        "_on_first",
        "_parked_workers",
        "_queue",
        "_suspended",
        "parked",
        "subscriber",
        "watched",
    )

    # Of the base class; named again, because a type checker asks for it where they are counted.
    accepted: int
    delivered: int
    dropped: int
    failed: int
    pending: int

    def __init__(
        self,
        runtime: Runtime,
        subscriber: Subscriber,
        limit: int,
        overflow: Overflow,
        parked_workers: ParkedWorkers,
        on_first: Callable[[SubscriberLane], None] | None = None,
    ) -> None:
        super().__init__(runtime, limit, overflow)
        self.subscriber: Subscriber = subscriber
        self._concurrency = subscriber.concurrency or 1
        self._queue: deque[Event] = deque()
        self._suspended = False
        self._parked_workers = parked_workers
        self.parked: list[asyncio.Future[bool]] = []
        self.watched: bool = False
        self._on_first = on_first
        self._call = _runner(subscriber)
        notifier = runtime.notifier
        if notifier.subscriber_began or notifier.subscriber_ended:
            self._call = _observed(self._call, subscriber.name, notifier)

    def __str__(self) -> str:
        return f"subscriber {self.target!r}"

    @property
    def target(self) -> str:
        return self.subscriber.name

    def enqueue(self, item: Event) -> None:
        if self.subscriber.once:
            if self._on_first is None:
                return  # an emit that began before the first event was taken
            on_first, self._on_first = self._on_first, None
            on_first(self)
        self.accepted += 1
        self.pending += 1
        self.runtime.outstanding += 1
        self._queue.append(item)
        if self.parked:
            try:
                self.parked.pop().set_result(True)
            except asyncio.InvalidStateError:  # it was cancelled from outside: its place is free
                self._start()
        elif len(self.workers) < self._concurrency:
            self._start()

    def drop_oldest(self, item: Event) -> None:
        if self._queue:
            event = self._queue.popleft()
            self.dropped += 1
            self.pending -= 1
            self.runtime.settled()
            self.record_loss(event, "overflow")

    def record_loss(self, item: Event, reason: Reason, *, rejected: bool = False) -> None:
        notifier = self.runtime.notifier
        if notifier.dropped:
            why = self.overflow if reason == "overflow" else reason
            notifier.notify(notifier.dropped, self.target, item.id, item.name, why)

    def suspend(self) -> None:
        self._suspended = True

    def discard(self) -> int:
        left = self.pending
        self._queue.clear()
        self.failed += left
        self.pending = 0
        self.runtime.settled(left)
        return left

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return self.workers

    def cancel_timers(self) -> None:
        """End the parked workers, which a timer would end: no other event comes."""
        while self.parked:
            future = self.parked.pop()
            if not future.done():
                future.set_result(False)

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
            oldest=self._queue[0].time if self._queue else None,
        )

    def _start(self) -> None:
        context = self.runtime.context.copy()
        context.run(current_lane.set, self)
        self.start_worker(self._work(), context)

    async def _work(self) -> None:
        queue, call, runtime = self._queue, self._call, self.runtime
        create_future: Callable[[], asyncio.Future[bool]] = runtime.loop.create_future
        task = cast("asyncio.Task[None]", asyncio.current_task())
        task.remove_done_callback(self.workers.discard)
        burst = 0
        try:
            while True:
                while queue and not self._suspended:
                    event = queue.popleft()
                    try:
                        await call(event)
                    except Exception as error:
                        self._failed(event, error)
                    except BaseException as error:
                        self._broken_off(task, event, error)
                    else:
                        if self.waiters or runtime.joiners or not self.pending:
                            self._delivered()
                        else:  # the same without the calls
                            self.delivered += 1
                            self.pending -= 1
                            runtime.outstanding -= 1
                    del event  # a parked worker keeps nothing alive
                    burst += 1
                    if burst == _BURST:
                        burst = 0
                        await asyncio.sleep(0)
                more_may_come = not self.subscriber.once
                if not (more_may_come and (self.watched or self._parked_workers.watch(self))):
                    break
                parked = create_future()
                self.parked.append(parked)
                if not await parked:
                    break
                burst = 0
        finally:
            self.workers.discard(task)

    def _delivered(self) -> None:
        if self.pending:  # 0: given up at closing, the cancellation swallowed
            self.delivered += 1
            self.settle_one()

    def _broken_off(self, task: asyncio.Task[None], event: Event, error: BaseException) -> None:
        """Handle what is no ordinary error of the function: re-raise it unless it is its own."""
        if isinstance(error, GeneratorExit):  # the loop is gone
            raise error
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self._failed(event, error)
            if self._queue:  # a program that catches it may yet drain
                self._start()
            task.add_done_callback(asyncio.Task.exception)  # reported already
            raise error
        if isinstance(error, asyncio.CancelledError) and task.cancelling():
            self._queue.appendleft(event)
            raise error
        self._failed(event, error)

    def _failed(self, event: Event, error: BaseException) -> None:
        if not self.pending:  # given up at closing, the cancellation turned into an error
            return
        self.failed += 1
        self.settle_one()
        notifier = self.runtime.notifier
        if notifier.subscriber_failed:
            notifier.notify(notifier.subscriber_failed, self.target, event, error)


def _runner(subscriber: Subscriber) -> Callable[[Event], Awaitable[object]]:
    """Return an async way to call the function, decided once."""
    function = subscriber.function
    if subscriber.in_thread:
        return _in_thread(function, subscriber.concurrency or 1)
    return to_async(function)


def _observed(
    call: Callable[[Event], Awaitable[object]], name: str, notifier: Notifier
) -> Callable[[Event], Awaitable[object]]:
    """Return ``call`` with notifications before and after, in the context that it runs in."""

    async def observed(event: Event) -> None:
        notifier.notify(notifier.subscriber_began, name, event)
        try:
            await call(event)
        except BaseException as error:
            notifier.notify(notifier.subscriber_ended, name, event, error)
            raise
        notifier.notify(notifier.subscriber_ended, name, event, None)

    return observed


def _in_thread(function: Handler, threads: int) -> Callable[[Event], Awaitable[object]]:
    # Only where a function runs in a thread: importing it takes time.
    import anyio.to_thread  # noqa: PLC0415

    # A limiter of its own: the default one is shared by the whole process.
    limiter = anyio.CapacityLimiter(threads)

    async def call(event: Event) -> object:
        # Abandoned on cancellation, so that closing does not wait for a thread that hangs.
        result = await anyio.to_thread.run_sync(
            function, event, abandon_on_cancel=True, limiter=limiter
        )
        return await result if inspect.isawaitable(result) else result

    return call
