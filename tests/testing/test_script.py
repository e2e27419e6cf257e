"""Scripts choose the fault that each request meets, seeded ones reproducibly."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, get_type_hints

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.raw_http import Post

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing import (
    Answer,
    EndlessBody,
    EndlessHeaders,
    Exchange,
    Fault,
    FaultReceiver,
    FaultScript,
    Garbage,
    Hang,
    Hold,
    Late,
    NeverRead,
    ReceivedRequest,
    Redirect,
    ResetBeforeRead,
    Script,
    Stall,
)


async def test_a_sequence_is_met_in_turn_and_then_all_is_well(post: Post) -> None:
    faults = iter([Answer(500), ResetBeforeRead(), Answer(429)])
    async with FaultReceiver(faults) as receiver:
        assert (await post(receiver.url))[0] == 500
        with pytest.raises(aiohttp.ClientOSError):
            await post(receiver.url)
        assert (await post(receiver.url))[0] == 429
        assert (await post(receiver.url))[0] == 200
        assert (receiver.attempts, len(receiver.requests), receiver.connections) == (4, 3, 2)


async def test_a_script_may_be_a_function_or_differ_by_path(post: Post) -> None:
    class Teapot(Fault):
        def play(self, exchange: Exchange) -> None:
            exchange.write(b"HTTP/1.1 418 Short And Stout\r\nContent-Length: 0\r\n\r\n")
            exchange.finish(418)

    def by_event(request: ReceivedRequest) -> Fault:
        return Teapot() if request.event_id == "tea" else Answer(202)

    script: dict[str, Script] = {
        "/f": by_event,
        "/list": [Answer(500)],
        "/reset": ResetBeforeRead(),
    }
    async with FaultReceiver(script) as receiver:
        assert (await post(receiver.url_for("/f"), "tea"))[0] == 418
        assert (await post(receiver.url_for("/f")))[0] == 202
        statuses = [(await post(receiver.url_for("/list")))[0] for _ in range(2)]
        assert statuses == [500, 200]
        with pytest.raises(aiohttp.ClientOSError):
            await post(receiver.url_for("/reset"))
        assert (await post(receiver.url))[0] == 200


async def test_an_error_of_the_script_reaches_the_test(post: Post) -> None:
    """Once: a wait raises it, or closing does where nobody waited."""

    def broken(request: ReceivedRequest) -> Fault:
        raise ZeroDivisionError

    async with FaultReceiver(broken) as receiver:
        waiting = asyncio.create_task(receiver.wait_until(lambda: bool(receiver.accepted)))
        with pytest.raises(aiohttp.ClientOSError):
            await post(receiver.url)
        with pytest.raises(ZeroDivisionError):
            await waiting
    await receiver.start()
    with pytest.raises(aiohttp.ClientOSError):
        await post(receiver.url)
    with pytest.raises(ZeroDivisionError):
        await receiver.aclose()


async def test_an_error_of_the_script_outlives_a_wait_that_just_ended(post: Post) -> None:
    """The wait for the very request on which the script breaks is not told: closing is."""

    def broken(request: ReceivedRequest) -> Fault:
        raise ZeroDivisionError

    receiver = FaultReceiver(broken)
    await receiver.start()
    sending = asyncio.create_task(post(receiver.url))
    await receiver.wait_for(1)
    with pytest.raises(aiohttp.ClientOSError):
        await sending
    with pytest.raises(ZeroDivisionError):
        await receiver.aclose()


@given(st.randoms(use_true_random=False), st.integers())
def test_a_seed_decides_alike_whatever_the_interleaving(order: random.Random, seed: int) -> None:
    weights = {Answer(status): 1 for status in range(200, 220)} | {ResetBeforeRead(): 1}
    identities = [(path, wh, ev) for path in ("/a", "/b") for wh in "xy" for ev in "123"] * 3

    def meet(sequence: list[tuple[str, str, str]]) -> dict[tuple[str, str, str], list[Fault]]:
        script, met = FaultScript.random(seed, weights), defaultdict(list)
        for path, webhook, event in sequence:
            request = ReceivedRequest("POST", path, "", 1, 1, 1, webhook, event, b"", b"")
            met[path, webhook, event].append(script.choose(request))
        return met

    expected = meet(identities)
    order.shuffle(identities)
    assert meet(identities) == expected


def a_request(connection: int, event_id: str = "e1") -> ReceivedRequest:
    return ReceivedRequest("POST", "/", "", 1, connection, 1, "wh", event_id, b"", b"")


def test_a_sequence_keeps_each_fault_until_it_can_play() -> None:
    faults = [NeverRead(), Answer(500), Stall(), NeverRead(), ResetBeforeRead(), Answer(501)]
    script = FaultScript.of(faults)
    assert script.accept(1) == NeverRead()
    assert (script.accept(2), script.begin(2, 1)) == (None, None)
    assert script.choose(a_request(2)) == Answer(500)
    assert script.begin(2, 2) == Stall(), "the connection is open already"
    assert script.accept(3) == NeverRead()
    assert (script.accept(4), script.accept(5)) == (None, None)
    assert script.begin(5, 1) == ResetBeforeRead()
    assert (script.begin(4, 1), script.choose(a_request(4))) == (None, Answer(501))


def test_a_script_that_needs_the_request_chooses_nothing_before_it() -> None:
    for needs in (lambda request: NeverRead(), {"/": NeverRead()}):
        script = FaultScript.of(needs)
        assert (script.accept(1), script.begin(1, 1)) == (None, None)
        assert script.choose(a_request(1)) == NeverRead()


@pytest.mark.parametrize("by_path", [False, True])
def test_a_seeded_script_chooses_among_connections_too(by_path: bool) -> None:
    weights = {Stall(): 1, NeverRead(): 2, ResetBeforeRead(): 2, Answer(): 4, Hang(): 1}

    def meet() -> list[Fault]:
        script = FaultScript.random("seed", weights)
        if by_path:
            script = FaultScript.of({"/": script})
        return [
            script.accept(number) or script.begin(number, 1) or script.choose(a_request(number))
            for number in range(4000)
        ]

    met = meet()
    assert met == meet()
    assert {fault: round(met.count(fault) / 400) for fault in weights} == weights
    script = FaultScript.random("seed", {NeverRead(): 1})
    assert {script.accept(number) for number in range(100)} == {NeverRead()}


@pytest.mark.parametrize("by_path", [False, True])
def test_a_seeded_script_keeps_to_its_weights(by_path: bool) -> None:
    weights = {ResetBeforeRead(): 2, Answer(): 6, Hang(): 2, Garbage(): 0}
    script, met = FaultScript.random("seed", weights), Counter[Fault]()
    if by_path:
        script = FaultScript.of({"/": script})
    for number in range(4000):
        request = ReceivedRequest("POST", "/", "", 1, number, 1, "wh", str(number), b"", b"")
        met[script.begin(number, 1) or script.choose(request)] += 1
    assert {fault: round(met[fault] / 400) for fault in weights} == weights


@pytest.mark.parametrize(
    ("option", "make"),
    [
        ("seed", lambda: FaultReceiver([], seed=1)),
        ("weights", lambda: FaultScript.random(1, {})),
        ("weights", lambda: FaultScript.random(1, {Answer(): 2, Hang(): -1})),
    ],
)
def test_a_script_that_cannot_work_is_refused_at_construction(option: str, make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.option == option


@pytest.mark.parametrize("function", [FaultReceiver.__init__, FaultScript.of, FaultScript.random])
def test_annotations_can_be_read_at_run_time(function: Callable[..., object]) -> None:
    assert "return" in get_type_hints(function)


@pytest.mark.parametrize("fault_of", [lambda f: Late(f, 0), Hold], ids=["late", "held"])
async def test_an_error_in_a_fault_played_later_surfaces(
    fault_of: Callable[[Fault], Fault], session: aiohttp.ClientSession
) -> None:
    class Broken(Fault):
        def play(self, exchange: Exchange) -> None:
            raise LookupError("broken on purpose")

    receiver = FaultReceiver(fault_of(Broken()))
    await receiver.start()
    request = asyncio.ensure_future(session.post(receiver.url))
    await receiver.wait_for(1)
    receiver.release()
    with pytest.raises(aiohttp.ClientError):
        await request
    with pytest.raises(LookupError, match="on purpose"):
        await receiver.aclose()


@pytest.mark.parametrize("fault", [Redirect, EndlessBody, EndlessHeaders])
def test_a_status_that_ends_nothing_is_refused(fault: Callable[..., Fault]) -> None:
    with pytest.raises(ConfigError, match="status=99"):
        fault(**{"status": 99, **({"location": "/"} if fault is Redirect else {})})
