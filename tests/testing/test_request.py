"""A request as the receiver keeps it, and how its bytes are told apart."""

from __future__ import annotations

import pytest
from support.raw_http import CHUNKED, PLAIN, Post

from relaybox_hooks.testing import Answer, FaultReceiver
from relaybox_hooks.testing.request import event_id_of, split_request


async def test_a_request_is_recorded_whole(post: Post) -> None:
    async with FaultReceiver() as receiver:
        assert await post(receiver.url_for("/hook?x=1")) == (200, b"")
        (request,) = await receiver.wait_for(1)
    assert (request.method, request.path, request.query) == ("POST", "/hook", "x=1")
    assert request.headers["x-relaybox-webhook-ID"] == request.webhook_id == "wh"
    assert request.json() == {"id": request.event_id} == {"id": "e1"}
    assert (request.order, request.connection, request.position) == (1, 1, 1)
    assert (request.fault, request.answered_status) == (Answer(), 200)


@pytest.mark.parametrize("size", range(len(PLAIN)))
def test_a_part_of_a_request_is_none_yet(size: int) -> None:
    assert split_request(bytearray(PLAIN[:size])) is None


@pytest.mark.parametrize(("stream", "body"), [(PLAIN, b"first"), (CHUNKED, b"second")])
def test_a_request_is_told_apart_from_what_follows(stream: bytes, body: bytes) -> None:
    found = split_request(bytearray(stream + PLAIN))
    assert found is not None
    head, read, size = found
    assert (read, size) == (body, len(stream))
    assert stream.startswith(head)


def test_a_chunk_without_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        split_request(bytearray(CHUNKED.replace(b"3;ext", b"x;ext")))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"id":1}', b'{"name":"x"}'])
def test_a_body_without_an_id_carries_no_event(body: bytes) -> None:
    assert event_id_of(body) is None
    assert event_id_of(b'{"id":"e1"}') == "e1"
