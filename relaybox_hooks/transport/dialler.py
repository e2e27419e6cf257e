"""Dialling: connections that the shared session's connector makes, taken from it for good."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from ssl import SSLContext
from typing import Final, NoReturn

from aiohttp import (
    BaseConnector,
    ClientHandlerType,
    ClientRequest,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
)
from aiohttp.connector import Connection
from yarl import URL

from relaybox_hooks.transport.opened_sockets import closing_on_error

#: The deadline of an attempt is kept by the runtime.
_NO_TIMEOUT: Final = ClientTimeout(total=None)


class Taken:
    """A connection that its connector knows no more, and neither closes nor waits for.

    Attributes:
        transport: of the connection; another protocol is to be set before the loop's next turn.
    """

    __slots__ = ("transport",)

    def __init__(self, connection: Connection) -> None:
        protocol = connection.protocol
        self.transport: asyncio.Transport | None = connection.transport
        if protocol is not None:
            # Its transport has another protocol from now on, so this is the last that it hears.
            protocol.connection_lost(None)
        connection.close()

    def close(self) -> None:
        """Abort the connection."""
        if self.transport is not None:
            self.transport.abort()


class _TakenError(Exception):
    """Carries a connection past the rest of aiohttp's request; only :func:`dial` sees it."""

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection = connection


def open_session(connector: BaseConnector, *, owns_connector: bool) -> ClientSession:
    """Open a session that dials with ``connector``, and takes no proxy from the environment.

    Args:
        connector: makes the connections.
        owns_connector: close it with the session.
    """
    return ClientSession(
        connector=connector,
        connector_owner=owns_connector,
        cookie_jar=DummyCookieJar(),
        trust_env=False,
    )


async def dial(
    session: ClientSession, url: URL, *, timeout: float | None, ssl: SSLContext | None = None
) -> Taken:
    """Return a new connection to the host of ``url``.

    Egress, resolver, TLS and the choice among addresses are the connector's. Its limits and its
    closing concern the connections that are being made, not those that were.

    Args:
        session: whose connector is to make it.
        url: http or https.
        timeout: seconds for the TCP and TLS handshakes; ``None`` for no limit.
        ssl: how to speak TLS; ``None`` for the connector's own way.

    Raises:
        aiohttp.ClientError: no connection could be made; its cause is an EgressError where
            every address is refused.
    """
    limit = _timeout_of(timeout)

    async def take(request: ClientRequest, handler: ClientHandlerType) -> NoReturn:
        connector = request.session.connector
        if connector is None:
            raise RuntimeError("Session is closed")
        with closing_on_error():
            connection = await connector.connect(request, traces=[], timeout=limit)
        raise _TakenError(connection)

    try:
        response = await session.post(
            url,
            timeout=_NO_TIMEOUT,
            middlewares=(take,),
            ssl=True if ssl is None else ssl,
            # It is so without saying. Said, it keeps apart what the connector itself has pooled: a
            # host's own requests, on the same connector, leave connections there.
            server_hostname=url.raw_host,
        )
    except _TakenError as taken:
        return Taken(taken.connection)
    except TimeoutError as error:
        raise ConnectionTimeoutError(f"Connection timeout to host {url.origin()}") from error
    response.close()
    raise RuntimeError(f"{session!r} makes requests without its connector; give an http_session")


@lru_cache(maxsize=64)
def _timeout_of(seconds: float | None) -> ClientTimeout:
    """Return aiohttp's form of a time-out, one object for all webhooks that have the same."""
    return ClientTimeout(total=None, sock_connect=seconds)
