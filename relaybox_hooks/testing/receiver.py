"""A webhook endpoint for tests that misbehaves on purpose and keeps the accounts.

No thread and no global state: callbacks of the running loop, so it can share the loop of the
test or live in a thread or process with a loop of its own. Other threads reach it through that
loop's ``call_soon_threadsafe``. Needs a loop with ``add_reader``, as every POSIX loop has it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from relaybox_hooks.errors import ConfigError, RelayboxHooksError
from relaybox_hooks.testing.connection import Connection
from relaybox_hooks.testing.faults import Fault
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.script import FaultScript, Script

_BACKLOG: Final = 4096  # a full accept queue costs a client a second per dropped SYN


class Acceptance(NamedTuple):
    """A request that got a complete 2xx."""

    path: str
    webhook_id: str | None
    event_id: str | None


class FaultReceiver:
    """An HTTP/1.1 server that answers each request as its script says.

    ::

        async with FaultReceiver([Answer(503), ResetAfterRead()]) as receiver:
            ...  # send to receiver.url: 503, then RST, then 200
            await receiver.wait_for(3)

    ``accepted`` holds what was *written* as 2xx. The client saw it too, unless it gave up in
    the same moment: where answers race the client's time-out, what the client counts as
    delivered can be fewer events than ``first_successes()``, never others. (Unless it judges by
    the status line alone and meets an :class:`EndlessBody` or a :class:`CloseMidResponse`.)

    Args:
        script: see :meth:`FaultScript.of`. What it raises is raised by a wait or ``aclose()``.
        seed: short for ``script=FaultScript.random(seed)``.
        port: 0 lets the system choose one, which a later ``start()`` takes again.
        host: the address to listen on, IPv4 or IPv6.

    Attributes:
        requests: every request read whole, in the order of full arrival.
        accepted: every request that got a complete 2xx, in that order, repeats included.
        attempts: requests of which at least a byte came, those never read whole included.
        connections: connections accepted so far.
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
        self._script = FaultScript.of(script) if seed is None else FaultScript.random(seed)
        self._port = port
        self._host = host
        self.requests: list[ReceivedRequest] = []
        self.accepted: list[Acceptance] = []
        self.attempts: int = 0
        self.connections: int = 0
        self._listener: socket.socket | None = None
        self._accepting: set[asyncio.Task[object]] = set()
        self._open: set[Connection] = set()
        self._held: dict[Connection, Fault] = {}
        self._holding = False
        self._waits: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._script_error: Exception | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen; after ``aclose()`` at the same port again, with the records kept."""
        if self._listener is not None:
            raise RelayboxHooksError("the receiver was started already")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server(
            (self._host, self._port), family=family, backlog=_BACKLOG
        )
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    async def aclose(self) -> None:
        """Refuse new connections and cut the open ones, whatever they are in the middle of.

        Raises:
            Exception: the one that the script raised, if it did.
        """
        listener, self._listener = self._listener, None
        if listener is None:
            return
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        await asyncio.gather(*self._accepting)
        for connection in list(self._open):
            connection.transport.abort()
        self._fail_waits(RelayboxHooksError("the receiver closed: nothing more will come"))
        if self._open:
            await self._wait(lambda: not self._open)
        self._raise_script_error()

    @property
    def url(self) -> str:
        """``http://HOST:PORT/``."""
        return self.url_for("/")

    def url_for(self, path: str) -> str:
        """The URL of ``path``, which begins with a slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{path}"

    async def wait_for(self, count: int) -> list[ReceivedRequest]:
        """Wait until ``count`` requests in all were read whole; return the first ``count``."""
        await self.wait_until(lambda: len(self.requests) >= count)
        return self.requests[:count]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` holds, asked whenever the receiver's state changes.

        ::

            await receiver.wait_until(lambda: len(receiver.accepted) == 100)
        """
        self._raise_script_error()
        if not condition():
            await self._wait(condition)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waits[waiter] = condition
        try:
            await waiter
        finally:
            del self._waits[waiter]

    def hold(self) -> None:
        """Keep every request read from now on waiting for its fault, until ``release()``."""
        self._holding = True

    def release(self, count: int | None = None) -> None:
        """Let held requests meet their faults, first come first served.

        Args:
            count: how many; ``None`` releases all and ends ``hold()``.
        """
        if count is None:
            self._holding = False
        for connection in list(self._held)[:count]:
            connection.play(self._held.pop(connection))

    @property
    def held(self) -> list[ReceivedRequest]:
        """The requests held now, in the order they came; not those whose client left."""
        return [connection.request for connection in self._held]

    @property
    def connected(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    def successes(self) -> Counter[Acceptance]:
        """How many complete 2xx each event got: more than one where it was sent again."""
        return Counter(self.accepted)

    def first_successes(self) -> list[Acceptance]:
        """``accepted`` without the repeats: the order in which events first got through."""
        return list(dict.fromkeys(self.accepted))

    def _changed(self) -> None:
        for waiter, condition in self._waits.items():
            try:
                if not waiter.done() and condition():
                    waiter.set_result(None)
            except Exception as error:
                waiter.set_exception(error)

    def _fail_waits(self, error: Exception) -> bool:
        """End every wait that did not end yet; returns whether there was one."""
        waiting = [waiter for waiter in self._waits if not waiter.done()]
        for waiter in waiting:
            waiter.set_exception(error)
        return bool(waiting)

    def _accept(self, listener: socket.socket) -> None:
        """As asyncio's own server does; but that one leaks what it accepts while it closes."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):  # the loop asks again if need be
                return
            sock.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(lambda: Connection(self), sock))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    def _opened(self, connection: Connection) -> None:
        self.connections += 1
        connection.number = self.connections
        self._open.add(connection)

    def _began(self, connection: Connection) -> Fault | None:
        self.attempts += 1
        self._changed()
        return self._script.begin(connection.number, connection.turn)

    def _received(self, connection: Connection, request: ReceivedRequest) -> None:
        self.requests.append(request)
        self._changed()
        fault = self._script.choose(request)
        object.__setattr__(request, "fault", fault)
        if self._holding:
            connection.hold(fault)
        else:
            fault.play(connection)

    def _keep(self, connection: Connection, fault: Fault) -> None:
        self._held[connection] = fault
        self._changed()

    def _answered(self, request: ReceivedRequest, status: int) -> None:
        object.__setattr__(request, "answered_status", status)
        if 200 <= status < 300:
            self.accepted.append(Acceptance(request.path, request.webhook_id, request.event_id))
        self._changed()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._held.pop(connection, None)
        self._changed()

    def _raise_script_error(self) -> None:
        error, self._script_error = self._script_error, None
        if error is not None:
            raise error

    def _script_failed(self, error: Exception) -> None:
        """Whoever waits is told, else whoever waits or closes next: once, by raising."""
        if not self._fail_waits(error):
            self._script_error = error
