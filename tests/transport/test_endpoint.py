"""What an endpoint posts, against mocked answers: small cases that need no server."""

from __future__ import annotations

from aiohttp import ClientSession
from aioresponses import CallbackResult, aioresponses
from yarl import URL

from relaybox_hooks import Session, Webhook
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.transport import plain_post
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.wire.envelope import Envelope

URL_ = "http://hook.test/in?a=1"
WEBHOOK = Webhook(URL_, ["*"], "key", id="w1", headers={"X-Tenant": "acme"})


def endpoint() -> Endpoint:
    return Endpoint(WEBHOOK, Settings())


def envelope() -> Envelope:
    return Envelope.encode("e1", "room:join", {"roomId": "r"}, Session(), 1000, time=0.0)


async def test_what_is_posted(mocked: aioresponses) -> None:
    sent: dict[str, object] = {}

    def answer(url: URL, **options: object) -> CallbackResult:
        sent.update(options, url=url)
        return CallbackResult(status=200)

    mocked.post(URL_, callback=answer)
    prepared = endpoint()
    headers_and_body = prepared.headers_and_body(envelope(), 1_729_602_908.913)
    async with ClientSession() as session:
        await plain_post.post(session, prepared.url, *headers_and_body, None, None)
    assert sent["url"] == URL(URL_)
    assert sent["allow_redirects"] is False
    body, headers = sent["data"], sent["headers"]
    assert isinstance(body, bytes)
    assert body.endswith(b'"timestamp":"2024-10-22T13:15:08.913Z"}')
    assert isinstance(headers, dict)
    assert headers["X-Tenant"] == "acme"
    assert headers["X-Relaybox-Webhook-Id"] == "w1"
    assert len(headers["X-Relaybox-Webhook-Signature"]) == 64
