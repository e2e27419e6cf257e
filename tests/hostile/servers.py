"""The endpoints, in processes of their own: the hostile ones together, the healthy one apart.

A plain module, run with ``-m``. Its one argument is a :class:`Setup` as JSON. It says on which
ports it listens, then answers each line of its standard input with a report, and ends with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import ssl
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from hostile.endpoints import ENDPOINTS, Endpoint

from relaybox_hooks.testing import FaultReceiver

#: Name of the endpoint that answers 200 to all of the healthy webhooks.
HEALTHY: Final = "healthy"
#: Seconds between two moments at which requests are counted, and their bodies released.
_COUNTED: Final = 0.2


@dataclass(frozen=True, slots=True)
class Setup:
    """What a process of endpoints is made from; all of it is JSON.

    Attributes:
        hostile: whether it has the hostile endpoints, or the healthy one.
        cert, key: files, for those that speak TLS.
    """

    hostile: bool
    cert: str
    key: str


class Server:
    """One endpoint's receiver, and the events that it has read."""

    def __init__(self, name: str, receiver: FaultReceiver) -> None:
        self.name = name
        self.receiver = receiver
        self._read: set[tuple[str | None, str | None]] = set()

    def count(self) -> None:
        """Keep the ids of what was read, and no body: a long run would fill the memory."""
        requests = self.receiver.requests
        self._read.update((each.webhook_id, each.event_id) for each in requests)
        requests.clear()

    def report(self) -> dict[str, Any]:
        """Return what the parent compares with the sender's counts; all of it is JSON."""
        self.count()
        return {
            "connected": self.receiver.connected,
            "connections": self.receiver.connections,
            "attempts": self.receiver.attempts,
            "read": sorted(self._read, key=str),
            "accepted": [(each.webhook_id, each.event_id) for each in self.receiver.accepted],
        }


def _say(record: dict[str, Any]) -> None:
    data = json.dumps(record).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


async def _count(servers: list[Server]) -> None:
    while True:
        await asyncio.sleep(_COUNTED)
        for server in servers:
            server.count()


async def serve(setup: Setup) -> None:
    """Serve until the standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(setup.cert, setup.key)
    endpoints: tuple[Endpoint, ...] = ENDPOINTS
    async with AsyncExitStack() as stack:
        servers = []
        if not setup.hostile:
            servers.append(Server(HEALTHY, await stack.enter_async_context(FaultReceiver())))
            endpoints = ()
        for endpoint in endpoints:
            receiver = FaultReceiver(
                endpoint.fault,
                ssl=context if endpoint.tls else None,
                receive_buffer=endpoint.receive_buffer,
            )
            servers.append(Server(endpoint.name, await stack.enter_async_context(receiver)))
        _say({server.name: server.receiver.url for server in servers})
        counting = asyncio.ensure_future(_count(servers))
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while await reader.readline():
            _say({server.name: server.report() for server in servers})
        counting.cancel()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve(Setup(**json.loads(sys.argv[1]))))
