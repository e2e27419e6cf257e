"""HTTP receiver for tests that injects faults and records every request.

It uses no thread and no global state, only callbacks of the running loop, so it can share the
loop of a test or run in a thread or process with its own loop. From other threads, use that
loop's ``call_soon_threadsafe``. Requires a loop with ``add_reader``, as on every POSIX system.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final, Self

from relaybox_hooks.errors import ConfigError, RelayboxHooksError
from relaybox_hooks.testing.connection import Connection
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.script import FaultScript, Script
from relaybox_hooks.testing.traffic import Acceptance, Traffic

_BACKLOG: Final = 4096  # with a full accept queue a client waits 1 s per dropped SYN


class FaultReceiver:
    """HTTP/1.1 server that responds to each request with the fault that its script chooses.

    ::

        async with FaultReceiver([Answer(503), ResetAfterRead()]) as receiver:
            ...  # send to receiver.url: 503, then RST, then 200
            await receiver.wait_for(3)

    ``accepted`` holds responses that were *written* as 2xx. The client has seen them too,
    unless it timed out at the same time: then the events that the client counts as delivered
    are a subset of ``first_successes()``. (Not so for a client that judges by the status line
    alone and meets an :class:`EndlessBody` or a :class:`CloseMidResponse`.)

    Args:
        script: see :meth:`FaultScript.of`. Its exceptions are raised by the next wait or by
            ``aclose()``.
        seed: shorthand for ``script=FaultScript.random(seed)``.
        port: port to listen on; 0 selects a free one, which a later ``start()`` reuses.
        host: IPv4 or IPv6 address to listen on.

    Attributes:
        requests: requests that were read completely, in order of arrival.
        accepted: requests that got a complete 2xx response, in order of the responses,
            repetitions included.

    Raises:
        ConfigError: both a script and a seed are given.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        seed: int | str | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        if script is not None and seed is not None:
            raise ConfigError("seed", seed, "give a script or a seed, not both")
        self._traffic = Traffic(
            FaultScript.of(script) if seed is None else FaultScript.random(seed)
        )
        self._port = port
        self._host = host
        self.requests: list[ReceivedRequest] = self._traffic.requests
        self.accepted: list[Acceptance] = self._traffic.accepted
        self._listener: socket.socket | None = None
        self._accepting: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen. After ``aclose()`` it reuses the port and keeps its records.

        Raises:
            RelayboxHooksError: the receiver was started already.
        """
        if self._listener is not None:
            raise RelayboxHooksError("this FaultReceiver was started already; call aclose() first")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server(
            (self._host, self._port), family=family, backlog=_BACKLOG
        )
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    async def aclose(self) -> None:
        """Reject new connections and abort the open ones, responses under way included.

        Raises:
            Exception: an exception of the script that no wait has raised yet.
        """
        listener, self._listener = self._listener, None
        if listener is None:
            return
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        await asyncio.gather(*self._accepting)
        open_now = self._traffic.open
        for connection in list(open_now):
            connection.transport.abort()
        self._traffic.fail_waiters(
            RelayboxHooksError("the FaultReceiver was closed; no further requests will arrive")
        )
        if open_now:
            await self._traffic.wait(lambda: not open_now)
        self._traffic.raise_script_error()

    @property
    def url(self) -> str:
        """Return ``http://HOST:PORT/``."""
        return self.url_for("/")

    def url_for(self, path: str) -> str:
        """Return the URL of ``path``, which starts with a slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{path}"

    async def wait_for(self, count: int) -> list[ReceivedRequest]:
        """Wait until ``count`` requests in total were read; return the first ``count``."""
        await self.wait_until(lambda: len(self.requests) >= count)
        return self.requests[:count]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` is true; it is evaluated at each change of state.

        ::

            await receiver.wait_until(lambda: len(receiver.accepted) == 100)

        Raises:
            RelayboxHooksError: the receiver was closed.
            Exception: an exception of the script or of ``condition``.
        """
        self._traffic.raise_script_error()
        if not condition():
            await self._traffic.wait(condition)

    def hold(self) -> None:
        """Hold every request read from now on until :meth:`release`."""
        self._traffic.hold()

    def release(self, count: int | None = None) -> None:
        """Play the faults of held requests, in order of arrival.

        Args:
            count: number of requests to release; ``None`` releases all and ends ``hold()``.
        """
        self._traffic.release(count)

    @property
    def held(self) -> list[ReceivedRequest]:
        """Return the requests held now, in order of arrival; without disconnected clients."""
        return self._traffic.held

    @property
    def attempts(self) -> int:
        """Return the number of requests of which at least one byte arrived."""
        return self._traffic.attempts

    @property
    def connections(self) -> int:
        """Return the number of connections accepted so far."""
        return self._traffic.connections

    @property
    def connected(self) -> int:
        """Return the number of connections that are open now."""
        return len(self._traffic.open)

    def successes(self) -> Counter[Acceptance]:
        """Count the complete 2xx responses by event; above 1 for an event that was resent."""
        return Counter(self.accepted)

    def first_successes(self) -> list[Acceptance]:
        """Return ``accepted`` without repetitions: the order of first successes."""
        return list(dict.fromkeys(self.accepted))

    def _accept(self, listener: socket.socket) -> None:
        # Not asyncio.start_server(), which leaks connections that it accepts while closing.
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):  # the loop calls again if needed
                return
            sock.setblocking(False)
            task = loop.create_task(
                loop.connect_accepted_socket(lambda: Connection(self._traffic), sock)
            )
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)
