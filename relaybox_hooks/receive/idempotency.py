"""Handling each event once, although a request may fail after it was verified."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relaybox_hooks.receive.verifier import ReceivedEvent
from relaybox_hooks.validation import check_int


class HandledEvents:
    """Remembers the last ``memory`` events that were handled to the end.

    An event counts as handled once the ``async with`` block that :meth:`claim` opened has ended
    without an exception. So when a handler fails, the sender's retry is handled in its place,
    which :attr:`ReceivedEvent.duplicate` cannot tell: it is set for a retry whose first attempt
    failed, too. ::

        handled = HandledEvents()

        async with handled.claim(event) as unhandled:
            if unhandled:
                await book(event)

    Events are told by their id alone, since the webhook's is not signed: use one object for
    each thing that is to be done once. It belongs to one event loop, and its memory to this
    process. What must not happen twice though the process may crash needs a store that keeps
    the event's id in the same transaction as the effect.

    Args:
        memory: event ids to remember, about 0.2 KB each. They must outlast the sender's retries.

    Raises:
        ConfigError: ``memory`` is less than 1.
    """

    __slots__ = ("_handled", "_memory", "_running")

    def __init__(self, *, memory: int = 10_000) -> None:
        self._memory = check_int("memory", memory)
        # Ids; the one that was claimed last comes last.
        self._handled: OrderedDict[str, None] = OrderedDict()
        # Ids that are claimed, each with what tells that the claim has ended.
        self._running: dict[str, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._handled)

    @asynccontextmanager
    async def claim(self, event: ReceivedEvent) -> AsyncIterator[bool]:
        """Yield whether the event is still to be handled, and keep others from it meanwhile.

        A retry that arrives while the event is being handled (the sender ran out of patience)
        waits for the outcome.
        """
        while event.id in self._running:
            await self._running[event.id].wait()
        if event.id in self._handled:
            self._handled.move_to_end(event.id)
            yield False
            return
        ended = self._running[event.id] = asyncio.Event()
        try:
            yield True
            self._handled[event.id] = None
            if len(self._handled) > self._memory:
                self._handled.popitem(last=False)
        finally:
            del self._running[event.id]
            ended.set()
