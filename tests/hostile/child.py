"""The process under test: a server with clients of its own, whose webhooks are hostile for a half.

A plain module, run with ``-m``; it may open no more than ``FILES`` files. Its one argument is a
:class:`Setup` as JSON. Each line of its output is a JSON object: first where its server is, then a
:class:`~hostile.looks.Look` every quarter of a second. A line on its standard input lets it close
its hooks, and report that; the end of the input lets it close the rest, and report what is left.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import resource
import socket
import ssl
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from aiohttp import TCPConnector, web
from hostile.endpoints import ENDPOINTS, TIMEOUT, Endpoint
from hostile.looks import Counts, Logged, Looks, TimedLoop

from relaybox_hooks import EgressPolicy, Hooks, HooksClosedError, RetryPolicy, Timeouts, Webhook
from relaybox_hooks.hooks import parts_of

#: The process may have so many files open: ``ulimit -n 256``.
FILES: Final = 256
#: Seconds between two looks.
EVERY: Final = 0.25
#: Seconds that closing gets.
CLOSING: Final = 1.0
#: Bytes of data that an event has.
SMALLEST, LARGEST = 100, 200_000
#: Bytes of events that the lane of a hostile webhook may have pending.
LANE_BYTES: Final = 512 * 1024
#: Bytes of a send buffer; the kernel doubles it. More waits in the process, as on a slow network.
SEND_BUFFER: Final = 16 * 1024

_KEY: Final = "21d45d1d4dff46f13cd4478ba08395d9"
_EVENT: Final = "user:status:update"
#: Events per second, and the tasks that emit them.
_RATE: Final = 300
_PRODUCERS: Final = 4
#: Applications: each has one hostile and one healthy webhook.
_APPS: Final = len(ENDPOINTS)
#: Connections that the events of an application come from.
_CONNECTIONS: Final = 8
#: Seconds that the healthy deliveries get to arrive once no more are emitted.
_REST: Final = 15.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What the process is made from; all of it is JSON.

    Attributes:
        urls: of the endpoints, by name.
        healthy: URL of the healthy endpoint.
        cafile: certificate of those that speak TLS.
        seed: of the random choices.
        hooks: further arguments of ``Hooks``.
    """

    urls: dict[str, str]
    healthy: str
    cafile: str
    seed: int
    hooks: dict[str, Any]


def healthy_id(app: int) -> str:
    """Return the id of an application's healthy webhook."""
    return f"healthy-{app}"


def _say(record: dict[str, Any]) -> None:
    data = json.dumps(record).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def _sockets() -> dict[str, str]:
    """Return the sockets that are open, in words, by inode."""
    found = {}
    for fd in Path("/proc/self/fd").iterdir():
        try:
            inode = os.readlink(fd)
            if inode.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(fd.name))) as opened:
                    found[inode] = str(opened)
        except OSError:
            pass  # the one that this reads with
    return found


def _open_socket(address: Any) -> socket.socket:
    """Open a socket as the hooks' own connector does, with a send buffer that is soon full."""
    opened = EgressPolicy.DEFAULT.open_socket(address)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return opened


class Child:
    """The server, its hooks, and what emits besides its clients."""

    def __init__(self, setup: Setup, loop: TimedLoop) -> None:
        self._draw = random.Random(setup.seed)
        self._emitted = 0
        self._stopped = False
        #: Bytes of data of the events that were accepted, by application and id.
        self._accepted: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self._counts = Counts()
        self._connector = TCPConnector(limit=0, socket_factory=_open_socket)
        self._hooks: Hooks[Any] = Hooks(
            self._webhooks(setup),
            connector=self._connector,
            queue_size=200,
            retry=RetryPolicy(attempts=3, initial=0.05, maximum=0.5),
            dead_letter_limit=500,
            dead_letter_bytes=8 * 2**20,
            observers=[self._counts],
            logging=False,
            **setup.hooks,
        )
        logged = Logged()
        logging.getLogger().addHandler(logged)
        healthy = [healthy_id(app) for app in range(_APPS)]
        self._looks = Looks(loop, self._hooks, self._counts, logged, healthy)

    @staticmethod
    def _webhooks(setup: Setup) -> list[Webhook]:
        """Return a hostile and a healthy webhook for each application.

        The healthy ones have as much time as a busy machine may need: none of their events is to
        be lost. Their lanes let emits wait, where those of the hostile ones drop.
        """
        context = ssl.create_default_context(cafile=setup.cafile)
        healthy: dict[str, Any] = {
            "retry": RetryPolicy(attempts=20, initial=0.1, maximum=1.0),
            "timeouts": Timeouts(total=10.0),
            "overflow": "wait",
        }

        def of(app: int, endpoint: Endpoint) -> Webhook:
            return Webhook(
                setup.urls[endpoint.name],
                ["*"],
                _KEY,
                id=endpoint.name,
                app_pid=str(app),
                ssl=context if endpoint.tls else None,
                timeouts=Timeouts(total=TIMEOUT),
                max_pending_bytes=LANE_BYTES,
                **endpoint.options(app),
            )

        return [
            *(of(app, endpoint) for app, endpoint in enumerate(ENDPOINTS)),
            *(
                Webhook(setup.healthy, ["*"], _KEY, id=healthy_id(app), app_pid=str(app), **healthy)
                for app in range(_APPS)
            ),
        ]

    # Emitting

    async def _emit(self, connection: str) -> None:
        """Emit an event of some application, with more or less data."""
        draw = self._draw
        app = draw.randrange(_APPS)
        size = int(SMALLEST * (LARGEST / SMALLEST) ** draw.random())
        if draw.random() < 0.01:
            size = LARGEST
        session = {"appPid": str(app), "connectionId": connection}
        receipt = await self._hooks.emit(_EVENT, {"status": "x" * size}, session)
        self._emitted += 1
        self._accepted[app][receipt.event_id] = size

    async def _produce(self) -> None:
        """Emit at a steady rate; what a wait has held up is not made up for."""
        pause = _PRODUCERS / _RATE
        due = monotonic()
        while not self._stopped:
            await self._emit(f"connection-{self._draw.randrange(_CONNECTIONS)}")
            due = max(due + pause, monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - monotonic()))

    # Serving

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text="served")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        """Answer each message with the same, and emit an event for it."""
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            if not self._stopped:
                try:
                    await self._emit(request.query["name"])
                except HooksClosedError:
                    pass
            await response.send_str(message.data)
        return response

    async def run(self) -> None:
        """Serve, emit and look; then close, and report."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        before = _sockets(), len(asyncio.all_tasks())
        app = web.Application()
        app.add_routes([web.get("/", self._page), web.get("/socket", self._socket)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await self._hooks.start()
        budget = parts_of(self._hooks).runtime.budget
        assert budget is not None
        _say({"port": site.port, "pid": os.getpid(), "max_connections": budget.maximum})
        looking = asyncio.ensure_future(self._look())
        producers = [asyncio.ensure_future(self._produce()) for _ in range(_PRODUCERS)]
        await reader.readline()
        self._stopped = True
        await asyncio.gather(*producers)
        _say(await self._close())
        await reader.read()
        looking.cancel()
        await runner.cleanup()
        await self._connector.close()
        in_vain = monotonic() + _REST
        while _sockets().keys() - before[0].keys() and monotonic() < in_vain:
            await asyncio.sleep(0)  # what was aborted is closed in a turn of its own
        tasks = asyncio.all_tasks()
        _say(
            {
                "sockets": [text for each, text in _sockets().items() if each not in before[0]],
                "connections": budget.used,
                "tasks": [repr(task) for task in tasks] if len(tasks) > before[1] else [],
            }
        )

    async def _look(self) -> None:
        while True:
            _say(asdict(self._looks.look(self._emitted)))
            if not self._stopped:
                self._hooks.enable_webhook("gone")  # it disables itself with each response
            await asyncio.sleep(EVERY)

    def _unsettled(self) -> int:
        targets = self._hooks.stats().targets
        return sum(targets[healthy_id(app)].pending for app in range(_APPS))

    async def _close(self) -> dict[str, Any]:
        """Close the hooks, once the healthy deliveries have arrived; return the accounts."""
        in_vain = monotonic() + _REST
        while self._unsettled() and monotonic() < in_vain:
            await asyncio.sleep(EVERY)
        unsettled, pending = self._unsettled(), self._hooks.stats().pending
        began = monotonic()
        report = await self._hooks.aclose(CLOSING)
        took = monotonic() - began
        stats, counts = self._hooks.stats(), self._counts
        return {
            "took": took,
            "ending": report.ending,
            "left": report.left,
            "unsettled": unsettled,
            "pending_before": pending,
            "pending": stats.pending,
            "stats": stats._asdict() | {"targets": {}},
            "unbalanced": counts.unbalanced(stats),
            "accepted": {healthy_id(app): list(ids) for app, ids in self._accepted.items()},
            "largest": {
                endpoint.name: max(self._accepted[app].get(each, 0) for each in ids)
                for app, endpoint in enumerate(ENDPOINTS)
                if (ids := counts.deliveries[endpoint.name])
            },
            "rows": {webhook_id: row._asdict() for webhook_id, row in stats.targets.items()},
            "deliveries": counts.deliveries,
            "attempts": counts.attempts,
            "disconnected": counts.disconnected,
            "statuses": counts.statuses,
        }


async def _main(setup: Setup) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TimedLoop)
    await Child(setup, loop).run()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        runner.run(_main(Setup(**json.loads(sys.argv[1]))))
