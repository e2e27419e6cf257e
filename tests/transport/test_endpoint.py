"""One attempt against mocked answers: small cases that need no server."""

from __future__ import annotations

import pytest
from aiohttp import ClientConnectionError, ClientSession
from aioresponses import CallbackResult, aioresponses
from yarl import URL

from relaybox_hooks import RetryPolicy, Session, Timeouts, Webhook
from relaybox_hooks.outcome import Verdict
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.wire.envelope import Envelope

URL_ = "http://hook.test/in?a=1"
WEBHOOK = Webhook(URL_, ["*"], "key", id="w1", headers={"X-Tenant": "acme"})


def endpoint() -> Endpoint:
    return Endpoint(WEBHOOK, RetryPolicy(), Timeouts(), max_response=100)


def envelope() -> Envelope:
    return Envelope.encode("e1", "room:join", {"roomId": "r"}, Session(), 1000, time=0.0)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (302, Verdict.FAILED),
        (400, Verdict.FAILED),
        (404, Verdict.FAILED),
        (410, Verdict.GONE),
        (429, Verdict.RETRY),
        (501, Verdict.FAILED),
        (503, Verdict.RETRY),
    ],
)
async def test_the_status_decides(mocked: aioresponses, status: int, verdict: Verdict) -> None:
    mocked.post(URL_, status=status, body=b"answer", headers={"Retry-After": "7"})
    async with ClientSession() as session:
        outcome, response = await endpoint().send(session, envelope(), lambda: 0.0)
        assert response is not None
        await endpoint().drain(response)
    assert (outcome.verdict, outcome.status) == (verdict, status)
    assert outcome.retry_after == (7 if verdict is Verdict.RETRY else None)


async def test_a_connection_error_is_tried_again(mocked: aioresponses) -> None:
    mocked.post(URL_, exception=ClientConnectionError("no route"))
    async with ClientSession() as session:
        outcome, response = await endpoint().send(session, envelope(), lambda: 0.0)
    assert response is None
    assert (outcome.verdict, outcome.error) == (Verdict.RETRY, "ClientConnectionError")
    assert "no route" in outcome.detail


async def test_what_is_posted(mocked: aioresponses) -> None:
    sent: dict[str, object] = {}

    def answer(url: URL, **options: object) -> CallbackResult:
        sent.update(options, url=url)
        return CallbackResult(status=200)

    mocked.post(URL_, callback=answer)
    async with ClientSession() as session:
        await endpoint().send(session, envelope(), lambda: 1_729_602_908.913)
    assert sent["url"] == URL(URL_)
    assert sent["allow_redirects"] is False
    body, headers = sent["data"], sent["headers"]
    assert isinstance(body, bytes)
    assert body.endswith(b'"timestamp":"2024-10-22T13:15:08.913Z"}')
    assert isinstance(headers, dict)
    assert headers["X-Tenant"] == "acme"
    assert headers["X-Relaybox-Webhook-Id"] == "w1"
    assert len(headers["X-Relaybox-Webhook-Signature"]) == 64
