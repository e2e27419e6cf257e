"""Traffic of a receiver: what is counted, what is held, and who waits for a change of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from support import soon, turns
from support.raw_http import Post

from relaybox_hooks.testing import Acceptance, Answer, Fault, FaultReceiver, FaultScript, Hold
from relaybox_hooks.testing.connection import Connection
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.traffic import Traffic


class Line:
    """A connection, as far as traffic sees it, that notes the faults it is told to play."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.number = 0
        self.position = 1
        self.played: list[Fault] = []
        self.request: ReceivedRequest
        traffic.connection_accepted(self.connection)
        traffic.connection_opened(self.connection)

    @property
    def connection(self) -> Connection:
        return cast("Connection", self)

    def send(self, event_id: str | None = "e1") -> ReceivedRequest:
        """Let a request arrive."""
        self.traffic.request_started(self.connection, scripted=True)
        order = len(self.traffic.requests) + 1
        number, position = self.number, self.position
        self.request = ReceivedRequest(
            "POST", "/hook", "", order, number, position, "wh", event_id, b"", b""
        )
        self.traffic.request_received(self.connection, self.request, None)
        return self.request

    # What faults and traffic call

    def hold(self, fault: Fault) -> None:
        self.traffic.request_held(self.connection, fault)

    def play(self, fault: Fault) -> None:
        self.played.append(fault)

    def write(self, data: bytes) -> None:
        """Write nothing: there is no client."""

    def finish(self, status: int, *, close: bool = False) -> None:
        self.traffic.response_sent(self.request, status, 1)


def new_traffic(script: Any = None) -> Traffic:
    return Traffic(FaultScript.of(script))


# What is counted


def test_connections_are_numbered_from_one_and_known_while_they_are_open() -> None:
    traffic = new_traffic()
    first, second = Line(traffic), Line(traffic)
    assert (first.number, second.number) == (1, 2)
    traffic.connection_lost(first.connection)
    assert traffic.open == {second.connection}
    assert (traffic.connections, Line(traffic).number) == (2, 3)


def test_an_attempt_counts_from_its_first_byte_and_a_request_once_it_was_read() -> None:
    traffic = new_traffic()
    line = Line(traffic)
    traffic.request_started(line.connection, scripted=True)
    assert (traffic.attempts, traffic.requests) == (1, [])
    request = line.send()
    assert (traffic.attempts, traffic.requests) == (2, [request])


def test_a_request_knows_its_fault_and_the_status_it_was_answered_with() -> None:
    fault = Answer(503)
    request = Line(new_traffic(fault)).send()
    assert (request.fault, request.answered_status) == (fault, 503)


@pytest.mark.parametrize(
    ("status", "accepted"), [(199, False), (200, True), (299, True), (300, False), (503, False)]
)
def test_only_a_2xx_response_is_an_acceptance(status: int, accepted: bool) -> None:
    traffic = new_traffic(Hold())
    request = Line(traffic).send("e7")
    traffic.response_sent(request, status, 1)
    assert traffic.accepted == ([Acceptance("/hook", "wh", "e7")] if accepted else [])


# What is held


def test_held_requests_are_played_in_the_order_of_arrival_so_many_at_a_time() -> None:
    fault = Answer(201)
    traffic = new_traffic(fault)
    traffic.hold()
    lines = [Line(traffic) for _ in range(3)]
    requests = [line.send() for line in lines]
    assert traffic.held == requests
    traffic.release(2)
    assert [line.played for line in lines] == [[fault], [fault], []]
    assert traffic.held == requests[2:]
    later = Line(traffic)
    later.send()
    assert len(traffic.held) == 2, "only a release of all ends the holding"
    traffic.release()
    assert [line.played for line in (lines[2], later)] == [[fault], [fault]]
    assert Line(traffic).send().answered_status == 201
    assert traffic.held == []


def test_a_held_request_is_gone_with_its_connection() -> None:
    traffic = new_traffic(Hold())
    gone, stays = Line(traffic), Line(traffic)
    gone.send()
    request = stays.send()
    traffic.connection_lost(gone.connection)
    assert traffic.held == [request]
    traffic.release()
    assert gone.played == []


async def test_held_requests_are_answered_first_come_first_served(post: Post) -> None:
    async with FaultReceiver([Answer(201), Hold(Answer(202)), Answer(203)]) as receiver:
        receiver.hold()
        tasks = []
        for count in (1, 2, 3):
            tasks.append(asyncio.create_task(post(receiver.url)))
            await receiver.wait_for(count)
        await receiver.wait_until(lambda: len(receiver.held) == 3)
        receiver.release(1)
        assert await tasks[0] == (201, b"")
        tasks.pop().cancel()
        await receiver.wait_until(lambda: receiver.held == receiver.requests[1:2])
        receiver.release()
        assert receiver.held == receiver.requests[1:2]  # the script's own Hold begins
        receiver.release()
        assert await tasks[1] == (202, b"")
        assert (await post(receiver.url))[0] == 200


# Who waits


async def test_a_wait_ends_at_each_kind_of_change_that_makes_its_condition_true() -> None:
    traffic = new_traffic(Hold())
    line = Line(traffic)
    conditions = [
        lambda: traffic.attempts == 1,
        lambda: len(traffic.requests) == 1,
        lambda: len(traffic.held) == 1,
        lambda: len(traffic.accepted) == 1,
        lambda: not traffic.open,
    ]
    waits = [asyncio.create_task(traffic.wait(condition)) for condition in conditions]
    await turns()

    def done() -> list[bool]:
        return [wait.done() for wait in waits]

    assert done() == [False] * 5
    traffic.request_started(line.connection, scripted=True)
    await turns()
    assert done() == [True] + [False] * 4
    request = line.send()
    await turns()
    assert done() == [True] * 3 + [False] * 2
    traffic.response_sent(request, 200, 1)
    await turns()
    assert done() == [True] * 4 + [False]
    traffic.connection_lost(line.connection)
    await soon(asyncio.gather(*waits))


async def test_a_wait_that_has_ended_or_was_cancelled_is_not_kept() -> None:
    traffic = new_traffic()
    ending = asyncio.create_task(traffic.wait(lambda: bool(traffic.requests)))
    cancelled = asyncio.create_task(traffic.wait(lambda: False))
    await turns()
    assert len(traffic._waiters) == 2
    cancelled.cancel()
    Line(traffic).send()
    await asyncio.wait([ending, cancelled])
    assert (ending.cancelled(), cancelled.cancelled()) == (False, True)
    assert traffic._waiters == {}


async def test_a_condition_that_raises_ends_its_wait() -> None:
    async with FaultReceiver() as receiver:
        waiting = asyncio.create_task(receiver.wait_until(lambda: not 1 / len(receiver.requests)))
        with pytest.raises(ZeroDivisionError):
            await waiting


async def test_a_condition_that_raises_ends_no_other_wait() -> None:
    traffic = new_traffic()
    broken = asyncio.create_task(traffic.wait(lambda: not 1 / 0))
    sound = asyncio.create_task(traffic.wait(lambda: len(traffic.requests) == 1))
    await turns()
    Line(traffic).send()
    with pytest.raises(ZeroDivisionError):
        await soon(broken)
    await soon(sound)


async def test_an_error_of_the_script_is_raised_in_every_wait_and_not_again() -> None:
    traffic = new_traffic()
    waits = [asyncio.create_task(traffic.wait(lambda: False)) for _ in range(2)]
    await turns()
    traffic.script_failed(LookupError("script"))
    for wait in waits:
        with pytest.raises(LookupError, match="script"):
            await soon(wait)
    traffic.raise_script_error()


def test_an_error_of_the_script_that_no_wait_has_met_is_raised_once_when_asked_for() -> None:
    traffic = new_traffic()
    traffic.script_failed(LookupError("script"))
    with pytest.raises(LookupError, match="script"):
        traffic.raise_script_error()
    traffic.raise_script_error()


async def test_failing_the_waiters_says_whether_there_was_one() -> None:
    traffic = new_traffic()
    assert not traffic.fail_waiters(OSError("closed"))
    wait = asyncio.create_task(traffic.wait(lambda: False))
    await turns()
    assert traffic.fail_waiters(OSError("closed"))
    assert not traffic.fail_waiters(OSError("again")), "it has its error already"
    with pytest.raises(OSError, match="closed"):
        await soon(wait)
