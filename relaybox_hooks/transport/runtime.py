"""The runtime that the parts of one ``Hooks`` share: event loop, clock, HTTP session."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelledError
from contextvars import Context, copy_context
from typing import Any, Literal, TypeAlias, TypeVar

from aiohttp import BaseConnector, ClientSession

from relaybox_hooks.clock import Clock, LoopClock
from relaybox_hooks.errors import HooksClosedError, RelayboxHooksError
from relaybox_hooks.observer import Notifier
from relaybox_hooks.transport.budget import KEEPALIVE, Budget, default_max_connections
from relaybox_hooks.transport.connections import Connections
from relaybox_hooks.transport.deadlines import Deadlines
from relaybox_hooks.transport.dialler import open_session
from relaybox_hooks.transport.egress import EgressPolicy, make_connector
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.profiles import Profiles
from relaybox_hooks.transport.starts import Starts

ResultT = TypeVar("ResultT")

#: Stages in the life of a ``Hooks``.
State: TypeAlias = Literal["new", "open", "closing", "closed"]


class Runtime:
    """Shared by all lanes, attempts and replays of one ``Hooks``; handed down at construction.

    ``loop``, ``context``, ``session`` and, unless it is given, ``clock`` are set by :meth:`start`.

    Args:
        notifier: calls the observers.
        random: draws from [0, 1), for jitter.
        clock: given by tests.
        session: the host's own, which makes the requests in its own way, or ``None``.
        connector: the host's own, which dials, or ``None``.
        max_connections: the most connections at a time; ``None`` for the default.
        keepalive: seconds for which a connection may idle.
        profiles: TLS and headers that webhooks share.

    Attributes:
        budget: of connections; ``None`` with the host's own session.
        clock: wall time, monotonic time and timers.
        context: the context variables that workers begin with.
        deadlines: of the attempts under way.
        joiners: futures to be done as soon as nothing is outstanding.
        loop: the event loop.
        notifier: calls the observers.
        outstanding: events that all lanes together have accepted and not settled.
        profiles: make the endpoints of webhooks.
        random: draws from [0, 1), for jitter.
        session: the HTTP session that dials for all requests, or makes them.
        starts: of the lanes' workers.
        state: ``"new"``, ``"open"``, ``"closing"`` or ``"closed"``.
    """

    __slots__ = (
        "_connector",
        "_own_clock",
        "_own_session",
        "budget",
        "clock",
        "context",
        "deadlines",
        "joiners",
        "loop",
        "notifier",
        "outstanding",
        "profiles",
        "random",
        "session",
        "starts",
        "state",
    )

    clock: Clock
    context: Context
    loop: asyncio.AbstractEventLoop
    session: ClientSession

    def __init__(
        self,
        notifier: Notifier,
        random: Callable[[], float],
        *,
        clock: Clock | None = None,
        session: ClientSession | None = None,
        connector: BaseConnector | None = None,
        max_connections: int | None = None,
        keepalive: float = KEEPALIVE,
        profiles: Profiles | None = None,
    ) -> None:
        self.notifier: Notifier = notifier
        self.random: Callable[[], float] = random
        self.deadlines: Deadlines = Deadlines(self)
        self.profiles: Profiles = profiles or Profiles()
        self.outstanding: int = 0
        self.state: State = "new"
        self.joiners: list[asyncio.Future[None]] = []
        self._own_clock = clock is None
        self._own_session = session is None
        self._connector = connector
        self.budget: Budget | None = None
        maximum = default_max_connections() if max_connections is None else max_connections
        if session is None:
            self.budget = Budget(self, maximum, keepalive)
        self.starts: Starts = Starts(maximum if session is None else sys.maxsize)
        if clock is not None:
            self.clock = clock
        if session is not None:
            self.session = session

    def start(self) -> None:
        """Take the running event loop, its clock and the current context."""
        self.loop = asyncio.get_running_loop()
        if self._own_clock:
            self.clock = LoopClock(self.loop)
        self.context = copy_context()

    def open_session(self, egress: EgressPolicy) -> None:
        """Open the HTTP session, unless the host gave its own."""
        if self._own_session:
            connector = self._connector or make_connector(egress)
            self.session = open_session(connector, owns_connector=self._connector is None)

    async def close_session(self) -> None:
        """Abort the connections that idle, and close the HTTP session unless it is the host's."""
        if self.budget is not None:
            self.budget.close()
        if self._own_session:
            await self.session.close()
            for _ in range(2):  # an aborted transport closes its socket in a later turn
                await asyncio.sleep(0)

    def connections_to(self, endpoint: Endpoint) -> Connections:
        """Return the connections to an endpoint, which had none until now."""
        assert self.budget is not None  # noqa: S101 - asked for by those who dial alone
        url, timeout = endpoint.url, endpoint.connect_timeout
        endpoint.connections = Connections(self.budget, url, timeout, endpoint.ssl)
        return endpoint.connections

    def now(self) -> float:
        """Return the wall time; before the start, when there may be no clock yet, the machine's."""
        return self.clock.time() if hasattr(self, "clock") else time.time()

    def check_not_closed(self) -> None:
        """Raise HooksClosedError once closing has begun."""
        if self.state in ("closing", "closed"):
            raise HooksClosedError(self.state)

    def run_from_thread(self, emit: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Run ``emit()`` in the event loop, from another thread, and wait for its result.

        Raises:
            HooksClosedError: the hooks are not open, or the loop ends meanwhile.
            RelayboxHooksError: called in the event loop's own thread.
        """
        if self.state != "open":
            raise HooksClosedError(self.state)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            raise RelayboxHooksError(
                "emit_from_thread would block the event loop it waits for; await emit(...) instead"
            )
        emission = emit()
        try:
            return asyncio.run_coroutine_threadsafe(emission, self.loop).result()
        except FutureCancelledError:  # the loop is being shut down, with or without aclose()
            raise HooksClosedError("closing" if self._is_open() else self.state) from None
        except RuntimeError as error:
            if not self.loop.is_closed():
                raise
            emission.close()
            raise HooksClosedError("closed") from error

    def _is_open(self) -> bool:
        return self.state == "open"

    def settled(self, events: int = 1) -> None:
        """Count accepted events as settled."""
        self.outstanding -= events
        if not self.outstanding and self.joiners:
            joiners, self.joiners = self.joiners, []
            for joiner in joiners:
                if not joiner.done():
                    joiner.set_result(None)

    def at_rest(self) -> asyncio.Future[None]:
        """Return a future that is done as soon as nothing is outstanding."""
        future: asyncio.Future[None] = self.loop.create_future()
        if self.outstanding:
            self.joiners.append(future)
        else:
            future.set_result(None)
        return future
