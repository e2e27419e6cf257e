"""The chat, tested in its own process as you would test a server of yours: with the test kit."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from chat.app import make_app, make_hooks, serving
from chat.people import Person
from support import KEY

from relaybox_hooks import Event, Hooks, Webhook, WebhookVerifier
from relaybox_hooks.testing import FaultReceiver, Recording

pytest_plugins = ["relaybox_hooks.testing.plugin"]


@pytest.fixture
def hooks() -> Hooks:
    """In place of the kit's: the chat's own, which its application opens and closes."""
    return make_hooks()


@pytest.fixture
async def ada(hooks: Hooks, recording: Recording) -> AsyncIterator[Person]:
    """Somebody who has come in and made a room."""
    app = make_app(hooks, mail=lambda email, code: None)
    async with serving(app, 0) as port, Person("Ada", port) as ada:
        await ada.come_in()
        await ada.does("room:create", roomId="lobby", visibility="public")
        recording.events.clear()
        yield ada


async def test_joining_is_told_with_the_room_and_who_joined(
    ada: Person, recording: Recording
) -> None:
    await ada.does("room:join", roomId="lobby")
    (joined,) = recording.of("room:join")
    assert joined.data == {"roomId": "lobby"}
    assert joined.session.user is not None
    assert joined.session.user.username == "Ada"


async def test_bot_welcomes_whoever_joins(ada: Person, recording: Recording) -> None:
    """The bot is a subscriber: what it says comes when it comes."""
    await ada.does("room:join", roomId="lobby")
    (welcome,) = await recording.wait_for("room:publish")
    assert welcome.data["body"] == "Welcome, Ada!"


async def test_dropped_connection_leaves_its_room(ada: Person, recording: Recording) -> None:
    await ada.does("room:join", roomId="lobby")
    await ada.drops()
    await recording.wait_for("room:leave")


async def test_hung_webhook_delays_nobody_and_gets_everything_in_the_end(
    ada: Person, hooks: Hooks, recording: Recording, webhook_receiver: FaultReceiver
) -> None:
    hooks.add_webhook(Webhook(webhook_receiver.url, ["room:join", "room:leave"], KEY))
    webhook_receiver.hold()
    for _ in range(3):
        await ada.does("room:join", roomId="lobby")
        await ada.does("room:leave", roomId="lobby")
    assert not webhook_receiver.accepted

    webhook_receiver.release()
    await recording.join()

    verifier = WebhookVerifier(KEY)
    received = [
        verifier.verify(request.headers, request.body) for request in webhook_receiver.requests
    ]
    assert [event.name for event in received] == ["room:join", "room:leave"] * 3
    assert [event.id for event in received] == [
        event.receipt.event_id for event in recording.events if event.name != "room:publish"
    ]


async def test_failing_subscriber_harms_nobody(
    ada: Person, hooks: Hooks, recording: Recording
) -> None:
    """An error that the test does not expect as this one does would fail it."""

    @hooks.on("room:join")
    def count(event: Event) -> None:
        raise ZeroDivisionError

    await ada.does("room:join", roomId="lobby")
    with pytest.raises(ZeroDivisionError):
        await recording.join()
    await ada.does("room:leave", roomId="lobby")
