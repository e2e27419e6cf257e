"""Headers that an async function makes: kept, made anew after a 401, and never shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from support import KEY, ONCE, ROOM, Watch, soon, turns

from relaybox_hooks import Hooks, RetryPolicy, Webhook
from relaybox_hooks.targets.headers import HeadersFunction
from relaybox_hooks.testing import Answer, Fault, FaultReceiver, ReceivedRequest, VirtualClock
from relaybox_hooks.transport.fresh_headers import FreshHeaders, HeadersError

SECRET = "s3cret-token"


class Tokens:
    """Makes ``Authorization: Bearer N``, where N counts the calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.held = asyncio.Event()
        self.held.set()

    async def __call__(self) -> Mapping[str, str]:
        self.calls += 1
        number = self.calls
        await self.held.wait()
        return {"Authorization": f"Bearer {number}"}


def expects(token: str) -> Any:
    """A script that answers 401 to any other token."""

    def answer(request: ReceivedRequest) -> Fault:
        return Answer(200 if request.headers["Authorization"] == token else 401)

    return answer


def webhook_with(headers: HeadersFunction, url: str, **options: Any) -> Webhook:
    return Webhook(url, ["*"], KEY, headers=headers, **{"retry": ONCE, **options})


async def emit(hooks: Hooks, times: int = 1) -> None:
    for number in range(times):
        await hooks.emit("room:join", ROOM, {"connectionId": str(number)})
    await soon(hooks.join())


async def test_they_are_made_once_and_kept() -> None:
    tokens = Tokens()
    async with (
        FaultReceiver(expects("Bearer 1")) as receiver,
        Hooks([webhook_with(tokens, receiver.url)]) as hooks,
    ):
        await emit(hooks, 10)
        await emit(hooks, 10)
        assert hooks.stats().delivered == 20
    assert tokens.calls == 1


async def test_a_401_makes_them_anew_once_for_all_and_costs_no_attempt() -> None:
    tokens, watch = Tokens(), Watch()
    async with FaultReceiver(expects("Bearer 2")) as receiver:
        async with Hooks(
            [webhook_with(tokens, receiver.url, concurrency=8)], observers=[watch]
        ) as hooks:
            await emit(hooks, 8)
            assert (hooks.stats().delivered, hooks.stats().retried) == (8, 0)
        by_event: dict[Any, list[str]] = {}
        for request in receiver.requests:
            by_event.setdefault(request.event_id, []).append(request.json()["timestamp"])
    assert tokens.calls == 2
    assert {attempt.number for attempt in watch.attempts} == {1}
    assert all(len(set(stamps)) == len(stamps) for stamps in by_event.values())
    assert max(map(len, by_event.values())) == 2


async def test_a_second_401_is_final() -> None:
    tokens = Tokens()
    async with FaultReceiver(expects("Bearer none")) as receiver:
        retry = RetryPolicy(attempts=5, initial=0)
        async with Hooks([webhook_with(tokens, receiver.url, retry=retry)]) as hooks:
            await emit(hooks)
            (letter,) = await hooks.dead_letters()
        assert (letter.reason, letter.status, letter.attempts) == ("rejected", 401, 1)
        assert len(receiver.requests) == 2
        assert tokens.calls == 2


async def test_the_next_event_after_a_final_401_asks_anew() -> None:
    tokens = Tokens()
    async with (
        FaultReceiver(expects("Bearer 3")) as receiver,
        Hooks([webhook_with(tokens, receiver.url)]) as hooks,
    ):
        await emit(hooks)
        await emit(hooks)
        assert (hooks.stats().failed, hooks.stats().delivered) == (1, 1)


@pytest.mark.parametrize(
    ("result", "detail"),
    [
        (ValueError(SECRET), "Webhook.headers raised ValueError"),
        ({"X-A": f"{SECRET}\n"}, "Webhook.headers: Webhook.headers='X-A': its value must be"),
        ({"Content-Type": SECRET}, "Webhook.headers: Webhook.headers='Content-Type': the protocol"),
        (SECRET, "Webhook.headers: Webhook.headers='***': give a mapping"),
    ],
    ids=["raises", "a value", "a name", "no mapping"],
)
async def test_a_function_that_fails_is_tried_again_and_its_words_are_not_shown(
    result: Any, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    results = [result, {"X-Token": "good"}]

    async def headers() -> Mapping[str, str]:
        made = results.pop(0)
        if isinstance(made, Exception):
            raise made
        return made  # type: ignore[no-any-return]

    watch = Watch()
    caplog.set_level(logging.DEBUG)
    async with FaultReceiver() as receiver:
        retry = RetryPolicy(attempts=2, initial=0)
        webhook = webhook_with(headers, receiver.url, retry=retry)
        async with Hooks([webhook], observers=[watch]) as hooks:
            await emit(hooks)
            assert (hooks.stats().delivered, hooks.stats().retried) == (1, 1)
    first = watch.attempts[0].outcome
    assert first.error == "HeadersError"
    assert first.detail.startswith(detail)
    assert SECRET not in first.detail + caplog.text + repr(webhook)


async def test_a_function_that_hangs_ends_with_the_attempt() -> None:
    tokens, clock, watch = Tokens(), VirtualClock(), Watch()
    tokens.held.clear()
    async with FaultReceiver() as receiver:
        webhook = webhook_with(tokens, receiver.url)
        async with Hooks([webhook], clock=clock, observers=[watch], logging=False) as hooks:
            await hooks.emit("room:join", ROOM)
            await turns()
            await clock.advance(5.0)
            await soon(hooks.join())
    assert watch.attempts[0].outcome.error == "TimeoutError"


async def test_one_that_waits_takes_over_a_call_that_was_cancelled() -> None:
    tokens = Tokens()
    tokens.held.clear()
    fresh = FreshHeaders("headers", tokens, dict)
    first, second = (asyncio.ensure_future(fresh.get()) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    tokens.held.set()
    assert await soon(second) == {"Authorization": "Bearer 2"}
    assert first.cancelled()


async def test_headers_made_anew_meanwhile_are_kept() -> None:
    tokens = Tokens()
    fresh = FreshHeaders("headers", tokens, dict)
    old = await fresh.get()
    fresh.refuse(old)
    new = await fresh.get()
    fresh.refuse(old)  # by an attempt that had begun before
    assert await fresh.get() is new


async def test_after_an_error_the_function_is_asked_again() -> None:
    calls = 0

    async def headers() -> Mapping[str, str]:
        nonlocal calls
        calls += 1
        raise LookupError

    fresh = FreshHeaders("headers", headers, dict)
    for _ in range(2):
        with pytest.raises(HeadersError, match="raised LookupError"):
            await fresh.get()
    assert calls == 2


async def test_a_hosts_own_session_sends_them_too() -> None:
    tokens = Tokens()
    async with (
        FaultReceiver(expects("Bearer 2")) as receiver,
        aiohttp.ClientSession() as session,
        Hooks([webhook_with(tokens, receiver.url)], http_session=session) as hooks,
    ):
        await emit(hooks)
        assert hooks.stats().delivered == 1
