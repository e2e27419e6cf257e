"""Memory of idle webhooks, and of the connections that they keep.

Webhooks are registered ten thousand at a time, then sent one event each. Resident memory is what
counts; tracemalloc, in a run of its own, does not see what OpenSSL holds for the signing keys, but
tells which file allocated the rest.

A connection that a webhook keeps open costs a transport and a parser, whoever opens it. What these
take is measured by themselves, and does not count as the webhook's.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

from benchmarks.bare import Post, prepared
from benchmarks.children import Child
from benchmarks.machine import raise_file_limit
from benchmarks.paths import ROOT
from benchmarks.processes import in_fresh_process, resident, run_loop
from benchmarks.raw import request_of
from benchmarks.result import Result, Table
from benchmarks.target import ALONE, Target
from benchmarks.traffic import message, sessions
from relaybox_hooks import Hooks, Session, Webhook

#: Bytes that an idle webhook may hold.
LIMIT: Final = 4096
#: Webhooks that are sent their event together. They share one host, so this many connections
#: are open at most.
_WAVE: Final = 100
#: How many webhooks, and how many connections by themselves, if it is to be quick and if not.
_SIZES: Final = {True: (200, 50), False: (10_000, 2_000)}


@dataclass(frozen=True, slots=True)
class Idle:
    """Bytes and tasks of ``webhooks`` idle ones, and bytes by the file that allocated them.

    Attributes:
        connections: that each keeps open once it has delivered, on average.
    """

    webhooks: int
    registered: float
    delivered: float
    connections: float
    tasks_registered: int
    tasks_delivered: int
    files: dict[str, float]


def idle_webhooks(webhooks: int, traced: bool) -> Idle:
    """Register ``webhooks``, look; send each an event, look again. Bytes are per webhook.

    Args:
        traced: count by tracemalloc, not by resident memory.
    """
    raise_file_limit()
    with Child("benchmarks.servers.sink") as sink:
        return run_loop(_idle_webhooks(sink, webhooks, traced))


async def _idle_webhooks(sink: Child, webhooks: int, traced: bool) -> Idle:
    crowd = {app: sessions(1, app)[0] for app in _apps(webhooks)}
    async with Hooks() as hooks:
        # Connections, caches and code that any number of webhooks share are no webhook's.
        warm_up = [_webhook(sink, f"warm-up-{n}", "warm-up") for n in range(_WAVE)]
        for webhook in warm_up:
            hooks.add_webhook(webhook)
        await _deliver(hooks, sessions(1, "warm-up"))
        for webhook in warm_up:
            hooks.remove_webhook(webhook.id)
        del warm_up, webhook
        if traced:
            tracemalloc.start()
        base, tasks, opened = _held(traced), len(asyncio.all_tasks()), _sockets()
        for number in range(webhooks):
            hooks.add_webhook(_webhook(sink, f"{number:05}", f"app-{number // _WAVE}"))
        registered, tasks_registered = _held(traced) - base, len(asyncio.all_tasks()) - tasks
        await _deliver(hooks, crowd.values())
        assert hooks.stats().delivered == _WAVE + webhooks
        delivered, tasks_delivered = _held(traced) - base, len(asyncio.all_tasks()) - tasks
        opened = _sockets() - opened
        files = _by_file(webhooks) if traced else {}
    return Idle(
        webhooks,
        registered / webhooks,
        delivered / webhooks,
        opened / webhooks,
        tasks_registered,
        tasks_delivered,
        files,
    )


def _apps(webhooks: int) -> list[str]:
    return [f"app-{wave}" for wave in range(-(-webhooks // _WAVE))]


def _webhook(sink: Child, name: str, app: str) -> Webhook:
    """One as in life: its own path and key, an event family, bound to an application."""
    return Webhook(sink.url(f"/hooks/{name}"), ["room:*"], name.rjust(32, "k"), app_pid=app)


async def _deliver(hooks: Hooks, crowd: Iterable[Session]) -> None:
    """One event to the webhooks of one application after the other."""
    for session in crowd:
        await hooks.emit("room:publish", message(0), session)
        await hooks.join()


def _sockets() -> int:
    """Return how many sockets are open."""
    opened = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(path) and "socket" in os.readlink(path) for path in opened)


def _held(traced: bool) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] if traced else resident()


def _by_file(webhooks: int) -> dict[str, float]:
    """Bytes per webhook by what allocated them: a module here, or the package it is in."""
    sizes: Counter[str] = Counter()
    for line in tracemalloc.take_snapshot().statistics("filename"):
        path = Path(line.traceback[0].filename)
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.parent.name
        sizes[name] += line.size
    return {name: size / webhooks for name, size in sizes.most_common() if size > webhooks}


# Connections by themselves


class _Connection(asyncio.Protocol):
    """A transport, a parser, and next to nothing else."""

    __slots__ = ("_answered", "parser", "transport")

    def __init__(self) -> None:
        self._answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        from httptools import HttpResponseParser  # noqa: PLC0415 - nothing else here needs it

        self.transport = cast("asyncio.Transport", transport)
        self.parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._answered.set_result(None)

    async def send(self, request: bytes) -> None:
        """Send one request and wait for the response."""
        self.transport.write(request)
        await self._answered
        del self._answered


def bare_connection(connections: int) -> float:
    """Return the resident bytes of an idle connection: transport and parser, after a response."""
    raise_file_limit()
    with Child("benchmarks.servers.sink") as sink:
        (post,) = prepared([sink.url("/bare")])
        return run_loop(_bare_connection(sink, post, connections))


async def _bare_connection(sink: Child, post: Post, connections: int) -> float:
    request, loop = request_of(post), asyncio.get_running_loop()
    opened: list[_Connection] = []

    async def connect(count: int) -> None:
        for _ in range(count):
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", sink.port)
            await connection.send(request)
            opened.append(connection)

    await connect(_WAVE)  # code, caches and tables that any number of them share
    base = _held(traced=False)
    await connect(connections)
    grown = _held(traced=False) - base
    for connection in opened:
        connection.transport.abort()
    await asyncio.sleep(0)
    return grown / connections


# Both


@dataclass(frozen=True, slots=True)
class Idling:
    """What was measured of idle webhooks; ``connection`` is bytes of one by itself."""

    by_rss: Idle
    connection: float

    @property
    def beside_connections(self) -> float:
        """Resident bytes of a webhook that has delivered, without transport and parser."""
        return self.by_rss.delivered - self.by_rss.connections * self.connection

    @property
    def target(self) -> Target:
        """What is asked of them."""
        return Target(
            "bytes of an idle webhook after its first delivery, beside transport and parser",
            self.beside_connections,
            LIMIT,
            contender=ALONE,
        )

    @property
    def table(self) -> Table:
        """Transport and parser, which are not the webhook's."""
        rows = [
            ("after its first delivery", self.by_rss.delivered),
            ("connections kept by each", self.by_rss.connections),
            ("transport and parser of a connection", self.connection),
            ("beside transport and parser", self.beside_connections),
        ]
        return Table("Resident bytes of an idle webhook", ("", "bytes each"), rows)


def measure(quick: bool) -> Idling:
    """Measure idle webhooks and bare connections, each in a fresh process."""
    webhooks, connections = _SIZES[quick]
    return Idling(
        in_fresh_process(idle_webhooks, webhooks, traced=False),
        in_fresh_process(bare_connection, connections),
    )


def measure_traced(quick: bool) -> Idle:
    """Measure idle webhooks by tracemalloc, in a fresh process."""
    return in_fresh_process(idle_webhooks, _SIZES[quick][0], traced=True)


def ask(quick: bool) -> Result:
    """Measure what is asked about idle webhooks, and no more."""
    found = measure(quick)
    return Result([found.table], [found.target], figures=asdict(found))


def idle_tables(by_rss: Idle, traced: Idle) -> list[Table]:
    """Bytes by state, and who holds them."""
    rows = [
        ("registered", by_rss.tasks_registered, by_rss.registered, traced.registered),
        ("each delivered one, idle", by_rss.tasks_delivered, by_rss.delivered, traced.delivered),
    ]
    return [
        Table(
            f"{by_rss.webhooks:,} idle webhooks, bytes each",
            ("", "tasks in all", "resident", "tracemalloc"),
            rows,
        ),
        Table("Who holds what tracemalloc sees", ("", "bytes each"), list(traced.files.items())),
    ]
