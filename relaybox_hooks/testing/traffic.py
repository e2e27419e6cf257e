"""State of a fault receiver: its connections, requests, held requests and waiters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from relaybox_hooks.testing.connection import Connection
from relaybox_hooks.testing.faults import Fault
from relaybox_hooks.testing.hangups import Hangups
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.script import FaultScript


class Acceptance(NamedTuple):
    """Request that got a complete 2xx response."""

    path: str
    webhook_id: str | None
    event_id: str | None


class Traffic:
    """Connections and requests of one receiver; plays the fault that the script chooses.

    Implements :class:`relaybox_hooks.testing.connection.ConnectionHandler`.

    Args:
        script: chooses the fault of each request.

    Attributes:
        requests: requests that were read completely, in order of arrival.
        accepted: requests that got a complete 2xx response, in order of the responses.
        responses: number of complete responses, those without a request included.
        attempts: number of requests of which at least one byte was read.
        bytes_read: number of bytes of requests that were read of each connection, by its number.
        connections: number of connections accepted so far.
        open: connections that are open now.
        hangups: watches connections that are not read.
    """

    def __init__(self, script: FaultScript) -> None:
        self._script = script
        self.requests: list[ReceivedRequest] = []
        self.accepted: list[Acceptance] = []
        self.responses: int = 0
        self.attempts: int = 0
        self.bytes_read: Counter[int] = Counter()
        self.connections: int = 0
        self.open: set[Connection] = set()
        self.hangups: Hangups = Hangups()
        self._held: dict[Connection, Fault] = {}
        self._holding = False
        self._waiters: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._script_error: Exception | None = None

    # Requests that are held

    @property
    def held(self) -> list[ReceivedRequest]:
        """Return the requests held now, in order of arrival."""
        return [connection.request for connection in self._held]

    def hold(self) -> None:
        """Hold every request read from now on until :meth:`release`."""
        self._holding = True

    def release(self, count: int | None = None) -> None:
        """Play the faults of the first ``count`` held requests; ``None`` ends :meth:`hold`."""
        if count is None:
            self._holding = False
        for connection in list(self._held)[:count]:
            connection.play(self._held.pop(connection))

    # Waiting for a state

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` is true; it is evaluated at each change of state."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = condition
        try:
            await waiter
        finally:
            del self._waiters[waiter]

    def fail_waiters(self, error: Exception) -> bool:
        """Raise ``error`` in every pending :meth:`wait`; return True if there was one."""
        pending = [waiter for waiter in self._waiters if not waiter.done()]
        for waiter in pending:
            waiter.set_exception(error)
        return bool(pending)

    def raise_script_error(self) -> None:
        """Raise an error of the script that no waiter got yet; later calls do not repeat it."""
        error, self._script_error = self._script_error, None
        if error is not None:
            raise error

    def _notify_waiters(self) -> None:
        for waiter, condition in self._waiters.items():
            try:
                if not waiter.done() and condition():
                    waiter.set_result(None)
            except Exception as error:
                waiter.set_exception(error)

    # Callbacks of connections

    def connection_accepted(self, connection: Connection) -> Fault | None:
        """Number a new connection; return a fault to play before anything of it is read."""
        self.connections += 1
        connection.number = self.connections
        return self._script.accept(connection.number)

    def connection_opened(self, connection: Connection) -> None:
        self.open.add(connection)
        self._notify_waiters()

    def connection_lost(self, connection: Connection) -> None:
        self.open.discard(connection)
        self._held.pop(connection, None)
        self._notify_waiters()

    def bytes_received(self, connection: Connection, size: int) -> None:
        self.bytes_read[connection.number] += size
        self._notify_waiters()

    def request_started(self, connection: Connection, *, scripted: bool) -> Fault | None:
        self.attempts += 1
        self._notify_waiters()
        return self._script.begin(connection.number, connection.position) if scripted else None

    def request_received(
        self, connection: Connection, request: ReceivedRequest, fault: Fault | None
    ) -> None:
        self.requests.append(request)
        self._notify_waiters()
        fault = fault or self._script.choose(request)
        object.__setattr__(request, "fault", fault)
        if self._holding:
            connection.hold(fault)
        else:
            fault.play(connection)

    def request_held(self, connection: Connection, fault: Fault) -> None:
        self._held[connection] = fault
        self._notify_waiters()

    def response_sent(self, request: ReceivedRequest | None, status: int, responses: int) -> None:
        self.responses += responses
        if request is not None:
            object.__setattr__(request, "answered_status", status)
            if 200 <= status < 300:
                self.accepted.append(Acceptance(request.path, request.webhook_id, request.event_id))
        self._notify_waiters()

    def script_failed(self, error: Exception) -> None:
        # Raised exactly once: in the pending waits, else in the next wait or in aclose().
        if not self.fail_waiters(error):
            self._script_error = error
