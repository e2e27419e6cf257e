"""Inline calls: the functions that an emit awaits before anything is handed out."""

from __future__ import annotations

import asyncio
import inspect
from types import CodeType
from typing import Any

from relaybox_hooks.dispatch.emission import Emission
from relaybox_hooks.errors import HooksClosedError, SubscriberWaitError
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.transport.runtime import Runtime


class InlineCalls:
    """Calls the inline functions of emits, in order of registration.

    An emit counts as outstanding from its first inline function until the event was handed out,
    so that closing waits for it. What closing has given up goes no further.

    Args:
        runtime: shared with the lanes.
    """

    __slots__ = ("_joiners", "_runtime", "_suspended", "_underway")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._underway = 0
        self._suspended = False
        self._joiners: list[asyncio.Future[None]] = []

    def begin(self, emission: Emission) -> list[Lane[Any]]:
        """Count an emit as under way; return its lanes, for :meth:`finish`."""
        lanes = emission.lanes()
        for lane in lanes:
            lane.committing += 1
        self._underway += 1
        self._runtime.outstanding += 1
        return lanes

    def finish(self, lanes: list[Lane[Any]]) -> None:
        """Count an emit as under way no longer."""
        for lane in lanes:
            lane.committing -= 1
        self._runtime.settled()
        self._underway -= 1
        if not self._underway:
            joiners, self._joiners = self._joiners, []
            for joiner in joiners:
                if not joiner.done():
                    joiner.set_result(None)

    async def call(self, emission: Emission) -> None:
        """Call the functions, each after the one before has returned.

        Raises:
            HooksClosedError: closing has given up the emit meanwhile.
            BaseException: that of the first one that raises; the others are not called.
        """
        for lane, event in emission.inline:
            self._check_open()
            if lane.begin(event):
                emission.accepted += 1
                await lane.call(event)
        if emission.stored or emission.items:
            self._check_open()

    def call_nowait(self, emission: Emission) -> None:
        """Call the functions without awaiting any.

        Raises:
            SubscriberWaitError: one returns what would have to be awaited.
            BaseException: that of the first one that raises; the others are not called.
        """
        for lane, event in emission.inline:
            if lane.begin(event):
                emission.accepted += 1
                lane.call_nowait(event)

    def check_nowait(self, emission: Emission) -> None:
        """Raise SubscriberWaitError where a function is seen to be async."""
        for lane, _ in emission.inline:
            if lane.is_async:
                raise SubscriberWaitError(lane.target)

    def suspend(self) -> None:
        """Call no further function, and hand out none of the events under way: closing is over."""
        self._suspended = True

    async def wait_until_idle(self) -> None:
        """Wait until no emit is under way."""
        while self._underway:
            joiner = self._runtime.loop.create_future()
            self._joiners.append(joiner)
            await joiner

    def _check_open(self) -> None:
        if self._suspended:
            raise HooksClosedError(self._runtime.state)


def is_awaited_by(code: CodeType, owner: object) -> bool:
    """Return whether the current task is inside a method: it waits for what runs now.

    The stack is looked at, so that the calls of the method need not be kept track of.

    Args:
        code: the method's.
        owner: its ``self``.
    """
    task = asyncio.current_task()
    # An eager task begins on the stack of the one that has started it.
    outermost = getattr(task.get_coro(), "cr_frame", None) if task is not None else None
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is code and frame.f_locals.get("self") is owner:
            return True
        frame = None if frame is outermost else frame.f_back
    return False
