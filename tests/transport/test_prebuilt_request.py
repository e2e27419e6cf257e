"""A request in one piece is the request that aiohttp itself would make."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import (
    ClientConnectionResetError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    __version__,
)
from support import KEY, header_fields
from yarl import URL

from relaybox_hooks import EgressPolicy, Hooks, Webhook
from relaybox_hooks.testing import Answer, FaultReceiver, ReceivedRequest
from relaybox_hooks.transport import prebuilt_request as posting
from relaybox_hooks.transport.prebuilt_request import open_session


async def delivered(webhook: Webhook, status: str = "away", **options: Any) -> None:
    """Emit one event to ``webhook`` and see it through."""
    async with Hooks([webhook], **options) as hooks:
        await hooks.emit("user:status:update", {"status": status}, {"connectionId": "c1"})
        await hooks.join()
        assert (hooks.stats().delivered, hooks.stats().retried) == (1, 0)


def fields(request: ReceivedRequest) -> dict[str, str]:
    """The header fields with the names as they were written, but for what differs each time."""
    return header_fields(request) | {"X-Relaybox-Webhook-Signature": ""}


@pytest.mark.parametrize("target", ["", "hook?a=1&b=%2F#fragment", "räume?x=ü"])
@pytest.mark.parametrize("headers", [{}, {"X-Tenant": "a\tb", "accept": "text/plain"}])
async def test_both_ways_make_the_same_request(
    target: str, headers: dict[str, str], receiver: FaultReceiver
) -> None:
    webhook = Webhook(receiver.url + target, ["*"], KEY, headers=headers)
    await delivered(webhook)
    async with ClientSession() as session:
        await delivered(webhook, http_session=session)
    ours, theirs = receiver.requests
    assert ours.head.split(b"\r\n")[0] == theirs.head.split(b"\r\n")[0]
    assert fields(ours) == fields(theirs)
    assert set(ours.json()) == set(theirs.json())


async def test_letters_are_taken_with_the_releases_that_were_tried_and_no_other() -> None:
    """With another release deliveries work all the same, but each costs a third more."""
    tried = __version__.startswith("3.14.")
    assert posting.fits(__version__, ClientRequest, ClientResponse) == tried
    session = open_session(EgressPolicy.DEFAULT)
    assert posting.takes_prebuilt(session) == tried
    await session.close()


async def test_another_aiohttp_is_used_as_it_is(
    receiver: FaultReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Otherwise(ClientRequest):
        """What has no method of its own to override, as after a renaming."""

    assert not posting.fits(__version__, Otherwise, ClientResponse)
    assert not posting.fits(__version__, ClientRequest, object)
    assert not posting.fits("3.99.0", ClientRequest, ClientResponse)
    monkeypatch.setattr(posting, "ClientRequest", Otherwise)
    await delivered(Webhook(receiver.url, ["*"], KEY))
    session = open_session(EgressPolicy.DEFAULT)
    assert not posting.takes_prebuilt(session)
    await session.close()


@pytest.mark.parametrize("size", [posting.AT_ONCE - 1000, posting.AT_ONCE, 300_000])
async def test_bodies_of_any_length_arrive_whole(size: int, receiver: FaultReceiver) -> None:
    """The longer ones are left to aiohttp."""
    for status in ("x" * size, "short"):
        await delivered(Webhook(receiver.url, ["*"], KEY), status)
    assert [request.json()["data"]["status"] for request in receiver.requests] == [
        "x" * size,
        "short",
    ]


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\n", "a\r", "a\0"])
def test_no_header_begins_another_line(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        posting.write("", {"X-Trace": value}, b"{}")


async def test_a_connection_that_is_closed_takes_no_letter(receiver: FaultReceiver) -> None:
    """Else the letter would be lost without a word, and its answer waited for."""
    async with open_session(EgressPolicy.DEFAULT) as session:

        class Closing(posting.PostRequest):
            """Whose connection closes when it is about to be used."""

            async def send(self, conn: Any) -> ClientResponse:
                conn.transport.abort()
                return await super().send(conn)

        url = URL(receiver.url)
        letter = posting.write(posting.start_of(url, {}), {}, b"{}")
        async with ClientSession(request_class=Closing) as closing:
            with pytest.raises(ClientConnectionResetError):
                await closing.post(url, data=letter)
        response = await session.post(url, data=letter)
        assert response.status == 200
        await response.read()
    assert len(receiver.requests) == 1


async def test_answers_longer_than_what_is_read_at_a_time_are_read_whole() -> None:
    """The size is an attribute of asyncio's transports; it is not there to be relied upon."""
    transports: list[Any] = []

    class Noting(posting.PostRequest):
        """Notes which transport it was written to."""

        async def send(self, conn: Any) -> ClientResponse:
            transports.append(conn.transport)
            return await super().send(conn)

    body = bytes(range(256)) * 1000
    async with (
        FaultReceiver(Answer(200, body=body)) as receiver,
        ClientSession(request_class=Noting) as session,
    ):
        url = URL(receiver.url)
        for _ in range(2):
            response = await session.post(
                url, data=posting.write(posting.start_of(url, {}), {}, b"{}")
            )
            assert await response.read() == body
    first, second = transports
    assert first is second
    assert getattr(first, "max_size", posting.READ_SIZE) == posting.READ_SIZE  # not uvloop's
