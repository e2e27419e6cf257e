"""The runtime: what is outstanding and who waits for it, the clock, and whose session it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import aiohttp
import pytest
from support import soon, turns
from support.manual_clock import ManualClock

from relaybox_hooks import HooksClosedError
from relaybox_hooks.observer import Notifier
from relaybox_hooks.transport.egress import EgressPolicy
from relaybox_hooks.transport.runtime import Runtime, State

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


def new_runtime(**options: Any) -> Runtime:
    return Runtime(Notifier(()), lambda: 0.0, **options)


@pytest.fixture
async def runtime() -> Runtime:
    """A runtime that was started."""
    runtime = new_runtime()
    runtime.start()
    return runtime


@pytest.fixture
async def hosts_session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


# Outstanding


async def test_it_is_at_rest_while_nothing_is_outstanding(runtime: Runtime) -> None:
    assert runtime.at_rest().done()
    assert runtime.joiners == []


async def test_joiners_are_done_as_soon_as_nothing_is_outstanding(runtime: Runtime) -> None:
    runtime.outstanding = 3
    joiners = [runtime.at_rest(), runtime.at_rest()]
    runtime.settled()
    runtime.settled()
    assert not any(joiner.done() for joiner in joiners)
    runtime.settled()
    assert all(joiner.done() for joiner in joiners)
    assert runtime.joiners == []


async def test_several_events_are_settled_at_once(runtime: Runtime) -> None:
    runtime.outstanding = 5
    joiner = runtime.at_rest()
    runtime.settled(4)
    assert (runtime.outstanding, joiner.done()) == (1, False)
    runtime.settled(1)
    assert (runtime.outstanding, joiner.done()) == (0, True)


async def test_a_joiner_that_was_cancelled_keeps_no_other_waiting(runtime: Runtime) -> None:
    runtime.outstanding = 1
    cancelled, waiting = runtime.at_rest(), runtime.at_rest()
    cancelled.cancel()
    runtime.settled()
    assert cancelled.cancelled()
    await soon(waiting)


async def test_a_joiner_is_not_undone_by_what_comes_later(runtime: Runtime) -> None:
    """It was at rest once; who needs more asks again."""
    runtime.outstanding = 1
    joiner = runtime.at_rest()
    runtime.settled()
    runtime.outstanding = 1
    assert joiner.done()
    assert not runtime.at_rest().done()


# The HTTP session


async def test_a_session_of_its_own_is_opened_and_closed(runtime: Runtime) -> None:
    assert not hasattr(runtime, "session")
    runtime.open_session(EgressPolicy.DEFAULT)
    assert not runtime.session.closed
    await runtime.close_session()
    assert runtime.session.closed


async def test_the_hosts_session_is_used_as_it_is_and_never_closed(
    hosts_session: aiohttp.ClientSession,
) -> None:
    runtime = new_runtime(session=hosts_session)
    runtime.start()
    runtime.open_session(EgressPolicy.DEFAULT)
    assert runtime.session is hosts_session
    await runtime.close_session()
    assert not hosts_session.closed


# The event loop, its clock and the context


def test_before_the_start_now_is_the_machines_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = new_runtime()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: 1234.5)
        assert runtime.now() == 1234.5


async def test_now_is_the_time_of_the_given_clock_before_and_after_the_start() -> None:
    clock = ManualClock()
    runtime = new_runtime(clock=clock)
    assert runtime.now() == clock.now
    runtime.start()
    clock.advance(5)
    assert runtime.clock is clock
    assert runtime.now() == clock.now


async def test_without_a_given_clock_it_goes_by_the_event_loops(runtime: Runtime) -> None:
    loop = asyncio.get_running_loop()
    assert runtime.loop is loop
    before = loop.time()
    assert before <= runtime.clock.monotonic() <= loop.time()
    fired: list[str] = []
    runtime.clock.call_at(before, lambda: fired.append("timer"))
    await turns()
    assert fired == ["timer"]


async def test_workers_begin_with_the_context_of_the_start() -> None:
    runtime = new_runtime()
    token = VARIABLE.set("at the start")
    runtime.start()
    VARIABLE.reset(token)
    assert VARIABLE.get() == "unset"
    assert runtime.context[VARIABLE] == "at the start"
    runtime.context.run(VARIABLE.set, "of a worker")
    assert VARIABLE.get() == "unset"


# Closed


@pytest.mark.parametrize("state", ["new", "open"])
def test_before_closing_nothing_is_raised(state: State) -> None:
    runtime = new_runtime()
    runtime.state = state
    runtime.check_not_closed()


@pytest.mark.parametrize("state", ["closing", "closed"])
def test_once_closing_has_begun_the_error_has_the_state(state: State) -> None:
    runtime = new_runtime()
    runtime.state = state
    with pytest.raises(HooksClosedError) as caught:
        runtime.check_not_closed()
    assert caught.value.state == state


def test_a_new_runtime_is_new() -> None:
    runtime = new_runtime()
    assert (runtime.state, runtime.outstanding, runtime.joiners) == ("new", 0, [])
