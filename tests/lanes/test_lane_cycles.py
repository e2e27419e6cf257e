"""A subscriber that would wait for itself is told so at once; whoever can be served waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Literal

import pytest
from support import turns, until

from relaybox_hooks import Event, Hooks, LaneFullError

Name = Literal["a", "b", "c"]
NAMES: tuple[Name, ...] = ("a", "b", "c")
Bus = Hooks[Name]


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Bus]:
    defaults: dict[str, Any] = {"queue_size": 1, "close_timeout": 0, "logging": False}
    async with (
        asyncio.timeout(20),
        Hooks[Name](custom_events=NAMES, **(defaults | options)) as hooks,
    ):
        yield hooks


class Link:
    """A subscriber to one event that emits another once it is told to."""

    def __init__(self, hooks: Bus, listens: Name, emits: Name | None) -> None:
        self.hooks = hooks
        self.emits = emits
        self.go = asyncio.Event()
        self.busy = asyncio.Event()
        self.handled = 0
        self.errors: list[LaneFullError] = []
        hooks.add_subscriber(listens, self.handle, name=listens)

    async def handle(self, event: Event) -> None:
        self.busy.set()
        await self.go.wait()
        if self.emits is not None and event.data is None:
            try:
                await self.hooks.emit(self.emits, "passed on")
            except LaneFullError as error:
                self.errors.append(error)
        self.handled += 1


async def test_a_full_lane_of_its_own() -> None:
    async with opened() as hooks:
        link = Link(hooks, "a", emits="a")
        await hooks.emit("a")
        await link.busy.wait()
        link.go.set()
        await hooks.join()
        [error] = link.errors
        assert (error.target, error.limit) == ("a", 1)
        assert "subscriber 'a' would wait for itself" in str(error)
        assert hooks.stats().accepted == 1


@pytest.mark.parametrize("size", [2, 3])
async def test_a_cycle_of_full_lanes(size: int) -> None:
    """All but one wait in a chain; the one that would close the circle is told so."""
    async with opened() as hooks:
        names = NAMES[:size]
        links = [
            Link(hooks, name, emits=names[(number + 1) % size]) for number, name in enumerate(names)
        ]
        for name in names:
            await hooks.emit(name)
        for link in links:
            await link.busy.wait()
        for link in links:
            link.go.set()
            await turns()
        await hooks.join()
        assert [len(link.errors) for link in links] == [0] * (size - 1) + [1]
        assert "subscriber" in str(links[-1].errors[0])
        # Each took its own event, and all but the first that of its neighbour.
        assert [link.handled for link in links] == [1] + [2] * (size - 1)
        assert hooks.stats().delivered == hooks.stats().accepted == 2 * size - 1


async def test_a_cycle_through_threads() -> None:
    """``in_thread`` subscribers emit through ``emit_from_thread``, and the circle still shows."""
    errors: list[LaneFullError] = []
    async with opened() as hooks:

        def passing_on(emits: Name) -> Callable[[Event], None]:
            def handle(event: Event) -> None:
                if event.data is None:
                    try:
                        hooks.emit_from_thread(emits, "passed on")
                    except LaneFullError as error:
                        errors.append(error)

            return handle

        hooks.add_subscriber("a", passing_on("b"), name="a", in_thread=True)
        hooks.add_subscriber("b", passing_on("a"), name="b", in_thread=True)
        await hooks.emit("a")
        await hooks.emit("b")
        await hooks.join()
        assert len(errors) == 1
        assert hooks.stats().delivered == hooks.stats().accepted == 3


async def test_a_full_lane_of_its_own_through_a_thread() -> None:
    errors: list[LaneFullError] = []
    async with opened() as hooks:

        def handle(event: Event) -> None:
            with pytest.raises(LaneFullError) as caught:
                hooks.emit_from_thread("a")
            errors.append(caught.value)

        hooks.add_subscriber("a", handle, in_thread=True)
        await hooks.emit("a")
        await hooks.join()
        assert len(errors) == 1


async def test_a_chain_waits() -> None:
    """The last of the chain can go on by itself, so nobody is refused."""
    async with opened() as hooks:
        links = [Link(hooks, "a", "b"), Link(hooks, "b", "c"), Link(hooks, "c", None)]
        for name in NAMES:
            await hooks.emit(name)
        for link in links:
            await link.busy.wait()
        for link in links:
            link.go.set()
            await turns()
        await hooks.join()
        assert [link.errors for link in links] == [[], [], []]
        assert [link.handled for link in links] == [1, 2, 2]


async def test_an_ended_wait_closes_no_circle() -> None:
    """``a`` has been given its room in ``b`` and only not gone on yet when ``b`` emits to ``a``."""
    async with opened() as hooks:
        a = Link(hooks, "a", emits="b")
        waits: list[bool] = []
        freed = asyncio.Event()

        async def b(event: Event) -> None:
            if event.data is None:
                await freed.wait()
            else:
                waits.append(True)
                # No pause since the event before: the emit of `a` has not been resumed.
                await hooks.emit("a", "back")
                waits.append(False)

        hooks.add_subscriber("b", b)
        await hooks.emit("a")
        await hooks.emit("b")
        await a.busy.wait()
        a.go.set()
        await turns()  # `a` waits for room in `b` now
        freed.set()
        await hooks.join()
        assert waits == [True, False]
        assert a.errors == []
        assert hooks.stats().failed == 0


async def test_someone_else_may_wait_for_a_lane_that_waits() -> None:
    async with opened() as hooks:
        a, b = Link(hooks, "a", emits="b"), Link(hooks, "b", None)
        await hooks.emit("a")
        await hooks.emit("b")
        await a.busy.wait()
        a.go.set()
        await turns()
        outsider = asyncio.create_task(hooks.emit("a", "from outside"))
        await turns()
        assert not outsider.done()
        b.go.set()
        assert (await outsider).accepted == 1
        await hooks.join()


async def test_a_task_with_a_context_of_its_own_may_wait_for_its_subscriber() -> None:
    """As the error advises: the subscriber does not wait for that task, so neither does it
    for itself. A task that inherits its context could be one that it waits for."""
    async with opened() as hooks:
        tasks: list[asyncio.Task[Any]] = []

        async def handle(event: Event) -> None:
            if event.data is None:
                with pytest.raises(LaneFullError, match="with a context of its own"):
                    await asyncio.create_task(hooks.emit("a", "inherited"))
                emission = hooks.emit("a", "apart")
                tasks.append(asyncio.create_task(emission, context=Context()))
                await turns()

        hooks.add_subscriber("a", handle)
        await hooks.emit("a")
        await until(lambda: bool(tasks))
        assert (await tasks[0]).accepted == 1
        await hooks.join()
        assert hooks.stats().failed == 0


async def test_closing_ends_every_wait() -> None:
    """Also that of a thread, which nothing can cancel."""
    errors: list[BaseException] = []
    async with opened() as hooks:
        stuck = asyncio.Event()

        async def never(event: Event) -> None:
            stuck.set()
            await asyncio.Event().wait()

        def in_thread(event: Event) -> None:
            receipt = hooks.emit_from_thread("a")
            errors.append(AssertionError(receipt)) if receipt.accepted else None

        hooks.add_subscriber("a", never)
        hooks.add_subscriber("b", in_thread, in_thread=True)
        await hooks.emit("a")
        await stuck.wait()
        await hooks.emit("b")
        waiting = asyncio.create_task(hooks.emit("a"))
        await turns()
        report = await hooks.aclose(timeout=0)
        assert (await waiting).dropped == 1
        assert report.ending == "timed out"
        stats = hooks.stats()
        assert stats.accepted == stats.delivered + stats.failed + stats.dropped
        assert stats.pending == 0
        assert not errors
