"""The lane of an inline subscriber: a local function that ``emit`` itself awaits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import Any

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.errors import SubscriberTimeoutError, SubscriberWaitError
from relaybox_hooks.events import Event
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.targets.subscriber import Subscriber, is_async, to_async
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import to_seconds


class InlineLane(Lane[Event]):
    """Counts of a function that ``emit`` awaits, and its calls: nothing ever waits here.

    A call is :meth:`begin`, then :meth:`call` or :meth:`call_nowait`. ``accepted`` is the sum of
    the other counts, and brought up to date where it is read, in :meth:`stats`.

    Args:
        runtime: shared with the other lanes.
        subscriber: the function and its options.
        stored: there is a journal: closing waits for emits by other means than their events.
        on_first: called with the lane as it takes its first event; for ``once``.

    Attributes:
        is_async: the function is seen to be async before it is called.
        plain_call: awaits the function; ``None`` with observers, a limit, ``once`` or a journal.
            Where nothing else wants an event, ``emit`` counts it and makes this call itself.
        subscriber: the function and its options.
    """

    __slots__ = ("_function", "_limit", "_on_first", "is_async", "plain_call", "subscriber")

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
        *,
        stored: bool = False,
        on_first: Callable[[InlineLane], None] | None = None,
    ) -> None:
        super().__init__(runtime, sys.maxsize, "wait")
        self.subscriber: Subscriber = subscriber
        self._function: Callable[[Event], Any] = subscriber.function
        self.is_async: bool = is_async(subscriber.function)
        self._limit = to_seconds("timeout", subscriber.timeout, none=True)
        self._on_first = on_first
        notifier = runtime.notifier
        more_to_do = (
            stored
            or subscriber.once
            or subscriber.timeout is not None
            or notifier.subscriber_began
            or notifier.subscriber_ended
            or notifier.emitting
            or notifier.emitted
        )
        self.plain_call: Callable[[Event], Awaitable[object]] | None = (
            None if more_to_do else to_async(subscriber.function)
        )

    def __str__(self) -> str:
        return f"inline subscriber {self.target!r}"

    @property
    def target(self) -> str:
        return self.subscriber.name

    # Calls

    def begin(self, event: Event) -> bool:
        """Count an event as taken, for it is called next; false where ``once`` has had its one."""
        if self.subscriber.once:
            if self._on_first is None:
                return False
            on_first, self._on_first = self._on_first, None
            on_first(self)
        self.enqueue(event)
        notifier = self.runtime.notifier
        if notifier.subscriber_began:
            notifier.notify(notifier.subscriber_began, self.target, event)
        return True

    async def call(self, event: Event) -> None:
        """Call the function, await what it returns, and count the result.

        Raises:
            SubscriberTimeoutError: it has taken longer than its limit.
            BaseException: the function's, as it is; or a cancellation.
        """
        try:
            result = self._function(event)
            if self.is_async or (result is not None and isawaitable(result)):
                if self._limit == float("inf"):
                    await result
                else:
                    await self._within_limit(result)
        except BaseException as error:
            self.broken_off(event, error)
            raise
        self._succeeded(event)

    def call_nowait(self, event: Event) -> None:
        """Call the function and count the result.

        Raises:
            SubscriberWaitError: it returns what would have to be awaited.
            BaseException: the function's, as it is.
        """
        try:
            result = self._function(event)
            if result is not None and isawaitable(result):
                if hasattr(result, "close"):  # a coroutine, which would warn
                    result.close()
                raise SubscriberWaitError(self.target)
        except BaseException as error:
            self.broken_off(event, error)
            raise
        self._succeeded(event)

    def broken_off(self, event: Event, error: BaseException) -> None:
        """Count and report a call that has raised, or was cancelled with its ``emit``."""
        notifier = self.runtime.notifier
        if notifier.subscriber_ended:
            notifier.notify(notifier.subscriber_ended, self.target, event, error)
        if self.pending:  # 0: given up at closing
            self.failed += 1
            self.settle_one()
        if notifier.inline_failed and not _cancels(error):
            notifier.notify(notifier.inline_failed, self.target, event, error)

    def _succeeded(self, event: Event) -> None:
        notifier = self.runtime.notifier
        if notifier.subscriber_ended:
            notifier.notify(notifier.subscriber_ended, self.target, event, None)
        if self.pending:
            self.delivered += 1
            self.settle_one()

    async def _within_limit(self, result: Awaitable[object]) -> None:
        limit = asyncio.timeout(self._limit)
        try:
            async with limit:
                await result
        except TimeoutError as error:
            if not limit.expired():  # the function's own
                raise
            raise SubscriberTimeoutError(self.target, self._limit) from error

    # Lane

    def enqueue(self, item: Event) -> None:
        self.pending += 1
        self.runtime.outstanding += 1

    def drop_oldest(self, item: Event) -> None:
        """Do nothing: no event waits here."""

    def record_loss(self, item: Event, reason: Reason, *, rejected: bool = False) -> None:
        """Do nothing: no event is dropped here."""

    def suspend(self) -> None:
        """Do nothing: the emits that call the function begin no further one."""

    def discard(self) -> int:
        left = self.pending
        self.failed += left
        self.pending = 0
        self.runtime.settled(left)
        return left

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """Return nothing: the function runs in the tasks of those who emit."""
        return ()

    def cancel_timers(self) -> None:
        """Do nothing: this lane has no timers."""

    def stats(self) -> TargetStats:
        self.accepted = self.delivered + self.failed + self.dropped + self.pending
        return TargetStats(
            name=self.target,
            kind="subscriber",
            accepted=self.accepted,
            delivered=self.delivered,
            failed=self.failed,
            retried=0,
            dropped=self.dropped,
            pending=self.pending,
            in_flight=self.pending,
            breaker=None,
            enabled=True,
        )


def _cancels(error: BaseException) -> bool:
    """Return whether an error is the emit's cancellation, and not the function's own."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and bool(task.cancelling())
    return isinstance(error, GeneratorExit)
