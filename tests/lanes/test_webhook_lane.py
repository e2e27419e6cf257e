"""Attempts as a real endpoint sees them, on a clock that only the tests move."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession
from support import KEY, STEADY, Watch, dispatcher, emit, sent_at, soon, webhook_to

from relaybox_hooks import (
    Hooks,
    RetryPolicy,
    verify_webhook_signature,
)
from relaybox_hooks.testing import (
    Answer,
    EndlessHeaders,
    Fault,
    FaultReceiver,
    Garbage,
    ReceivedRequest,
    Redirect,
    ResetAfterRead,
    ResetBeforeRead,
)
from relaybox_hooks.testing.clock import VirtualClock


def assert_genuine(request: ReceivedRequest) -> None:
    signature = request.headers["X-Relaybox-Webhook-Signature"]
    assert verify_webhook_signature(request.body, signature, KEY)


# The schedule


async def test_each_webhook_has_its_own_policies(clock: VirtualClock, watch: Watch) -> None:
    async with FaultReceiver(Answer(404)) as receiver:
        patient = webhook_to(
            receiver,
            "/patient",
            retry=RetryPolicy(attempts=2, initial=9, jitter=0, statuses=[404]),
        )
        async with dispatcher(
            patient, webhook_to(receiver, "/plain"), clock=clock, observers=[watch], retry=STEADY
        ) as hooks:
            await emit(hooks)
            await watch.attempted_times(2)
            await clock.advance(9)
            await watch.attempted_times(3)
    verdicts = {letter.webhook_id: (letter.reason, letter.attempts) for letter in watch.letters}
    assert verdicts == {"patient": ("exhausted", 2), "plain": ("rejected", 1)}


# What leads to a retry


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        *((Answer(status), status) for status in (408, 425, 429, 500, 502, 503, 504)),
        (ResetAfterRead(), "ClientOSError"),
        (ResetBeforeRead(), "ClientOSError"),
        (Garbage(), "ResponseError"),
        (Garbage(b""), "ServerDisconnectedError"),
        (Garbage(b"HTTP/1.1 200 OK\r\nContent-Le"), "ServerDisconnectedError"),
        (EndlessHeaders(), "ResponseError"),
    ],
    ids=str,
)
async def test_it_is_tried_again_with_the_same_id_and_signed_anew(
    clock: VirtualClock, watch: Watch, fault: Fault, what: object
) -> None:
    async with FaultReceiver([fault]) as receiver:
        webhook = webhook_to(receiver, retry=STEADY)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            event_id = await emit(hooks)
            attempt = await watch.attempted_times(1)
            assert (attempt.outcome.status or attempt.outcome.error) == what
            assert len(attempt.outcome.detail) <= 200
            assert attempt.next_in == 0.5
            await clock.advance(0.5)
            await soon(hooks.join())
            assert hooks.stats().delivered == 1
            assert hooks.stats().retried == 1
    for request in receiver.requests:
        assert request.event_id == event_id
        assert_genuine(request)
    assert sent_at(receiver.requests[-1]) == "2023-11-14T22:13:20.500Z"
    assert len(
        {request.headers["X-Relaybox-Webhook-Signature"] for request in receiver.requests}
    ) == len(receiver.requests)


async def test_a_refused_connection_names_its_cause(clock: VirtualClock, watch: Watch) -> None:
    async with FaultReceiver() as receiver:
        webhook = webhook_to(receiver, retry=STEADY)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await receiver.aclose()
            await emit(hooks)
            attempt = await watch.attempted_times(1)
            assert attempt.outcome.error == "ClientConnectorError(ConnectionRefusedError)"
            assert attempt.outcome.peer is None
            await receiver.start()
            await clock.advance(0.5)
            await soon(hooks.join())
            assert hooks.stats().delivered == 1


async def test_a_refused_attempt_shows_in_the_letter_with_class_and_cause(
    clock: VirtualClock, watch: Watch
) -> None:
    async with FaultReceiver(ResetAfterRead()) as receiver:
        webhook = webhook_to(receiver, retry=RetryPolicy(attempts=1))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            await soon(hooks.join())
    (letter,) = watch.letters
    assert (letter.status, letter.error) == (None, "ClientOSError")
    assert "Connection reset by peer" in str(letter)


# What is final


@pytest.mark.parametrize(
    "fault",
    [
        *(Answer(status, {"Retry-After": "1"}) for status in (304, 400, 401, 403, 404, 422)),
        *(Answer(status) for status in (501, 505, 511, 599)),
        *(Redirect("/elsewhere", status) for status in (301, 302, 303, 307, 308)),
    ],
    ids=str,
)
async def test_any_other_answer_is_final(clock: VirtualClock, watch: Watch, fault: Fault) -> None:
    async with (
        FaultReceiver(fault) as receiver,
        dispatcher(webhook_to(receiver), clock=clock, observers=[watch]) as hooks,
    ):
        await emit(hooks)
        await soon(hooks.join())
        await clock.advance(3600)
        assert hooks.stats().failed == 1
    (letter,) = watch.letters
    assert (letter.reason, letter.attempts, letter.error) == ("rejected", 1, None)
    assert letter.status == receiver.requests[0].answered_status
    assert [request.path for request in receiver.requests] == ["/"]


async def test_410_disables_the_webhook_and_ends_what_waits(
    clock: VirtualClock, watch: Watch
) -> None:
    """One retrying, one behind it, and others in flight: each has an end, and no event follows."""
    script = [Answer(503), Answer(410)]
    async with FaultReceiver(script) as receiver:
        webhook = webhook_to(receiver, retry=STEADY)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks, connectionId="a")
            await watch.attempted_times(1)
            await emit(hooks, connectionId="a")
            gone = await emit(hooks, connectionId="b")
            await soon(hooks.join())
            assert (await hooks.emit("room:join", {"roomId": "x"})).accepted == 0
            assert not hooks.webhooks[0].enabled
            await clock.advance(3600)
    assert len(receiver.requests) == 2
    found = {letter.event_id: (letter.reason, letter.status) for letter in watch.letters}
    assert found.pop(gone) == ("rejected", 410)
    assert list(found.values()) == [("disabled", 503), ("disabled", None)]
    ((disabled, why),) = watch.all("webhook_disabled")
    assert (disabled.id, disabled.enabled) == ("root", False)
    assert "410" in why


async def test_a_webhook_that_was_gone_can_be_enabled_again(
    clock: VirtualClock, watch: Watch
) -> None:
    async with (
        FaultReceiver([Answer(410)]) as receiver,
        dispatcher(webhook_to(receiver), clock=clock, observers=[watch]) as hooks,
    ):
        await emit(hooks)
        await soon(hooks.join())
        hooks.enable_webhook("root")
        await emit(hooks)
        await soon(hooks.join())
        assert hooks.stats().delivered == 1


# Beside others


async def test_the_host_s_own_session_is_used_and_left_open(clock: VirtualClock) -> None:
    async with (
        FaultReceiver([Answer(404), Answer()]) as receiver,
        ClientSession(raise_for_status=True) as session,
    ):
        hooks: Hooks = Hooks([webhook_to(receiver)], clock=clock, http_session=session)
        await hooks.start()
        await emit(hooks)
        await soon(hooks.join())
        assert [letter.status for letter in await hooks.dead_letters()] == [404]
        await hooks.aclose(timeout=0)
        assert not session.closed
        async with session.get(receiver.url) as response:
            assert response.status == 200
