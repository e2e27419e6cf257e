"""How much later does a websocket echo while the server delivers 1,000 events per second?

A chat server echoes a thousand messages per second, over twenty websockets. To the one path it
only echoes; to the other it emits each message first, to a webhook, so that its process delivers
a thousand events per second beside it. The time from a message to its echo is compared, taken by
a client in a process of its own. Both paths are of one server and take turns in short rounds,
forwards and backwards; each round's ratio is to the plain round of the same turn.

Beside it stands the loop lag: the 99th percentile of the turns of the server's event loop, in CPU
time of its thread, which other programs on the machine do not lengthen.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse

from benchmarks.bare import by_turns, ratios
from benchmarks.children import Child
from benchmarks.estimates import percentile, quartiles
from benchmarks.harness import main
from benchmarks.processes import run_loop
from benchmarks.raw import sink_rate
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.target import Target

_LIMIT: Final = 1.2
#: Messages per second, over all websockets.
_RATE: Final = 1000
_SOCKETS: Final = 20
_PLAIN: Final = "/plain"
_HOOKED: Final = "/hooked"


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds that count, and how long each is, seconds; requests that the sink is flooded with."""

    rounds: int
    warm_up: float
    measured: float
    flood: int


_FULL: Final = Plan(rounds=16, warm_up=0.3, measured=2.0, flood=30_000)
_QUICK: Final = Plan(rounds=1, warm_up=0.05, measured=0.2, flood=2_000)


@dataclass(frozen=True, slots=True)
class Echoes:
    """Milliseconds of one path, by round, and how many messages were sent and echoed."""

    p50: list[float]
    p99: list[float]
    lag: list[float]
    sent: int
    echoed: int


class Client:
    """Websockets to one path of a server, and the milliseconds that each echo took."""

    def __init__(self, server: Child, sockets: Sequence[ClientWebSocketResponse]) -> None:
        self._server = server
        self._sockets = sockets
        self.took: list[float] = []
        self.p50: list[float] = []
        self.lag: list[float] = []
        self.sent = 0
        self.echoed = 0
        self._readers = [asyncio.create_task(self._read(socket)) for socket in sockets]

    async def play(self, plan: Plan) -> float:
        """One round; the 99th percentile of its echoes."""
        gc.collect()
        await self._chat(plan.warm_up)
        self.took.clear()
        self._server.take()
        await self._chat(plan.measured)
        self.p50.append(percentile(self.took, 0.5))
        self.lag.append(self._server.take()["lag"])
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


async def measure(plan: Plan) -> tuple[list[Echoes], dict[str, Any]]:
    """What the plain path and the hooked one came to, and what was delivered meanwhile."""
    with Child("benchmarks.servers.sink") as sink, Child("benchmarks.servers.chat") as server:
        async with ClientSession() as session:
            clients = [
                Client(
                    server,
                    [
                        await session.ws_connect(server.url(path), params=query)
                        for _ in range(_SOCKETS)
                    ],
                )
                for path, query in ((_PLAIN, {}), (_HOOKED, {"sink": sink.url("/events")}))
            ]
            plain, hooked = clients
            p99 = await by_turns((lambda: plain.play(plan), lambda: hooked.play(plan)), plan.rounds)
            for client in clients:
                await client.close()
        delivered: dict[str, Any] = server.take()
        delivered["received"] = len(sink.take()["/events"]["received"])
    return [
        Echoes(client.p50[1:], found, client.lag[1:], client.sent, client.echoed)
        for client, found in zip(clients, p99, strict=True)
    ], delivered


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    plan = _QUICK if quick else _FULL
    echoes, delivered = run_loop(measure(plan))
    plain, hooked = echoes
    rows: list[list[str | float]] = []
    for name, each in (("without hooks", plain), ("with hooks", hooked)):
        row: list[str | float] = [name]
        for figure in ("p50", "p99", "lag"):
            by_round = ratios(getattr(each, figure), getattr(plain, figure))
            row += [median(getattr(each, figure)), median(by_round)]
            row += [text_of_pair(quartiles(by_round))]
        rows.append([*row, each.sent, each.echoed])
    columns = ["", "p50 ms", "ratio", "quartiles", "p99 ms", "ratio", "quartiles"]
    columns += ["lag ms of CPU", "ratio", "quartiles", "sent", "echoed"]
    title = f"Websocket echo, {_RATE:,} messages/s, medians of {plan.rounds} rounds"
    spare = sink_rate(plan.flood) / _RATE
    lag = f"loop lag in CPU time while {_RATE:,} events/s are delivered"
    return Result(
        tables=[Table(title, columns, rows)],
        targets=[
            Target.of_ratios(
                f"websocket echo p99 while {_RATE:,} events/s are delivered",
                ratios(hooked.p99, plain.p99),
                _LIMIT,
                contender="the server alone",
                stand_in=lag,
                spare=spare,
            ),
            Target.of_ratios(
                lag,
                ratios(hooked.lag, plain.lag),
                _LIMIT,
                contender="the server alone",
                spare=spare,
            ),
        ],
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
