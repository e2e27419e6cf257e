"""A webhook changes its signing key while it delivers, and no receiver has to refuse anything."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import START, Mood, Watch, assert_consistent, dispatcher, emit, soon, webhook_to

from relaybox_hooks import (
    ConfigError,
    Hooks,
    RetryPolicy,
    UnknownTargetError,
    VerificationError,
    WebhookVerifier,
    verify_webhook_signature,
)
from relaybox_hooks.testing import Answer, Fault, FaultReceiver, ReceivedRequest
from relaybox_hooks.testing.clock import VirtualClock

OLD, NEW, NEWER = "the-key-of-last-year", "the-key-of-this-year", "the-key-of-next-year"
SECOND = timedelta(seconds=1)
# Two attempts in one millisecond would be the very same request, which no verifier takes twice.
SOON = RetryPolicy(initial=0.002, jitter=0)


class RequestGuard:
    """A script that verifies as receivers do, and answers 401 to what it refuses.

    Attributes:
        used: the key that each accepted request was signed with.
        refused: the requests that were refused.
    """

    def __init__(self, *keys: str, clock: VirtualClock | None = None) -> None:
        self._options: dict[str, Any] = {"clock": clock.time} if clock else {}
        self._retries = clock is None  # for the same reason as above
        self.used: list[str] = []
        self.refused: list[ReceivedRequest] = []
        self.accept(*keys)

    def accept(self, *keys: str) -> None:
        """Put up with these keys, and with no other, from now on."""
        self._keys = keys
        self._verifier = WebhookVerifier(*keys, **self._options)

    def __call__(self, request: ReceivedRequest) -> Fault:
        try:
            event = self._verifier.verify(request.headers, request.body)
        except VerificationError:
            self.refused.append(request)
            return Answer(401)
        self.used.append(self._keys[event.key_index])
        # One in seven is asked to come again, so that there are retries at any time.
        again = self._retries and len(self.used) % 7 == 0 and not event.duplicate
        return Answer(503 if again else 204)


def key_of(request: ReceivedRequest) -> str:
    """The key that a request is signed with."""
    signature = request.headers["X-Relaybox-Webhook-Signature"]
    (key,) = (
        key for key in (OLD, NEW, NEWER) if verify_webhook_signature(request.body, signature, key)
    )
    return key


async def delivered(hooks: Hooks[Any], receiver: FaultReceiver) -> str:
    """Deliver one event more; returns the key it was signed with."""
    await emit(hooks)
    await soon(hooks.join())
    return key_of(receiver.requests[-1])


# Under load


async def test_a_rotation_under_load_has_nothing_refused() -> None:
    """Thousands are pending when the key changes. What was in flight then is the last of the
    old key; every later attempt, retries included, is signed with the new one."""
    gate = RequestGuard(NEW, OLD)
    async with FaultReceiver(gate) as receiver:
        webhook = webhook_to(
            receiver, signing_key=OLD, order_by="none", queue_size=4000, retry=SOON
        )
        async with Hooks([webhook]) as hooks:
            for _ in range(4000):
                await emit(hooks)
            await soon(receiver.wait_for(1000))
            in_flight = hooks.stats().targets["root"].in_flight
            hooks.rotate_signing_key("root", NEW)
            received = len(receiver.requests)
            await soon(hooks.join())
            assert_consistent(hooks.stats())
            row = hooks.stats().targets["root"]
    assert gate.refused == []
    assert (row.delivered, row.failed) == (4000, 0)
    assert row.retried > 500
    assert gate.used[:1000] == [OLD] * 1000
    assert in_flight <= 16
    assert set(gate.used[received + in_flight :]) == {NEW}


async def test_a_declared_rotation_under_load_has_nothing_refused(clock: VirtualClock) -> None:
    """Each request's own timestamp tells which key has signed it."""
    gate = RequestGuard(NEW, OLD, clock=clock)
    async with FaultReceiver(gate) as receiver:
        webhook = webhook_to(
            receiver,
            signing_key=NEW,
            previous_key=OLD,
            rotate_at=START + SECOND,
            queue_size=3000,
        )
        async with Hooks([webhook], clock=clock) as hooks:
            for number in range(3000):
                await emit(hooks, connectionId=f"c{number % 100}")
            await soon(receiver.wait_for(500))
            await clock.advance(1)
            await soon(hooks.join())
            assert hooks.stats().delivered == 3000
    assert gate.refused == []
    keys = {request.body[-26:-2]: key_of(request) for request in receiver.requests}
    assert keys == {b"2023-11-14T22:13:20.000Z": OLD, b"2023-11-14T22:13:21.000Z": NEW}
    assert min(map(gate.used.count, (OLD, NEW))) > 400


async def test_receiver_first_then_sender_then_the_old_key_goes() -> None:
    """The three steps of a rotation between two parties, with events flowing all the time."""
    gate = RequestGuard(OLD)
    async with FaultReceiver(gate) as receiver:
        webhook = webhook_to(receiver, signing_key=OLD, order_by="none", retry=SOON)
        async with Hooks([webhook]) as hooks:

            async def send(count: int) -> None:
                for _ in range(count):
                    await emit(hooks)

            await send(1000)
            await soon(receiver.wait_for(300))
            gate.accept(NEW, OLD)
            await send(1000)
            hooks.rotate_signing_key("root", NEW)
            await send(1000)
            await soon(hooks.join())  # nothing that the old key has signed is on its way
            gate.accept(NEW)
            await send(1000)
            await soon(hooks.join())
            assert hooks.stats().delivered == 4000
    assert gate.refused == []
    assert min(map(gate.used.count, (OLD, NEW))) >= 1000


async def test_a_receiver_without_the_new_key_refuses() -> None:
    """The tests above can fail: this is what it looks like."""
    gate = RequestGuard(OLD)
    async with (
        FaultReceiver(gate) as receiver,
        Hooks([webhook_to(receiver, signing_key=OLD)], logging=False) as hooks,
    ):
        hooks.rotate_signing_key("root", NEW)
        await emit(hooks)
        await soon(hooks.join())
        assert hooks.stats().failed == 1
    assert [key_of(request) for request in gate.refused] == [NEW]


# What is signed with which key


async def test_what_is_in_flight_is_not_disturbed(receiver: FaultReceiver) -> None:
    receiver.hold()
    async with dispatcher(webhook_to(receiver, signing_key=OLD)) as hooks:
        await emit(hooks)
        await soon(receiver.wait_until(lambda: len(receiver.held) == 1))
        hooks.rotate_signing_key("root", NEW)
        receiver.release()
        await soon(hooks.join())
        assert hooks.stats().delivered == 1
        assert await delivered(hooks, receiver) == NEW
    assert [key_of(request) for request in receiver.requests] == [OLD, NEW]


async def test_a_retry_is_signed_with_the_key_of_its_own_time(clock: VirtualClock) -> None:
    watch = Watch()
    async with FaultReceiver([Answer(503)]) as receiver:
        webhook = webhook_to(receiver, signing_key=OLD, retry=RetryPolicy(initial=60, jitter=0))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            await watch.attempted_times(1)
            hooks.rotate_signing_key("root", NEW)
            await clock.advance(60)
            await soon(hooks.join())
            assert hooks.stats().delivered == 1
    assert [key_of(request) for request in receiver.requests] == [OLD, NEW]


async def test_a_replay_is_signed_with_the_key_of_its_own_time(clock: VirtualClock) -> None:
    mood = Mood(Answer(503))
    async with FaultReceiver(mood) as receiver:
        webhook = webhook_to(
            receiver,
            signing_key=NEW,
            previous_key=OLD,
            rotate_at=START + SECOND,
            retry=RetryPolicy(attempts=1),
        )
        async with dispatcher(webhook, clock=clock) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            await clock.advance(1)
            mood.fault = Answer()
            assert await soon(hooks.replay()) == (1, 0, 0)
            mood.fault = Answer(503)
            await emit(hooks)
            await soon(hooks.join())
            hooks.rotate_signing_key("root", NEWER)
            mood.fault = Answer()
            assert await soon(hooks.replay()) == (1, 0, 0)
    assert [key_of(request) for request in receiver.requests] == [OLD, NEW, NEW, NEWER]


async def test_a_moment_to_come_is_waited_for(clock: VirtualClock, receiver: FaultReceiver) -> None:
    async with dispatcher(webhook_to(receiver, signing_key=OLD), clock=clock) as hooks:
        hooks.rotate_signing_key("root", NEW, at=START + SECOND)
        assert await delivered(hooks, receiver) == OLD
        await clock.advance(0.999)
        assert await delivered(hooks, receiver) == OLD
        await clock.advance(0.001)
        assert await delivered(hooks, receiver) == NEW
        hooks.rotate_signing_key("root", NEWER, at=START)  # has passed
        assert await delivered(hooks, receiver) == NEWER


async def test_a_rotation_to_come_is_replaced_by_another(
    clock: VirtualClock, receiver: FaultReceiver
) -> None:
    """The key that is in use stays in use until the later call's moment."""
    async with dispatcher(webhook_to(receiver, signing_key=OLD), clock=clock) as hooks:
        hooks.rotate_signing_key("root", NEW, at=START + SECOND)
        hooks.rotate_signing_key("root", NEWER, at=START + 2 * SECOND)
        await clock.advance(1)
        assert await delivered(hooks, receiver) == OLD
        await clock.advance(1)
        assert await delivered(hooks, receiver) == NEWER
        hooks.rotate_signing_key("root", OLD, at=START + 3 * SECOND)
        await clock.advance(0.5)
        assert await delivered(hooks, receiver) == NEWER


async def test_a_rotation_can_be_called_off(clock: VirtualClock, receiver: FaultReceiver) -> None:
    async with dispatcher(webhook_to(receiver, signing_key=OLD), clock=clock) as hooks:
        hooks.rotate_signing_key("root", NEW, at=START + SECOND)
        hooks.rotate_signing_key("root", OLD)
        await clock.advance(2)
        assert await delivered(hooks, receiver) == OLD


@pytest.mark.parametrize("with_clock", [True, False])
async def test_a_rotation_may_be_called_for_before_the_start(
    receiver: FaultReceiver, with_clock: bool
) -> None:
    """Where no clock was given there is none before the event loop's."""
    now = START if with_clock else datetime.now(UTC)
    hooks = Hooks(
        [webhook_to(receiver, path, signing_key=OLD) for path in ("/past", "/future", "/now")],
        clock=VirtualClock() if with_clock else None,
    )
    hooks.rotate_signing_key("past", NEW, at=now - timedelta(hours=1))
    hooks.rotate_signing_key("future", NEW, at=now + timedelta(hours=1))
    hooks.rotate_signing_key("now", NEW)
    async with hooks:
        await emit(hooks)
        await soon(hooks.join())
    keys = {request.path: key_of(request) for request in receiver.requests}
    assert keys == {"/past": NEW, "/future": OLD, "/now": NEW}


async def test_a_disabled_webhook_wakes_with_the_new_key(receiver: FaultReceiver) -> None:
    async with dispatcher(webhook_to(receiver, signing_key=OLD)) as hooks:
        assert await delivered(hooks, receiver) == OLD
        hooks.disable_webhook("root")
        hooks.rotate_signing_key("root", NEW)
        assert [webhook.enabled for webhook in hooks.webhooks] == [False]
        hooks.enable_webhook("root")
        assert await delivered(hooks, receiver) == NEW


async def test_the_other_webhooks_keep_their_keys(receiver: FaultReceiver) -> None:
    webhooks = [webhook_to(receiver, path, signing_key=OLD) for path in ("/a", "/b")]
    async with dispatcher(*webhooks) as hooks:
        hooks.rotate_signing_key("a", NEW)
        await emit(hooks)
        await soon(hooks.join())
    keys = {request.path: key_of(request) for request in receiver.requests}
    assert keys == {"/a": NEW, "/b": OLD}


async def test_what_cannot_work_changes_nothing(receiver: FaultReceiver) -> None:
    async with dispatcher(webhook_to(receiver, signing_key=OLD)) as hooks:
        with pytest.raises(UnknownTargetError, match="'crm' is not registered"):
            hooks.rotate_signing_key("crm", NEW)
        with pytest.raises(ConfigError, match=r"signing_key='\*\*\*': pass the webhook's key"):
            hooks.rotate_signing_key("root", "")
        with pytest.raises(ConfigError, match=r"at=.*: give a datetime with a time zone"):
            hooks.rotate_signing_key("root", NEW, at=datetime(2026, 3, 1))  # noqa: DTZ001
        assert await delivered(hooks, receiver) == OLD


async def test_no_key_shows_anywhere(
    receiver: FaultReceiver, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    watch = Watch()
    webhook = webhook_to(receiver, signing_key=OLD)
    async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
        hooks.rotate_signing_key("root", NEW, at=START + SECOND)
        await delivered(hooks, receiver)
        hooks.disable_webhook("root")
        shown = f"{hooks.webhooks} {watch.calls} {caplog.text}"
    assert "previous_key='***'" in shown
    assert OLD not in shown
    assert NEW not in shown
