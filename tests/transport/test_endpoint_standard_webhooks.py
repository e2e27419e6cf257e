"""Requests signed by Standard Webhooks too, judged by its reference package."""

from __future__ import annotations

import logging

import pytest
import standardwebhooks
from support import KEY, Watch, dispatcher, emit, soon, webhook_to

from relaybox_hooks import (
    Hooks,
    RetryPolicy,
    WebhookVerifier,
    generate_standard_secret,
    verify_webhook_signature,
)
from relaybox_hooks.testing import Answer, FaultReceiver
from relaybox_hooks.testing.clock import VirtualClock

NEW, OLD = generate_standard_secret(), generate_standard_secret()
NAMES = {"webhook-id", "webhook-timestamp", "webhook-signature"}


async def test_the_reference_package_verifies_a_request(receiver: FaultReceiver) -> None:
    """And so does RelayBox's own scheme, on the same request."""
    async with Hooks([webhook_to(receiver, standard_webhooks=NEW)]) as hooks:
        receipt = await hooks.emit("room:join", {"roomId": "chät “one”"})
        await soon(hooks.join())
    (request,) = receiver.requests
    payload = standardwebhooks.Webhook(NEW).verify(request.body, dict(request.headers))
    assert payload["data"] == {"roomId": "chät “one”"}
    assert request.headers["webhook-id"] == receipt.event_id
    signature = request.headers["X-Relaybox-Webhook-Signature"]
    assert verify_webhook_signature(request.body, signature, KEY)


async def test_the_reference_package_refuses_what_was_changed(receiver: FaultReceiver) -> None:
    async with Hooks([webhook_to(receiver, standard_webhooks=NEW)]) as hooks:
        await emit(hooks)
    (request,) = receiver.requests
    headers = dict(request.headers)
    judge = standardwebhooks.Webhook(NEW)
    assert judge.verify(request.body, headers)
    for changed in (
        (request.body.replace(b"chat:one", b"chat:two"), headers),
        (request.body, headers | {"webhook-id": "other"}),
        (request.body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}),
    ):
        with pytest.raises(standardwebhooks.WebhookVerificationError, match="No matching"):
            judge.verify(*changed)


async def test_a_rotation_is_a_signature_by_each_secret(receiver: FaultReceiver) -> None:
    """Whoever knows either of the secrets can verify the request."""
    async with Hooks([webhook_to(receiver, standard_webhooks=[NEW, OLD])]) as hooks:
        await emit(hooks)
    (request,) = receiver.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (NEW, OLD):
        assert standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(generate_standard_secret()).verify(
            request.body, dict(request.headers)
        )


async def test_a_retry_keeps_its_id_and_is_stamped_and_signed_anew() -> None:
    clock, watch = VirtualClock(1_729_602_908.913), Watch()
    async with FaultReceiver([Answer(503)]) as receiver:
        webhook = webhook_to(
            receiver, standard_webhooks=NEW, retry=RetryPolicy(initial=2.5, jitter=0)
        )
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            event_id = await emit(hooks)
            await watch.attempted_times(1)
            await clock.advance(2.5)
            await soon(hooks.join())
    first, second = (request.headers for request in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"] == event_id
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1729602908", "1729602911")
    assert first["webhook-signature"] != second["webhook-signature"]
    verifier = WebhookVerifier(KEY, standard_webhooks=NEW, clock=clock.time)
    events = [verifier.verify(each.headers, each.body) for each in receiver.requests]
    assert [event.duplicate for event in events] == [False, True]
    assert [event.key_indexes for event in events] == [{"relaybox": 0, "standard": 0}] * 2


async def test_a_webhook_that_did_not_ask_for_it_sends_none_of_it(receiver: FaultReceiver) -> None:
    async with Hooks([webhook_to(receiver)]) as hooks:
        await emit(hooks)
    assert not NAMES & {name.lower() for name in receiver.requests[0].headers}


async def test_the_signing_key_rotates_beside_it(receiver: FaultReceiver) -> None:
    async with Hooks([webhook_to(receiver, standard_webhooks=NEW)]) as hooks:
        hooks.rotate_signing_key("root", "another key")
        await emit(hooks)
    (request,) = receiver.requests
    verifier = WebhookVerifier(KEY, "another key", standard_webhooks=NEW)
    event = verifier.verify(request.headers, request.body)
    assert event.key_indexes == {"relaybox": 1, "standard": 0}


async def test_no_secret_shows_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    watch = Watch()
    async with FaultReceiver(Answer(500)) as receiver:
        webhook = webhook_to(receiver, standard_webhooks=NEW, retry=RetryPolicy(attempts=1))
        async with dispatcher(webhook, observers=[watch]) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            shown = f"{hooks.webhooks} {watch.calls} {caplog.text}"
    assert "standard_webhooks='***'" in shown
    assert NEW not in shown
    assert NEW.removeprefix("whsec_") not in shown
