"""How much later does a websocket echo while the server delivers 1,000 events per second?

A chat server echoes a thousand messages per second, over twenty websockets. To the one path it
only echoes; to the other it emits each message first, to a webhook, so that its process delivers
a thousand events per second beside it. The time from a message to its echo is compared, taken by
a client in a process of its own. Both paths are of one server and take turns in short rounds,
forwards and backwards; each round's ratio is to the plain round of the same turn.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from aiohttp import ClientSession, ClientWebSocketResponse

from benchmarks.bare import by_turns, ratios
from benchmarks.children import Child
from benchmarks.estimates import percentile
from benchmarks.harness import main
from benchmarks.processes import run_loop
from benchmarks.result import Result, Table, Target

_LIMIT: Final = 1.5
#: Messages per second, over all websockets.
_RATE: Final = 1000
_SOCKETS: Final = 20
_PLAIN: Final = "/plain"
_HOOKED: Final = "/hooked"


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds that count, and how long each is, seconds."""

    rounds: int
    warm_up: float
    measured: float


_FULL: Final = Plan(rounds=16, warm_up=0.3, measured=2.0)
_QUICK: Final = Plan(rounds=1, warm_up=0.05, measured=0.2)


@dataclass(frozen=True, slots=True)
class Echoes:
    """Milliseconds of one path, by round, and how many messages were sent and echoed."""

    p50: list[float]
    p99: list[float]
    sent: int
    echoed: int


class Client:
    """Websockets to one path, and the milliseconds that each echo took."""

    def __init__(self, sockets: Sequence[ClientWebSocketResponse]) -> None:
        self._sockets = sockets
        self.took: list[float] = []
        self.p50: list[float] = []
        self.sent = 0
        self.echoed = 0
        self._readers = [asyncio.create_task(self._read(socket)) for socket in sockets]

    async def play(self, plan: Plan) -> float:
        """One round; the 99th percentile of its echoes."""
        gc.collect()
        await self._chat(plan.warm_up)
        self.took.clear()
        await self._chat(plan.measured)
        self.p50.append(percentile(self.took, 0.5))
        return percentile(self.took, 0.99)

    async def close(self) -> None:
        """Hang up."""
        for socket in self._sockets:
            await socket.close()
        await asyncio.gather(*self._readers)

    async def _chat(self, seconds: float) -> None:
        """Send on schedule, round the sockets, and wait until all has come back."""
        began = time.perf_counter()
        for number in range(round(_RATE * seconds)):
            await asyncio.sleep(max(0.0, began + number / _RATE - time.perf_counter()))
            self.sent += 1
            await self._sockets[number % len(self._sockets)].send_str(str(time.perf_counter_ns()))
        async with asyncio.timeout(30):
            while self.echoed < self.sent:  # noqa: ASYNC110 - an event would cost every echo
                await asyncio.sleep(0.01)

    async def _read(self, socket: ClientWebSocketResponse) -> None:
        async for frame in socket:
            self.took.append((time.perf_counter_ns() - int(frame.data)) / 1e6)
            self.echoed += 1


async def measure(plan: Plan) -> tuple[list[Echoes], dict[str, int]]:
    """What the plain path and the hooked one came to, and what was delivered meanwhile."""
    with Child("benchmarks.servers.sink") as sink, Child("benchmarks.servers.chat") as server:
        async with ClientSession() as session:
            clients = [
                Client(
                    [
                        await session.ws_connect(server.url(path), params=query)
                        for _ in range(_SOCKETS)
                    ]
                )
                for path, query in ((_PLAIN, {}), (_HOOKED, {"sink": sink.url("/events")}))
            ]
            plain, hooked = clients
            p99 = await by_turns((lambda: plain.play(plan), lambda: hooked.play(plan)), plan.rounds)
            for client in clients:
                await client.close()
        delivered: dict[str, int] = server.take()
        delivered["received"] = len(sink.take()["/events"]["received"])
    return [
        Echoes(client.p50[1:], found, client.sent, client.echoed)
        for client, found in zip(clients, p99, strict=True)
    ], delivered


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    echoes, delivered = run_loop(measure(plan))
    plain = echoes[0]
    rows: list[list[str | float]] = []
    for name, each in zip(("without hooks", "with hooks"), echoes, strict=True):
        row: list[str | float] = [name]
        for found, other in ((each.p50, plain.p50), (each.p99, plain.p99)):
            by_round = ratios(found, other)
            spread = f"{min(by_round):.2f}-{max(by_round):.2f}"
            row += [median(found), median(by_round), spread]
        rows.append([*row, each.sent, each.echoed])
    columns = ["", "p50 ms", "ratio", "range", "p99 ms", "ratio", "range", "sent", "echoed"]
    title = f"Websocket echo, {_RATE:,} messages/s, medians of {plan.rounds} rounds"
    p99 = median(ratios(echoes[1].p99, plain.p99))
    return Result(
        tables=[Table(title, columns, rows)],
        targets=[Target("p99, with hooks / without", p99, _LIMIT)],
        figures={
            "messages_per_second": _RATE,
            "paths": {
                name: {field: getattr(each, field) for field in Echoes.__slots__}
                for name, each in zip(("plain", "hooked"), echoes, strict=True)
            },
            "events": delivered,
        },
    )


if __name__ == "__main__":
    main("echo", __doc__, run)
