"""HTTP receiver for tests that injects faults and records every request.

It uses no thread and no global state, only callbacks of the running loop, so it can share the
loop of a test or run in a thread or process with its own loop. From other threads, use that
loop's ``call_soon_threadsafe``. Requires a loop with ``add_reader``, as on every POSIX system.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ssl import SSLContext
from typing import Self

from relaybox_hooks.errors import ConfigError, RelayboxHooksError
from relaybox_hooks.testing.listener import Listener
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.script import FaultScript, Script
from relaybox_hooks.testing.traffic import Acceptance, Traffic
from relaybox_hooks.validation import check_int


class FaultReceiver:
    """HTTP/1.1 server that responds to each request with the fault that its script chooses.

    ::

        async with FaultReceiver([Answer(503), ResetAfterRead()]) as receiver:
            ...  # send to receiver.url: 503, then RST, then 200
            await receiver.wait_for(3)

    ``accepted`` holds responses that were *written* as 2xx. The client has seen them too,
    unless it timed out at the same time: then the events that the client counts as delivered
    are a subset of ``first_successes()``. (Not so for a client that judges by the status line
    alone and meets an :class:`EndlessBody` or a :class:`CloseMidResponse`, nor for one that takes
    the responses of an :class:`AnswerUnread` or of :class:`SurplusResponses` for its requests'.)

    Args:
        script: see :meth:`FaultScript.of`. Its exceptions are raised by the next wait or by
            ``aclose()``.
        seed: shorthand for ``script=FaultScript.random(seed)``.
        port: port to listen on; 0 selects a free one, which a later ``start()`` reuses.
        host: IPv4 or IPv6 address to listen on.
        ssl: context of a TLS server, with its certificate; ``None`` for plain HTTP.
        receive_buffer: ``SO_RCVBUF`` of the listening socket and thus of every connection, bytes,
            from the handshake on. Makes it small what a client can send to a connection that is
            not read; the operating system has a minimum of its own. ``None`` for its default.

    Attributes:
        requests: requests that were read completely, in order of arrival.
        accepted: requests that got a complete 2xx response, in order of the responses,
            repetitions included.

    Raises:
        ConfigError: both a script and a seed are given, or ``receive_buffer`` is not a number of
            bytes.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        seed: int | str | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        ssl: SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        if script is not None and seed is not None:
            raise ConfigError("seed", seed, "give a script or a seed, not both")
        self._traffic = Traffic(
            FaultScript.of(script) if seed is None else FaultScript.random(seed)
        )
        if receive_buffer is not None:
            check_int("receive_buffer", receive_buffer)
        self._port = port
        self._host = host
        self._ssl = ssl
        self._receive_buffer = receive_buffer
        self.requests: list[ReceivedRequest] = self._traffic.requests
        self.accepted: list[Acceptance] = self._traffic.accepted
        self._listener: Listener | None = None

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
        self._listener = Listener(
            self._traffic,
            self._host,
            self._port,
            ssl=self._ssl,
            receive_buffer=self._receive_buffer,
        )
        self._port = self._listener.port

    async def aclose(self) -> None:
        """Reject new connections and abort the open ones, responses under way included.

        Raises:
            Exception: an exception of the script that no wait has raised yet.
        """
        listener, self._listener = self._listener, None
        if listener is None:
            return
        await listener.aclose()
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
        """Return ``http://HOST:PORT/``, with ``https`` if it serves TLS."""
        return self.url_for("/")

    def url_for(self, path: str) -> str:
        """Return the URL of ``path``, which starts with a slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        scheme = "http" if self._ssl is None else "https"
        return f"{scheme}://{host}:{self._port}{path}"

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
        """Return the number of requests of which at least one byte was read."""
        return self._traffic.attempts

    @property
    def responses(self) -> int:
        """Return the number of complete responses, unrequested ones included."""
        return self._traffic.responses

    @property
    def connections(self) -> int:
        """Return the number of connections accepted so far."""
        return self._traffic.connections

    @property
    def connected(self) -> int:
        """Return the number of connections that are open now."""
        return len(self._traffic.open)

    def bytes_read(self, connection: int) -> int:
        """Return the number of bytes that were read of a connection's requests.

        With TLS these are the decrypted ones; a handshake does not count.

        Args:
            connection: number of the connection, from 1.
        """
        return self._traffic.bytes_read[connection]

    def successes(self) -> Counter[Acceptance]:
        """Count the complete 2xx responses by event; above 1 for an event that was resent."""
        return Counter(self.accepted)

    def first_successes(self) -> list[Acceptance]:
        """Return ``accepted`` without repetitions: the order of first successes."""
        return list(dict.fromkeys(self.accepted))
