"""Idempotent handling: each event once, even if a handler fails after verification."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relaybox_hooks.receive.verifier import ReceivedEvent
from relaybox_hooks.validation import check_int


class HandledEvents:
    """Bounded memory of the last ``memory`` events that were handled successfully.

    An event counts as handled when the ``async with`` block of :meth:`claim` has ended without
    an exception. If a handler fails, the sender's retry is handled instead.
    :attr:`ReceivedEvent.duplicate` cannot distinguish this case: it is also set for a retry
    whose first request failed. ::

        handled = HandledEvents()

        async with handled.claim(event) as unhandled:
            if unhandled:
                await book(event)

    The event id alone identifies an event, since the webhook id is not signed: use one object
    per effect that must happen once. An object belongs to one event loop and its memory is
    lost with the process. An effect that must not happen twice even after a crash needs a
    store that commits the event id in the same transaction.

    Args:
        memory: number of event ids to store, about 0.2 KB each; enough to cover the time in
            which the sender retries.

    Raises:
        ConfigError: ``memory`` is less than 1.
    """

    __slots__ = ("_handled", "_memory", "_running")

    def __init__(self, *, memory: int = 10_000) -> None:
        self._memory = check_int("memory", memory)
        # Event ids, the most recently claimed last.
        self._handled: OrderedDict[str, None] = OrderedDict()
        # Claimed event ids, each with the asyncio.Event that is set when the claim ends.
        self._running: dict[str, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._handled)

    @asynccontextmanager
    async def claim(self, event: ReceivedEvent) -> AsyncIterator[bool]:
        """Yield True if the event has not been handled yet; hold an exclusive claim until exit.

        A retry that arrives while the event is being handled (the sender timed out) waits for
        the result.
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
