"""An event is handled until it succeeds once, and not again."""

from __future__ import annotations

import asyncio

import pytest

from relaybox_hooks import ConfigError, ReceivedEvent, Session
from relaybox_hooks.receive import HandledEvents


def event(event_id: str = "e-1", *, webhook_id: str = "crm") -> ReceivedEvent:
    return ReceivedEvent(
        event_id, "room:join", None, Session(), 0, webhook_id=webhook_id, duplicate=False,
        key_index=0,
    )  # fmt: skip


async def handle(handled: HandledEvents, event: ReceivedEvent) -> bool:
    """Whether the event was there to be handled, in a handler that succeeds."""
    async with handled.claim(event) as unhandled:
        await asyncio.sleep(0)  # as a handler that does something lets others run
    return unhandled


async def fail(handled: HandledEvents, event: ReceivedEvent) -> None:
    with pytest.raises(ZeroDivisionError):
        async with handled.claim(event):
            raise ZeroDivisionError


async def test_a_handled_event_is_not_handled_again() -> None:
    handled = HandledEvents()
    assert await handle(handled, event())
    assert not await handle(handled, event())
    assert not await handle(handled, event())
    assert await handle(handled, event("e-2"))


async def test_an_event_whose_handler_failed_is_handled_again() -> None:
    handled = HandledEvents()
    await fail(handled, event())
    await fail(handled, event())
    assert await handle(handled, event())
    assert not await handle(handled, event())


async def test_another_webhook_id_does_not_have_an_event_handled_twice() -> None:
    """The header is not signed: whoever is in between can change it on a retry."""
    handled = HandledEvents()
    assert await handle(handled, event())
    assert not await handle(handled, event(webhook_id="other"))


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_retry_waits_for_a_handler_still_at_work(succeeds: bool) -> None:
    """If it succeeds the retry has nothing to do; if not, the retry takes its place."""
    handled = HandledEvents()
    working, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with handled.claim(event()) as unhandled:
            assert unhandled
            working.set()
            await go_on.wait()
            assert succeeds

    first = asyncio.create_task(work())
    await working.wait()
    retries = [asyncio.create_task(handle(handled, event())) for _ in range(3)]
    assert await handle(handled, event("e-2")), "no other event is held up"
    assert not any(retry.done() for retry in retries)
    go_on.set()
    (failure,) = await asyncio.gather(first, return_exceptions=True)
    assert (failure is None) is succeeds
    assert sorted(await asyncio.gather(*retries)) == [False, False, not succeeds]


async def test_a_cancelled_handler_has_not_handled_its_event() -> None:
    handled = HandledEvents()
    working = asyncio.Event()

    async def work() -> None:
        async with handled.claim(event()):
            working.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await working.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await handle(handled, event())


async def test_it_remembers_so_many_events_and_no_more() -> None:
    """The one that was claimed longest ago is forgotten first; failures take no room."""
    handled = HandledEvents(memory=2)
    for event_id in ("a", "b", "a"):
        await handle(handled, event(event_id))
    await fail(handled, event("failed"))
    await handle(handled, event("c"))
    assert len(handled) == 2
    assert not await handle(handled, event("a"))
    assert await handle(handled, event("b"))


def test_a_memory_for_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory=0"):
        HandledEvents(memory=0)
