"""Subscribers: a board of active rooms, and a bot that greets."""

from __future__ import annotations

from collections import Counter
from typing import Final

from chat.accounts import APP_PID
from chat.server import ChatServer
from relaybox_hooks import Event, Hooks, Session, User
from relaybox_hooks.events import RoomData

_BOT: Final = "Welcome bot"
_BOT_SESSION: Final = Session(
    app_pid=APP_PID, client_id="welcome-bot", user=User(id="welcome-bot", username=_BOT)
)
_BOARD_SIZE: Final = 5


def subscribe(hooks: Hooks, chat: ChatServer) -> None:
    """Register both subscribers."""
    talk: Counter[str] = Counter()

    # One function for the three events, so that one lane keeps their order, and a late message
    # cannot add a destroyed room again.
    @hooks.on("room:create", "room:publish", "room:destroy", name="most active rooms")
    def count_messages(event: Event) -> None:
        match event.name, event.data:
            case "room:create", {"id": room_id, "visibility": "public"}:
                talk[room_id] = 0
            case "room:publish", {"roomId": room_id} if room_id in talk:
                talk[room_id] += 1
            case "room:destroy", {"roomId": room_id}:
                talk.pop(room_id, None)
        busiest = [(room_id, said) for room_id, said in talk.most_common(_BOARD_SIZE) if said]
        chat.show_board([{"id": room_id, "messages": said} for room_id, said in busiest])

    # It emits what it is not subscribed to: a bot that answers room:publish with room:publish
    # must leave out its own messages.
    @hooks.on("room:join", name="welcome bot")
    async def greet(event: Event[RoomData]) -> None:
        # The room or its new member may have left since the event.
        room = chat.rooms.get(event.data["roomId"])
        member = room.member(event.session.connection_id) if room else None
        if room is None or member is None or member.account.id in room.greeted:
            return
        room.greeted.add(member.account.id)
        await chat.say(room, _BOT, f"Welcome, {member.account.username}!", _BOT_SESSION)
