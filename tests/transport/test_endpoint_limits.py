"""Limits: of what is sent, of what is read, and of what may be registered at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from support import KEY, Watch, dispatcher, emit, soon, webhook_to

from relaybox_hooks import ConfigError, Hooks, PayloadError, RetryPolicy, Webhook
from relaybox_hooks.testing import (
    Answer,
    CloseMidResponse,
    EndlessBody,
    EndlessHeaders,
    Fault,
    FaultReceiver,
)
from relaybox_hooks.testing.clock import VirtualClock

#: The bytes of a body around ``data``, for an event of no session called ``note``.
FRAME = len(
    '{"data":"","event":"note","id":"01a20944-9f2d-7118-a9a1-88a42e03371f","session":'
    '{"appPid":null,"clientId":null,"connectionId":null,"exp":null,"keyId":null,'
    '"socketId":null,"timestamp":null,"user":null},"timestamp":"2024-10-22T13:15:08.913Z"}'
)


# Bodies on the way out


@pytest.mark.parametrize("limit", [FRAME + 1, 300, 4096])
async def test_a_body_may_have_max_body_bytes_and_not_one_more(limit: int) -> None:
    """A refused one names the path and the sizes, and nobody receives anything."""
    async with (
        FaultReceiver() as receiver,
        dispatcher(webhook_to(receiver), max_body=limit, custom_events=["note"]) as hooks,
    ):
        seen: list[object] = []
        hooks.add_subscriber("note", lambda event: seen.append(event.data))
        await hooks.emit("note", "x" * (limit - FRAME))
        with pytest.raises(PayloadError) as caught:
            await hooks.emit("note", "x" * (limit - FRAME + 1))
        await soon(hooks.join())
        assert hooks.stats().accepted == 2
    assert [len(request.body) for request in receiver.requests] == [limit]
    assert len(seen) == 1
    assert caught.value.path == "data"
    assert f"{limit + 1} bytes" in caught.value.reason


async def test_the_limit_is_of_bytes_not_of_characters() -> None:
    async with (
        FaultReceiver() as receiver,
        dispatcher(webhook_to(receiver), max_body=FRAME + 4, custom_events=["note"]) as hooks,
    ):
        await hooks.emit("note", "\N{GRINNING FACE}")
        with pytest.raises(PayloadError):
            await hooks.emit("note", "\N{GRINNING FACE}e")
        await soon(hooks.join())
    assert len(receiver.requests[0].body) == FRAME + 4


async def test_bodies_of_several_mebibytes_arrive_where_they_are_allowed() -> None:
    """aiohttp warns of them, and warnings may be errors in the host's process."""
    text = "x" * 3_000_000
    async with (
        FaultReceiver() as receiver,
        dispatcher(
            webhook_to(receiver), max_body=4_000_000, custom_events=["note"], retry=None
        ) as hooks,
    ):
        await hooks.emit("note", text)
        await soon(hooks.join())
        assert hooks.stats().delivered == 1
    assert receiver.requests[0].json()["data"] == text


@pytest.mark.parametrize(
    "options", [{"max_body": 0}, {"max_body": 1.5}, {"max_response": -1}, {"max_response": None}]
)
def test_a_limit_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Hooks(**options)
    assert caught.value.option in options


# Bodies on the way in


@pytest.mark.parametrize(
    "fault",
    [
        EndlessBody(interval=3600),
        CloseMidResponse(Answer(200, body=b"cut short"), after_bytes=3),
        Answer(200, {"Content-Length": "5"}, b""),
        Answer(204),
        Answer(201, {"Content-Encoding": "gzip"}, b"not gzip at all"),
    ],
    ids=["drips for ever", "cut short", "promises a body", "no content", "wrong encoding"],
)
async def test_the_status_decides_whatever_becomes_of_the_body(
    clock: VirtualClock, watch: Watch, fault: Fault
) -> None:
    async with (
        FaultReceiver(fault) as receiver,
        dispatcher(webhook_to(receiver), clock=clock, observers=[watch]) as hooks,
    ):
        await emit(hooks)
        await soon(receiver.wait_for(1))
        await clock.advance(5)  # the time-out holds for the body too
        await soon(hooks.join())
        assert hooks.stats().delivered == 1


async def test_an_endless_body_is_read_to_the_bound_and_no_further(
    clock: VirtualClock, watch: Watch
) -> None:
    """As fast as it comes: the connection is closed long before the time-out."""
    async with FaultReceiver(EndlessBody()) as receiver:
        webhook = webhook_to(receiver)
        async with dispatcher(
            webhook, clock=clock, observers=[watch], max_response=10_000
        ) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
            assert hooks.stats().delivered == 1
    assert clock.monotonic() == 0.0


@pytest.mark.parametrize(("size", "connections"), [(0, 1), (1, 1), (10_000, 1), (300_000, 3)])
async def test_a_connection_is_used_again_where_the_body_was_small(
    clock: VirtualClock, size: int, connections: int
) -> None:
    async with (
        FaultReceiver(Answer(200, body=b"x" * size)) as receiver,
        dispatcher(webhook_to(receiver), clock=clock, max_response=10_000) as hooks,
    ):
        for _ in range(3):
            await emit(hooks)
            await soon(hooks.join())
    assert receiver.connections == connections


async def test_many_deliveries_share_few_connections(clock: VirtualClock) -> None:
    async with FaultReceiver() as receiver:
        webhook = webhook_to(receiver, concurrency=3)
        async with dispatcher(webhook, clock=clock) as hooks:
            for _ in range(60):
                await emit(hooks)
            await soon(hooks.join())
    assert len(receiver.requests) == 60
    assert receiver.connections <= 3


# Heads on the way in


@pytest.mark.parametrize(
    "fault",
    [
        Answer(200, {"X-Long": "a" * 140_000}),
        Answer(200, {f"X-{n}": "a" for n in range(20_000)}),
        EndlessHeaders(),
    ],
    ids=["a long one", "many", "without end"],
)
async def test_a_response_head_beyond_the_limits_is_an_error_that_may_pass(
    watch: Watch, fault: Fault
) -> None:
    async with FaultReceiver(fault) as receiver:
        webhook = webhook_to(receiver, retry=RetryPolicy(attempts=2, initial=0))
        async with dispatcher(webhook, observers=[watch]) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            await soon(receiver.wait_until(lambda: receiver.connected == 0))
    (letter,) = watch.letters
    assert (letter.reason, letter.attempts, letter.status) == ("exhausted", 2, None)
    assert letter.error == "ResponseError"
    assert len(str(letter)) < 400, "what the endpoint sent is not kept"
    assert "a" * 12 not in str(letter)


async def test_a_response_head_just_within_the_limits_is_read(watch: Watch) -> None:
    headers = {f"X-{n}": "a" * 100 for n in range(500)} | {"X-Long": "a" * 7000}
    async with (
        FaultReceiver(Answer(200, headers)) as receiver,
        dispatcher(webhook_to(receiver), observers=[watch]) as hooks,
    ):
        await emit(hooks)
        await soon(hooks.join())
        assert hooks.stats().delivered == 1


# Registration


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a\r\nX-Injected: yes",
        "http://127.0.0.1/a b",
        "http://127.0.0.1\n/",
        "http://127.0.0.1/\x00",
        "http://127.0.0.1/\x7f",
        "http://",
        "http:///path",
        "//127.0.0.1/",
        "/path",
        "",
        "ftp://127.0.0.1/",
        "ws://127.0.0.1/",
        "http+unix://%2Fsocket/",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        None,
        b"http://127.0.0.1/",
    ],
)
def test_a_url_that_cannot_be_called_is_refused(url: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook(url, ["*"], KEY)
    assert caught.value.option == "Webhook.url"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:t0psecret@127.0.0.1/",
        "http://t0psecret@127.0.0.1/",
        "http://:t0psecret@127.0.0.1/",
        "http://user:t0psecret@127.0.0.1:99999/",
        "http://user:t0psecret@127.0.0.1 /",
        "ftp://user:t0psecret@127.0.0.1/",
        "http://user:t0psecret@/",
    ],
)
def test_user_info_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook(url, ["*"], KEY)
    assert "t0psecret" not in str(caught.value)
    assert "t0psecret" not in str(caught.value.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Bad": "a\r\nX-Injected: yes"},
        {"X-Bad": "a\nb"},
        {"X-Bad": "a\x00b"},
        {"X-Bad": "\x7f"},
        {"X-Bad": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
        {"X-Bad": 5},
        {"X-Bad": None},
        {"X-Bad\r\nX-Injected": "yes"},
        {"X Bad": "a"},
        {"X-Bad:": "a"},
        {"": "a"},
        {5: "a"},
        {"X-Twice": "a", "x-twice": "b"},
    ],
)
def test_a_header_that_could_break_the_request_is_refused(headers: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook("http://127.0.0.1/", ["*"], KEY, headers=headers)
    assert caught.value.option == "Webhook.headers"


@pytest.mark.parametrize(
    "name",
    [
        "Content-Type",
        "content-type",
        "User-Agent",
        "X-Relaybox-Webhook-Signature",
        "x-relaybox-webhook-id",
        "Content-Length",
        "Transfer-Encoding",
        "Content-Encoding",
        "Host",
        "Connection",
        "Expect",
        "Upgrade",
        "TE",
        "Trailer",
    ],
)
def test_the_protocol_s_own_headers_cannot_be_replaced(name: str) -> None:
    with pytest.raises(ConfigError, match="the protocol sets this header itself"):
        Webhook("http://127.0.0.1/", ["*"], KEY, headers={name: "a"})


def test_a_refused_header_s_value_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook("http://127.0.0.1/", ["*"], KEY, headers={"Authorization": "t0psecret\n"})
    assert "t0psecret" not in str(caught.value)
    assert "t0psecret" not in str(caught.value.value)


@pytest.mark.parametrize("webhook_id", ["a\r\nb", "a b", "\N{SNOWMAN}", "\x00", 5])
def test_an_id_that_no_header_can_carry_is_refused(webhook_id: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook("http://127.0.0.1/", ["*"], KEY, id=webhook_id)
    assert caught.value.option == "Webhook.id"


async def test_custom_headers_and_the_query_are_sent_as_they_are(clock: VirtualClock) -> None:
    async with FaultReceiver() as receiver:
        webhook = webhook_to(
            receiver,
            "/hook?token=a%2Bb",
            id="w",
            headers={"Authorization": "Bearer x", "X-Tab": "a\tb"},
        )
        async with dispatcher(webhook, clock=clock) as hooks:
            await emit(hooks)
            await soon(hooks.join())
    (request,) = receiver.requests
    assert (request.path, request.query) == ("/hook", "token=a%2Bb")
    assert request.headers["Authorization"] == "Bearer x"
    assert request.headers["X-Tab"] == "a\tb"
    assert request.headers["X-Relaybox-Webhook-Id"] == "w"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("relaybox-hooks/")
