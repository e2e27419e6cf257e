"""The way of a host's own session: its middlewares, tracing, proxies and limits are its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from ssl import SSLContext
from typing import Final

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from yarl import URL

#: Bytes that aiohttp takes without a warning; longer bodies it wants to write in pieces.
_MAX_BYTES: Final = 2**20


async def post(
    session: ClientSession,
    url: URL,
    headers: Mapping[str, str],
    body: bytes,
    connect_timeout: float | None,
    ssl: SSLContext | None = None,
) -> ClientResponse:
    """Post a body as the host's session does it, without following redirects.

    Args:
        session: the host's.
        url: where.
        headers: all of them but those that aiohttp adds.
        body: what.
        connect_timeout: seconds for the handshakes; ``None`` for no limit.
        ssl: how to speak TLS; ``None`` for the session's own way.
    """
    return await session.post(
        url,
        data=body if len(body) <= _MAX_BYTES else BytesIO(body),
        headers=headers,
        allow_redirects=False,
        raise_for_status=False,  # whatever the session has
        timeout=_timeout_of(connect_timeout),
        ssl=True if ssl is None else ssl,
    )


async def drain(response: ClientResponse, max_response: int) -> None:
    """Read the rest of a response within its bound, so that the connection can serve again.

    Past the bound, or if anything goes wrong, the connection is aborted.
    """
    content = response.content
    left = max_response
    try:
        while not content.at_eof():
            left -= len(await content.readany())
            if left < 0:
                break
    except Exception:
        left = -1
    finally:
        if left < 0 or not content.at_eof():
            abort(response)
        else:
            response.release()


def abort(response: ClientResponse) -> None:
    """End a response's connection at once, without waiting until its peer has read."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


@lru_cache(maxsize=64)
def _timeout_of(seconds: float | None) -> ClientTimeout:
    return ClientTimeout(total=None, sock_connect=seconds)
