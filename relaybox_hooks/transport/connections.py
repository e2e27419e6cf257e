"""The connections to one webhook's endpoint: those that idle are used again, the last one first."""

from __future__ import annotations

from ssl import SSLContext

from aiohttp import ClientSession
from yarl import URL

from relaybox_hooks.transport.budget import Budget
from relaybox_hooks.transport.dialler import dial
from relaybox_hooks.transport.exchange import Exchange


class Connections:
    """A webhook's own pool. No other webhook's exchange is ever made on one of its connections.

    Args:
        budget: counts the connections of all webhooks.
        url: of the endpoint.
        timeout: seconds for the handshakes of a connection; ``None`` for no limit.
        ssl: how to speak TLS; ``None`` for the session's own way.
    """

    __slots__ = ("_budget", "_idle", "_ssl", "_timeout", "_url")

    def __init__(
        self, budget: Budget, url: URL, timeout: float | None, ssl: SSLContext | None = None
    ) -> None:
        self._budget = budget
        self._url = url
        self._timeout = timeout
        self._ssl = ssl
        self._idle: list[Exchange] = []

    def take(self) -> Exchange | None:
        """Return the connection that was used last, if any idles."""
        if not self._idle:
            return None
        exchange = self._idle.pop()
        del self._budget.idle[exchange]
        return exchange

    async def dial(self, session: ClientSession) -> Exchange:
        """Return a new connection, as soon as the budget has room for it.

        Raises:
            aiohttp.ClientError: no connection could be made; its cause is an EgressError where
                every address is refused.
        """
        await self._budget.reserve()
        try:
            dialled = await dial(session, self._url, timeout=self._timeout, ssl=self._ssl)
            return Exchange(dialled, self._closed)
        except BaseException:
            self._budget.closed()
            raise

    def put_back(self, exchange: Exchange) -> None:
        """Keep a connection whose exchange has ended, if it may serve another; else abort it."""
        budget = self._budget
        if exchange.state != "idle" or not budget.keepalive or budget.waiters:
            exchange.abort()
            return
        exchange.received = b""
        self._idle.append(exchange)
        budget.idle[exchange] = exchange.idle_since = budget.owner.clock.monotonic()
        if not budget.timed:
            budget.set_timer()

    def _closed(self, exchange: Exchange) -> None:
        if self._budget.idle.pop(exchange, None) is not None:
            self._idle.remove(exchange)
        self._budget.closing()
