"""A webhook's pool: which connection is used next, which may idle, and what the budget counts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from aiohttp import ClientConnectorError, ClientSession, ConnectionTimeoutError, TCPConnector
from support import Mood, soon, turns, until
from yarl import URL

from relaybox_hooks import EgressPolicy
from relaybox_hooks.clock import Clock
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, VirtualClock
from relaybox_hooks.transport.budget import Budget
from relaybox_hooks.transport.connections import Connections
from relaybox_hooks.transport.dialler import open_session
from relaybox_hooks.transport.egress import AddressInfo, blocked_by, make_connector
from relaybox_hooks.transport.exchange import Exchange

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class Owner:
    """Whoever has the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock: Clock = clock


@pytest.fixture
async def budget(clock: VirtualClock) -> AsyncIterator[Budget]:
    """Room for two; in the end all of it is free."""
    budget = Budget(Owner(clock), 2, 15.0)
    yield budget
    budget.close()
    await turns()
    assert (budget.used, len(budget.waiters), len(budget.idle)) == (0, 0, 0)


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    connector = make_connector(EgressPolicy.DEFAULT)
    async with open_session(connector, owns_connector=True) as session:
        yield session


@pytest.fixture
def connections(budget: Budget, receiver: FaultReceiver) -> Connections:
    return Connections(budget, URL(receiver.url), None)


async def exchanged(connections: Connections, session: ClientSession) -> Exchange:
    """A new connection after an exchange."""
    exchange = await soon(connections.dial(session))
    assert await soon(exchange.send(REQUEST, 1024)) == 200
    return exchange


async def two_idle(connections: Connections, session: ClientSession) -> list[Exchange]:
    exchanges = [await exchanged(connections, session) for _ in range(2)]
    for exchange in exchanges:
        connections.put_back(exchange)
    return exchanges


async def test_a_pool_is_empty_to_begin_with(connections: Connections) -> None:
    assert connections.take() is None


async def test_the_connection_that_was_used_last_is_used_first(
    connections: Connections, session: ClientSession, budget: Budget
) -> None:
    """The others may idle until their time is up."""
    first, second = await two_idle(connections, session)
    for _ in range(2):
        assert connections.take() is second
        assert list(budget.idle) == [first]
        assert await soon(second.send(REQUEST, 1024)) == 200
        connections.put_back(second)
    assert [connections.take(), connections.take(), connections.take()] == [second, first, None]
    assert (len(budget.idle), budget.used) == (0, 2)
    first.abort()
    second.abort()


async def test_a_connection_serves_its_own_webhook_only(
    connections: Connections, session: ClientSession, budget: Budget, receiver: FaultReceiver
) -> None:
    """Though the other's endpoint is the same."""
    other = Connections(budget, URL(receiver.url), None)
    exchange = await exchanged(connections, session)
    connections.put_back(exchange)
    assert other.take() is None
    assert connections.take() is exchange
    connections.put_back(exchange)


async def test_one_that_idles_keeps_nothing_of_its_response(
    connections: Connections, session: ClientSession, clock: VirtualClock
) -> None:
    exchange = await exchanged(connections, session)
    assert exchange.received
    await clock.advance(3)
    connections.put_back(exchange)
    assert (exchange.received, exchange.idle_since) == (b"", 3.0)


async def test_one_whose_exchange_is_not_over_is_aborted(
    connections: Connections,
    session: ClientSession,
    budget: Budget,
    receiver: FaultReceiver,
    mood: Mood,
) -> None:
    """As where an attempt's time was up."""
    mood.fault = Hang()
    exchange = await soon(connections.dial(session))
    answer = exchange.send(REQUEST, 1024)
    await soon(receiver.wait_for(1))
    connections.put_back(exchange)
    assert (exchange.state, connections.take()) == ("closed", None)
    await soon(receiver.wait_until(lambda: receiver.connected == 0))
    assert budget.used == 0
    answer.cancel()


async def test_one_that_is_closed_already_is_counted_once(
    connections: Connections, session: ClientSession, budget: Budget, mood: Mood
) -> None:
    mood.fault = Answer(headers={"Connection": "close"})
    exchange = await exchanged(connections, session)
    connections.put_back(exchange)
    await turns()
    assert (exchange.state, budget.used) == ("closed", 0)


async def test_none_idles_where_none_is_to_be_kept(
    session: ClientSession, clock: VirtualClock, receiver: FaultReceiver
) -> None:
    budget = Budget(Owner(clock), 2, 0.0)
    connections = Connections(budget, URL(receiver.url), None)
    connections.put_back(await exchanged(connections, session))
    assert (connections.take(), clock.next_timer) == (None, None)
    await soon(receiver.wait_until(lambda: receiver.connected == 0))
    assert budget.used == 0


async def test_none_idles_while_another_webhook_waits_for_room(
    connections: Connections, session: ClientSession, budget: Budget, receiver: FaultReceiver
) -> None:
    exchanges = [await exchanged(connections, session) for _ in range(2)]
    other = Connections(budget, URL(receiver.url), None)
    dialling = asyncio.create_task(other.dial(session))
    await turns()
    connections.put_back(exchanges[0])
    dialled = await soon(dialling)
    assert exchanges[0].state == "closed"
    connections.put_back(exchanges[1])
    assert connections.take() is exchanges[1]
    for exchange in (dialled, exchanges[1]):
        exchange.abort()


async def test_one_that_idles_is_closed_for_another_webhook_that_needs_room(
    connections: Connections, session: ClientSession, budget: Budget, receiver: FaultReceiver
) -> None:
    """The longest idle one."""
    first, second = await two_idle(connections, session)
    other = Connections(budget, URL(receiver.url), None)
    other.put_back(await exchanged(other, session))
    assert (first.state, second.state) == ("closed", "idle")
    assert connections.take() is second
    assert connections.take() is None
    second.abort()


async def test_no_socket_is_opened_before_the_one_that_makes_room_is_closed(
    connections: Connections, budget: Budget, receiver: FaultReceiver
) -> None:
    opened: list[socket.socket] = []
    before: list[int] = []

    def open_socket(address: AddressInfo) -> socket.socket:
        before.append(sum(each.fileno() != -1 for each in opened))
        opened.append(socket.socket(*address[:3]))
        return opened[-1]

    connector = TCPConnector(socket_factory=open_socket)
    async with open_session(connector, owns_connector=True) as session:
        await two_idle(connections, session)
        other = Connections(budget, URL(receiver.url), None)
        other.put_back(await exchanged(other, session))
    assert before == [0, 1, 1]


async def test_one_that_has_idled_for_long_is_closed(
    connections: Connections, session: ClientSession, budget: Budget, clock: VirtualClock
) -> None:
    exchange = await exchanged(connections, session)
    connections.put_back(exchange)
    await clock.advance(14.9)
    assert exchange.state == "idle"
    await clock.advance(0.1)
    assert (exchange.state, connections.take(), budget.used) == ("closed", None, 0)


# Connections that end while they idle


class Endpoint:
    """An endpoint that answers each request once, and then does what a test has it do."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("how", ["closes", "resets", "sends"])
async def test_one_that_its_peer_closes_or_writes_to_leaves_pool_and_budget(
    session: ClientSession, budget: Budget, clock: VirtualClock, how: str
) -> None:
    endpoint = Endpoint()
    serving = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    async with serving:
        port = serving.sockets[0].getsockname()[1]
        connections = Connections(budget, URL(f"http://127.0.0.1:{port}/"), None)
        exchange = await exchanged(connections, session)
        connections.put_back(exchange)
        assert (budget.used, len(budget.idle)) == (1, 1)
        (writer,) = endpoint.writers
        if how == "closes":
            writer.close()
        elif how == "resets":
            writer.transport.abort()
        else:
            writer.write(b"H")
        await until(lambda: exchange.state == "closed")
        assert (connections.take(), len(budget.idle)) == (None, 0)
        await turns()
        assert budget.used == 0
        writer.transport.abort()
        await turns()
    assert await advance(clock) is None


async def advance(clock: VirtualClock) -> float | None:
    """Let the timer of the connections that idled fire; returns when the next one would."""
    await clock.advance(100)
    return clock.next_timer


# Dials that come to nothing


@pytest.fixture
def full_backlog() -> Iterator[URL]:
    """A listener that answers no SYN, because its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):  # Linux takes one more than the backlog says
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield URL(f"http://127.0.0.1:{listener.getsockname()[1]}/")


async def test_a_dial_that_is_refused_gives_its_room_back(
    session: ClientSession, budget: Budget
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = URL(f"http://127.0.0.1:{bound.getsockname()[1]}/")
        with pytest.raises(ClientConnectorError):
            await soon(Connections(budget, url, None).dial(session))
    assert budget.used == 0


async def test_a_dial_that_the_egress_policy_refuses_gives_its_room_back(
    session: ClientSession, budget: Budget
) -> None:
    with pytest.raises(ClientConnectorError) as caught:
        await soon(Connections(budget, URL("http://169.254.169.254/"), None).dial(session))
    assert blocked_by(caught.value) is not None
    assert budget.used == 0


async def test_a_dial_that_takes_too_long_gives_its_room_back(
    session: ClientSession, budget: Budget, full_backlog: URL
) -> None:
    with pytest.raises(ConnectionTimeoutError):
        await soon(Connections(budget, full_backlog, 0.02).dial(session))
    assert budget.used == 0


async def test_a_dial_that_is_cancelled_gives_its_room_to_the_next(
    session: ClientSession,
    budget: Budget,
    connections: Connections,
    receiver: FaultReceiver,
    full_backlog: URL,
) -> None:
    hanging = Connections(budget, full_backlog, None)
    dialling = [asyncio.create_task(hanging.dial(session)) for _ in range(2)]
    await turns()
    waiting = asyncio.create_task(connections.dial(session))
    await turns()
    assert (budget.used, receiver.connections) == (2, 0)
    dialling[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(dialling[0])
    (await soon(waiting)).abort()
    dialling[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(dialling[1])
    await turns()
    assert budget.used == 0


async def test_a_dial_that_is_cancelled_while_it_waits_for_room_takes_none(
    session: ClientSession, budget: Budget, connections: Connections, receiver: FaultReceiver
) -> None:
    exchanges = [await exchanged(connections, session) for _ in range(2)]
    waiting = asyncio.create_task(connections.dial(session))
    await turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(waiting)
    assert (budget.used, len(budget.waiters), receiver.connections) == (2, 0, 2)
    connections.put_back(exchanges[0])
    assert exchanges[0].state == "idle"
    exchanges[1].abort()
    await turns()
    assert budget.used == 1
