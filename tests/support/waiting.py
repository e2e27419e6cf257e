"""Waits that end with a state, never with a time that was guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: Seconds after which a wait is taken to be in vain, so that broken code fails and does not hang.
_IN_VAIN: Final = 20.0


async def soon(awaitable: Awaitable[T]) -> T:
    """Await what must come about by itself."""
    async with asyncio.timeout(_IN_VAIN):
        return await awaitable


async def turns(count: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until ``condition()`` holds."""
    async with asyncio.timeout(_IN_VAIN):
        while not condition():
            await asyncio.sleep(0)
