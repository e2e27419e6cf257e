"""One attempt of a delivery: sign, send, read, outcome. Nothing else makes a request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from aiohttp import (
    ClientConnectorError,
    ClientOSError,
    ClientResponse,
    ClientResponseError,
    InvalidURL,
    ServerDisconnectedError,
    hdrs,
)
from yarl import URL

from relaybox_hooks.outcome import DELIVERED, FAILED, RETRY, Outcome, of_status
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport import plain_post
from relaybox_hooks.transport.egress import blocked_by
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.exchange import PIECE, Exchange
from relaybox_hooks.transport.fresh_headers import FreshHeaders
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.wire.envelope import Envelope

#: End of an error's own words: what follows quotes bytes of the response, or is another line.
_QUOTATION: Final = re.compile(r":?\s*\bb['\"]|\n")

#: Seconds: the resolution of a timestamp.
_TICK: Final = 0.001

#: Seconds for which most servers keep a connection that idles; many for 5.
_PATIENCE: Final = 4.0

#: Characters kept of an error's message; an endpoint has a hand in it.
_MAX_DETAIL: Final = 200

#: Outcome of an attempt that its deadline ended.
TIMED_OUT: Final = Outcome(RETRY, error="TimeoutError", detail="no response in time")

#: Outcome of an attempt that closing cut short; the endpoint may have seen the request.
INTERRUPTED: Final = Outcome(RETRY, error="CancelledError", detail="closing ended the attempt")


class Attempter:
    """Makes attempts, one at a time, in the task that it was made in.

    Attributes:
        task: the task that it makes them in.
        began: when the latest attempt began, monotonic.
        deadline: when it must end, monotonic.
        outcome: its outcome, as soon as there is one: the status decides, and reading the rest of
            the response changes nothing.
        timed_out: whether it took as long as it may, whatever its outcome: its deadline ended it,
            or the time-out of its connection.
    """

    __slots__ = (
        *("_cancelling", "_earliest", "_overdue", "_runtime", "began", "deadline", "outcome"),
        *("task", "timed_out"),
    )

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.task: asyncio.Task[Any] = cast("asyncio.Task[Any]", asyncio.current_task())
        self._overdue = False
        self._cancelling = 0
        #: What the next request may be stamped with at the earliest.
        self._earliest = 0.0
        self.began: float = 0.0
        self.deadline: float = 0.0
        self.outcome: Outcome | None = None
        self.timed_out: bool = False

    async def attempt(
        self, endpoint: Endpoint, webhook: Webhook, envelope: Envelope, number: int
    ) -> Outcome:
        """Send ``envelope``, stamped and signed at this moment, and read the response.

        The only way to end it early is to cancel the task.

        Args:
            endpoint: of the webhook.
            webhook: as observers see it.
            envelope: the encoded event.
            number: 1 for the first attempt.

        Raises:
            asyncio.CancelledError: the task was cancelled; ``outcome`` is set where the status
                was known by then.
        """
        runtime = self._runtime
        clock, notifier, deadlines = runtime.clock, runtime.notifier, runtime.deadlines
        self.outcome = None
        self.timed_out = False
        # A replay may run in a task that is being cancelled, and cleans up.
        self._cancelling = self.task.cancelling()
        extra = notifier.headers(webhook, envelope, number) if notifier.attempting else None
        self.began = clock.monotonic()
        self.deadline = self.began + endpoint.timeout
        deadlines.running.add(self)
        if self.deadline < deadlines.earliest:
            deadlines.set_timer(self.deadline)
        try:
            try:
                self._earliest = 0.0
                if endpoint.fresh is not None:
                    await self._send_fresh(endpoint, endpoint.fresh, envelope, extra)
                elif runtime.budget is not None:
                    await self._exchange(endpoint, envelope, extra)
                else:
                    await self._post(endpoint, envelope, extra)
            except Exception as error:
                self.outcome = of_error(error, endpoint.url)
                self.timed_out = isinstance(error, TimeoutError)
                await asyncio.sleep(0)  # an address is refused without a pause, for all alike
        except asyncio.CancelledError:
            if not self._overdue or self.task.uncancel() > self._cancelling:
                raise
            self.outcome = self.outcome or TIMED_OUT
            self.timed_out = True
        finally:
            deadlines.running.discard(self)
            self._overdue = False
        return cast("Outcome", self.outcome)

    async def _exchange(
        self, endpoint: Endpoint, envelope: Envelope, extra: Mapping[str, str] | None
    ) -> None:
        """Make the exchange, on a connection that idles or else a new one.

        One that idled may have been closed by its peer at this moment. Then the exchange is made
        once more, on a new one.
        """
        runtime, limit = self._runtime, endpoint.max_response
        connections = endpoint.connections or runtime.connections_to(endpoint)
        exchange = connections.take()
        stale = exchange is not None
        while True:
            if exchange is None:
                exchange = await connections.dial(runtime.session)
            try:
                request = endpoint.request(envelope, self._stamp(), extra)
                if len(request) <= PIECE:
                    await exchange.send(request, limit)
                else:
                    await exchange.send_in_pieces(request, limit)
                return
            except asyncio.CancelledError:
                exchange.abort()  # a success that came before the whole request was sent is none
                raise
            except (ServerDisconnectedError, ClientOSError) as error:
                if not (stale and _was_stale(exchange, error, runtime.clock.monotonic())):
                    raise
            finally:
                if exchange.status:
                    self.outcome = of_exchange(exchange, endpoint, runtime.clock.time)
                connections.put_back(exchange)
            exchange, stale = None, False

    async def _post(
        self, endpoint: Endpoint, envelope: Envelope, extra: Mapping[str, str] | None
    ) -> None:
        """Make the request with the host's own session."""
        runtime = self._runtime
        headers, body = endpoint.headers_and_body(envelope, self._stamp(), extra)
        response = await plain_post.post(
            runtime.session, endpoint.url, headers, body, endpoint.connect_timeout, endpoint.ssl
        )
        self.outcome = of_response(response, endpoint, runtime.clock.time)
        await plain_post.drain(response, endpoint.max_response)

    async def _send_fresh(
        self,
        endpoint: Endpoint,
        fresh: FreshHeaders,
        envelope: Envelope,
        extra: Mapping[str, str] | None,
    ) -> None:
        """Send with headers that a function makes; once more with new ones after a 401."""
        for again in (True, False):
            headers = await fresh.get()
            taken = {name.lower() for name in headers}
            others = {name: value for name, value in (extra or {}).items() if name not in taken}
            if self._runtime.budget is not None:
                await self._exchange(endpoint, envelope, {**others, **headers})
            else:
                await self._post(endpoint, envelope, {**others, **headers})
            if self.outcome is None or self.outcome.status != 401:
                break
            fresh.refuse(headers)
            if again:
                self.outcome = None

    def _stamp(self) -> float:
        """Return the moment of a request, seconds since the Unix epoch.

        A second one of the same attempt is never stamped with the same millisecond: a receiver's
        replay protection would refuse it.
        """
        now = max(self._runtime.clock.time(), self._earliest)
        self._earliest = now + _TICK
        return now

    def time_out(self) -> None:
        """Cancel the attempt, because its deadline has passed."""
        if not self._overdue:
            self._overdue = True
            self.task.cancel()


def _was_stale(exchange: Exchange, error: Exception, now: float) -> bool:
    """Return whether a connection that had idled was closed for that, not for the request.

    Its peer closed it before the first byte of a response, or reset it after it had idled for
    longer than any server's shortest patience: a server that closes a connection on which a
    request has just arrived resets it, and so does one that fails while it works on a request.
    """
    if exchange.received:
        return False
    return isinstance(error, ServerDisconnectedError) or now - exchange.idle_since > _PATIENCE


def of_exchange(exchange: Exchange, endpoint: Endpoint, time: Callable[[], float]) -> Outcome:
    """Return the outcome of an exchange that was answered; ``time`` is the wall clock."""
    status, peer = exchange.status, exchange.peer
    if 200 <= status < 300:
        return _delivered(status, peer)
    return of_status(status, exchange.retry_after, endpoint.retry, time(), _shown(peer))


def of_response(response: ClientResponse, endpoint: Endpoint, time: Callable[[], float]) -> Outcome:
    """Return the outcome of a request that a host's session made; ``time`` is the wall clock."""
    if 200 <= response.status < 300:
        return _delivered(response.status, None)
    asked = response.headers.get(hdrs.RETRY_AFTER)
    return of_status(response.status, asked, endpoint.retry, time())


def of_error(error: Exception, url: URL) -> Outcome:
    """Return the outcome of an attempt to reach ``url`` that brought no response."""
    rule = blocked_by(error)
    if rule is not None:
        return Outcome(FAILED, error="EgressError", detail=rule)
    if isinstance(error, InvalidURL):
        return Outcome(FAILED, error=type(error).__name__, detail=_message(error, url))
    cause: Any = error.os_error if isinstance(error, ClientConnectorError) else error
    name = type(error).__name__
    if type(cause) is not type(error) and type(cause) is not OSError:
        name = f"{name}({type(cause).__name__})"
    return Outcome(RETRY, error=name, detail=_message(error, url))


@lru_cache(maxsize=256)
def _delivered(status: int, peername: tuple[Any, ...] | None) -> Outcome:
    """Return the outcome that nearly all attempts at an endpoint have, made once."""
    return Outcome(DELIVERED, status, peer=_shown(peername))


def _shown(peername: tuple[Any, ...] | None) -> str | None:
    """Return address and port as a URL has them."""
    if peername is None:
        return None
    address, port = peername[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _message(error: Exception, url: URL) -> str:
    """Return an error's message, fit for a log: one bounded line, without the URL's query.

    aiohttp names the whole URL in some errors, and in others quotes the response, which may
    echo the payload.
    """
    text = error.message if isinstance(error, ClientResponseError) else str(error)
    for query in (url.raw_query_string, url.query_string):
        if query:
            text = text.replace(f"?{query}", "?***")
    return _QUOTATION.split(text, maxsplit=1)[0][:_MAX_DETAIL]
