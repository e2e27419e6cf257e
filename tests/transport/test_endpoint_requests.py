"""What goes over the wire, to the byte, judged by the standard library and rfc8785 alone."""

from __future__ import annotations

import asyncio
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import rfc8785
from aiohttp import ClientSession
from support import KEY, header_fields

import relaybox_hooks
from relaybox_hooks import Attempt, Hooks, Observer, RetryPolicy, Session, Webhook
from relaybox_hooks.events import PresenceData
from relaybox_hooks.testing import Answer, FaultReceiver, Redirect, ResetAfterRead
from relaybox_hooks.testing.clock import VirtualClock

DATA: PresenceData = {
    "roomId": "chat:one",
    "userData": {
        "b": 1.0,
        "a": [1e21, -0.0, 0.1, 2**53 - 1, 1e-7, float("nan"), float("inf")],
        "\U0001f600": 'quote " backslash \\ newline \n',
        "\ufb33": "\u2028\x7f\x01é",
        "": None,
    },
}


class Attempts(Observer):
    """Hands a test each attempt as it comes to its outcome."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Attempt] = asyncio.Queue()

    def attempted(self, attempt: Attempt) -> None:
        self.queue.put_nowait(attempt)


def signature(body: bytes, key: str = KEY) -> str:
    """As the protocol has it, from the parsed body."""
    canonical = rfc8785.dumps(json.loads(body, parse_int=float))
    to_sign = json.dumps(canonical.decode(), ensure_ascii=False).encode()
    return hmac.new(key.encode(), to_sign, "sha256").hexdigest()


async def test_a_request_is_exact_to_the_byte(receiver: FaultReceiver) -> None:
    clock = VirtualClock(1_729_602_908.9139)
    webhook = Webhook(
        receiver.url_for("/hook") + "?a=1#fragment",
        ["room:join"],
        KEY,
        id="w1",
        headers={"X-Tenant": "acme, inc", "Authorization": "Bearer token"},
    )
    async with Hooks([webhook], clock=clock) as hooks:
        receipt = await hooks.emit("room:join", {"roomId": "chat:one"}, {"connectionId": "c1"})
        await hooks.join()
    (request,) = receiver.requests
    body = (
        '{"data":{"roomId":"chat:one"},"event":"room:join","id":"' + receipt.event_id + '",'
        '"session":{"appPid":null,"clientId":null,"connectionId":"c1","exp":null,"keyId":null,'
        '"socketId":null,"timestamp":null,"user":null},"timestamp":"2024-10-22T13:15:08.913Z"}'
    ).encode()
    assert request.body == body
    assert request.head.split(b"\r\n")[0] == b"POST /hook?a=1 HTTP/1.1"
    assert header_fields(request) == {
        "Host": receiver.url.removeprefix("http://").rstrip("/"),
        "Content-Type": "application/json",
        "X-Relaybox-Webhook-Signature": signature(body),
        "X-Relaybox-Webhook-Id": "w1",
        "User-Agent": f"relaybox-hooks/{relaybox_hooks.__version__}",
        "X-Tenant": "acme, inc",
        "Authorization": "Bearer token",
        "Content-Length": str(len(body)),
        # aiohttp's own
        "Accept": "*/*",
        "Accept-Encoding": header_fields(request)["Accept-Encoding"],
    }


@pytest.mark.parametrize(
    ("registered", "requested"),
    [
        ("/hook?sig=a%2Fb%3D&x=%20", "/hook?sig=a%2Fb%3D&x=%20"),
        ("/a%2Fb/%7Ec", "/a%2Fb/%7Ec"),
        ("/räume?x=ü", "/r%C3%A4ume?x=%C3%BC"),
    ],
)
async def test_a_url_is_requested_as_it_was_registered(
    registered: str, requested: str, receiver: FaultReceiver
) -> None:
    """A pre-signed URL holds no longer once an escape in it is written otherwise."""
    webhook = Webhook(receiver.url.rstrip("/") + registered, ["room:join"], KEY)
    async with Hooks([webhook]) as hooks:
        await hooks.emit("room:join", {"roomId": "chat:one"})
    assert receiver.requests[0].head.split(b" ")[1] == requested.encode()


async def test_the_body_is_the_canonical_text_of_what_was_emitted(receiver: FaultReceiver) -> None:
    session = Session(
        app_pid="app",
        exp=1.5e9,
        user={"id": "ü", "zeta": 1e16, "Alpha": [2.0]},  # type: ignore[arg-type]
    )
    async with Hooks([Webhook(receiver.url, ["*"], "ключ", id="w1")]) as hooks:
        await hooks.emit("presence:join", DATA, session)
        await hooks.join()
    (request,) = receiver.requests
    value = json.loads(request.body)
    sent: Any = json.loads(json.dumps(DATA).replace("NaN", "null").replace("Infinity", "null"))
    assert value["data"] == sent
    assert value["session"]["user"]["zeta"] == 1e16
    assert request.body == rfc8785.dumps(json.loads(request.body, parse_int=float))
    assert request.headers["X-Relaybox-Webhook-Signature"] == signature(request.body, "ключ")
    assert request.headers["X-Relaybox-Webhook-Signature"] != signature(request.body, KEY)


async def test_every_event_is_sent_with_all_five_members(receiver: FaultReceiver) -> None:
    async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
        await hooks.emit("auth:session:initialize")
        await hooks.join()
    body = receiver.requests[0].json()
    assert list(body) == ["data", "event", "id", "session", "timestamp"]
    assert body["data"] is None
    assert len(body["session"]) == 8
    assert set(body["session"].values()) == {None}


async def test_what_changes_after_emit_changes_nothing_on_the_wire(
    receiver: FaultReceiver,
) -> None:
    """Neither the data, nor the session's mapping, nor what is nested in them."""
    receiver.hold()
    data: PresenceData = {"roomId": "before", "userData": {"tags": ["before"]}}
    session: dict[str, Any] = {"clientId": "before", "user": {"id": "before", "tags": ["before"]}}
    async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
        for _ in range(2):
            await hooks.emit("presence:join", data, session)
        await receiver.wait_for(1)
        data["roomId"] = "after"
        data["userData"]["tags"].append("after")
        session["clientId"] = "after"
        session["user"]["id"] = "after"
        session["user"]["tags"].append("after")
        receiver.release()
        await hooks.join()
    assert len(receiver.requests) == 2
    for request in receiver.requests:
        assert b"after" not in request.body
        assert request.json()["data"] == {"roomId": "before", "userData": {"tags": ["before"]}}


async def test_one_id_across_webhooks_and_attempts_each_signed_anew() -> None:
    """Each attempt carries the time it was made and a signature over it; the rest stays."""
    clock, attempts = VirtualClock(), Attempts()
    retry = RetryPolicy(initial=10, factor=1, jitter=0)
    async with FaultReceiver({"/sick": [Answer(503), ResetAfterRead(), Answer(200)]}) as receiver:
        webhooks = [
            Webhook(receiver.url_for("/well"), ["*"], "key one", id="well"),
            Webhook(receiver.url_for("/sick"), ["*"], "key two", id="sick"),
        ]
        options: dict[str, Any] = {"clock": clock, "retry": retry, "observers": [attempts]}
        async with Hooks(webhooks, keepalive=0, **options) as hooks:
            receipt = await hooks.emit("room:join", {"roomId": "r"})
            for _ in range(2):
                await attempts.queue.get()
            for _ in range(2):
                await clock.advance(10)
                await attempts.queue.get()
            await hooks.join()
            assert hooks.stats().retried == 2
    well = [request for request in receiver.requests if request.path == "/well"]
    sick = [request for request in receiver.requests if request.path == "/sick"]
    assert [len(well), len(sick)] == [1, 3]
    stamps = [
        datetime.fromtimestamp(1_700_000_000 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        for seconds in (0, 10, 20)
    ]
    assert [request.json()["timestamp"] for request in sick] == stamps
    assert {request.json()["id"] for request in well + sick} == {receipt.event_id}
    bodies = {request.body.partition(b'"timestamp":"2')[0] for request in well + sick}
    assert len(bodies) == 1
    for request in sick:
        sent = request.headers["X-Relaybox-Webhook-Signature"]
        assert sent == signature(request.body, "key two")
        assert request.headers["X-Relaybox-Webhook-Id"] == "sick"
    assert len({request.headers["X-Relaybox-Webhook-Signature"] for request in sick}) == 3


async def test_redirects_are_final_and_not_followed() -> None:
    script = {"/": Redirect("/elsewhere", status=307)}
    async with FaultReceiver(script) as receiver:
        async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
            await hooks.emit("room:join", {"roomId": "r"})
            await hooks.join()
        assert [request.path for request in receiver.requests] == ["/"]
        (letter,) = await hooks.dead_letters()
    assert (letter.reason, letter.status, letter.attempts) == ("rejected", 307, 1)
    assert "register the final URL" in str(letter)


async def test_no_cookie_is_sent_back() -> None:
    async with FaultReceiver(Answer(200, {"Set-Cookie": "session=1; Path=/"})) as receiver:
        async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
            for _ in range(2):
                await hooks.emit("room:join", {"roomId": "r"})
                await hooks.join()
        assert len(receiver.requests) == 2
        assert all("Cookie" not in request.headers for request in receiver.requests)


async def test_no_proxy_is_taken_from_the_environment(
    receiver: FaultReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultReceiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
            await hooks.emit("room:join", {"roomId": "r"})
            await hooks.join()
        assert (len(receiver.requests), proxy.attempts) == (1, 0)


async def test_connections_are_used_again(receiver: FaultReceiver) -> None:
    async with Hooks([Webhook(receiver.url, ["*"], KEY)]) as hooks:
        for _ in range(5):
            await hooks.emit("room:join", {"roomId": "r"})
            await hooks.join()
        assert receiver.connections == 1


# The host's own session


async def test_a_hosts_session_is_used_and_left_open(receiver: FaultReceiver) -> None:
    async with ClientSession(headers={"X-Host": "yes", "User-Agent": "host"}) as session:
        async with Hooks([Webhook(receiver.url, ["*"], KEY)], http_session=session) as hooks:
            await hooks.emit("room:join", {"roomId": "r"})
            await hooks.join()
        assert not session.closed
    (request,) = receiver.requests
    assert request.headers["X-Host"] == "yes"
    assert request.headers["User-Agent"] == f"relaybox-hooks/{relaybox_hooks.__version__}"


@pytest.mark.parametrize(("status", "reason"), [(404, "rejected"), (410, "rejected")])
async def test_a_hosts_session_that_raises_for_status_changes_no_verdict(
    status: int, reason: str
) -> None:
    async with (
        FaultReceiver(Answer(status)) as receiver,
        ClientSession(raise_for_status=True) as session,
        Hooks([Webhook(receiver.url, ["*"], KEY)], http_session=session) as hooks,
    ):
        await hooks.emit("room:join", {"roomId": "r"})
        await hooks.join()
        (letter,) = await hooks.dead_letters()
        assert (letter.status, letter.reason, letter.attempts) == (status, reason, 1)
        assert hooks.webhooks[0].enabled == (status != 410)
        assert len(receiver.requests) == 1


async def test_a_hosts_session_that_is_closed_fails_deliveries_and_nothing_else(
    receiver: FaultReceiver,
) -> None:
    async with ClientSession() as session:
        pass
    webhook = Webhook(receiver.url, ["*"], KEY, retry=RetryPolicy(attempts=1))
    async with Hooks([webhook], http_session=session) as hooks:
        await hooks.emit("room:join", {"roomId": "r"})
        await hooks.join()
        (letter,) = await hooks.dead_letters()
    assert (letter.reason, letter.error) == ("exhausted", "RuntimeError")
