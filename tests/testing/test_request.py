"""A request as the receiver keeps it, and how its bytes are told apart."""

from __future__ import annotations

from support.raw_http import Post

from relaybox_hooks.testing import Answer, FaultReceiver


async def test_a_request_is_recorded_whole(post: Post) -> None:
    async with FaultReceiver() as receiver:
        assert await post(receiver.url_for("/hook?x=1")) == (200, b"")
        (request,) = await receiver.wait_for(1)
    assert (request.method, request.path, request.query) == ("POST", "/hook", "x=1")
    assert request.headers["x-relaybox-webhook-ID"] == request.webhook_id == "wh"
    assert request.json() == {"id": request.event_id} == {"id": "e1"}
    assert (request.order, request.connection, request.turn) == (1, 1, 1)
    assert (request.fault, request.answered_status) == (Answer(), 200)
