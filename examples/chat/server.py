"""Chat server: actions of users over their websockets, and the events that they emit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from uuid import uuid4

from aiohttp import WSCloseCode, WSMsgType, web

from chat import wire
from chat.accounts import Accounts
from chat.connection import Connection
from chat.rooms import Room, Rooms
from chat.wire import InvalidRequestError, Message, UserData
from relaybox_hooks import Hooks, Session
from relaybox_hooks.events import PresenceEventName

Action: TypeAlias = Callable[[Connection, Message], Awaitable[None]]

_STATUSES: Final = ("online", "away", "busy")
_VISIBILITIES: Final = ("public", "private")

#: Timeouts of the token after connecting and of a close, seconds.
_TOKEN_TIMEOUT: Final = 10.0
_CLOSING: Final = 1.0

#: Close code at which the page signs out; 4000 to 4999 are for applications (RFC 6455 §7.4.2).
NOT_SIGNED_IN: Final = 4401


class ChatServer:
    """Connections and rooms. Each action changes the state, sends it to browsers, and emits.

    ``await hooks.emit`` does not suspend here (see ``make_hooks``), so an action is atomic
    between two awaits of the network, and events are emitted in the order of the actions.
    """

    def __init__(self, hooks: Hooks, accounts: Accounts) -> None:
        self._hooks = hooks
        self._accounts = accounts
        self.rooms = Rooms()
        self._sockets: set[web.WebSocketResponse] = set()
        self._connections: set[Connection] = set()
        self._board: list[Message] = []
        self._actions: dict[str, Action] = {
            "room:create": self._create_room,
            "room:join": self._join_room,
            "room:leave": self._leave_room,
            "room:destroy": self._destroy_room,
            "room:publish": self._publish,
            "presence:join": self._join_presence,
            "presence:update": self._update_presence,
            "presence:leave": self._leave_presence,
            "user:status:update": self._update_status,
        }

    # Connections

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Handle ``GET /socket``: a token first, then actions."""
        socket = web.WebSocketResponse(
            heartbeat=20, timeout=_CLOSING, max_msg_size=wire.MESSAGE_LIMIT
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async with asyncio.timeout(_TOKEN_TIMEOUT):
                frame = await socket.receive()
            first = wire.parse(frame.data if frame.type is WSMsgType.TEXT else "")
            signed_in = self._accounts.holder_of(wire.text(first, "token"))
            async with asyncio.timeout(signed_in.exp - time.time()):
                await self._serve(socket, Connection(request, socket, signed_in))
        except (InvalidRequestError, TimeoutError):
            await socket.close(code=NOT_SIGNED_IN, message=b"sign in again")
        finally:
            self._sockets.discard(socket)
        return socket

    async def close(self) -> None:
        """Close all connections, which then leave their rooms."""
        closing = (socket.close(code=WSCloseCode.GOING_AWAY) for socket in self._sockets)
        await asyncio.gather(*closing)

    async def _serve(self, socket: web.WebSocketResponse, who: Connection) -> None:
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(who.write())
            try:
                await self._connect(who)
                async for frame in socket:
                    if frame.type is WSMsgType.TEXT:
                        await self._act(who, frame.data)
            finally:
                await self._disconnect(who)
                writer.cancel()

    async def _connect(self, who: Connection) -> None:
        self._connections.add(who)
        await self._hooks.emit("auth:session:initialize", None, who.session)
        who.send({"type": "welcome", "name": who.account.username, "status": who.status})
        who.send({"type": "board", "rooms": self._board})
        self._show_rooms()

    async def _disconnect(self, who: Connection) -> None:
        """Leave all rooms, however the connection ended."""
        self._connections.discard(who)
        for room in self.rooms.of(who):
            await self._part(who, room)

    async def _act(self, who: Connection, text: str) -> None:
        ref = None
        try:
            message = wire.parse(text)
            ref = message.get("ref")
            await self._actions[wire.choice(message, "do", self._actions)](who, message)
        except InvalidRequestError as error:
            who.send({"type": "refused", "ref": ref, "reason": str(error)})
        else:
            who.send({"type": "done", "ref": ref})

    # Rooms

    async def _create_room(self, who: Connection, message: Message) -> None:
        room_id = wire.label(message, "roomId")
        visibility = wire.choice(message, "visibility", _VISIBILITIES)
        room = self.rooms.create(room_id, visibility, who.account.id)
        await self._hooks.emit(
            "room:create",
            {"id": room.id, "uuid": room.uuid, "visibility": room.visibility},
            who.session,
        )
        self._show_rooms()

    async def _join_room(self, who: Connection, message: Message) -> None:
        room = self._room(message)
        if who in room.members:
            return
        room.members[who] = None
        await self._hooks.emit("room:join", {"roomId": room.id}, who.session)
        who.send({"type": "history", "roomId": room.id, "messages": list(room.messages)})
        self._show_room(room)
        self._show_rooms()

    async def _leave_room(self, who: Connection, message: Message) -> None:
        room = self._room(message)
        room.require(who)
        await self._part(who, room)

    async def _destroy_room(self, who: Connection, message: Message) -> None:
        room = self._room(message)
        if room.owner != who.account.id:
            raise InvalidRequestError("only its owner can destroy a room")
        for member in list(room.members):
            await self._part(member, room)
        self.rooms.remove(room)
        await self._hooks.emit("room:destroy", {"roomId": room.id}, who.session)
        self._show_rooms()

    async def _publish(self, who: Connection, message: Message) -> None:
        room = self._room(message)
        room.require(who)
        await self.say(room, who.account.username, wire.text(message, "body"), who.session)

    async def say(self, room: Room, name: str, body: str, session: Session) -> None:
        """Publish a message in a room, for a user or a bot."""
        message_id, timestamp = str(uuid4()), wire.now()
        entry = {"id": message_id, "from": name, "body": body, "timestamp": timestamp}
        room.messages.append(entry)
        for member in room.members:
            member.send({"type": "message", "roomId": room.id, "message": entry})
        await self._hooks.emit(
            "room:publish",
            {
                "id": message_id,
                "body": body,
                "roomId": room.id,
                "timestamp": timestamp,
                "event": "message",
            },
            session,
        )

    async def _part(self, who: Connection, room: Room) -> None:
        """Leave the presence set of a room, then the room."""
        data = room.members.pop(who)
        if data is not None:
            await self._emit_presence("presence:leave", room, data, who)
        await self._hooks.emit("room:leave", {"roomId": room.id}, who.session)
        who.send({"type": "left", "roomId": room.id})
        self._show_room(room)
        self._show_rooms()

    # Presence and status

    async def _join_presence(self, who: Connection, message: Message) -> None:
        await self._set_presence("presence:join", who, message)

    async def _update_presence(self, who: Connection, message: Message) -> None:
        await self._set_presence("presence:update", who, message)

    async def _set_presence(
        self, event: PresenceEventName, who: Connection, message: Message
    ) -> None:
        room = self._room(message)
        room.require(who)
        if (room.members[who] is None) != (event == "presence:join"):
            raise InvalidRequestError("join the presence set once, before you update it")
        data = room.members[who] = wire.user_data(message)
        await self._emit_presence(event, room, data, who)
        self._show_room(room)

    async def _leave_presence(self, who: Connection, message: Message) -> None:
        room = self._room(message)
        room.require(who)
        data = room.members[who]
        if data is None:
            raise InvalidRequestError("you are not in the presence set")
        room.members[who] = None
        await self._emit_presence("presence:leave", room, data, who)
        self._show_room(room)

    async def _emit_presence(
        self, event: PresenceEventName, room: Room, data: UserData, who: Connection
    ) -> None:
        await self._hooks.emit(event, {"roomId": room.id, "userData": data}, who.session)

    async def _update_status(self, who: Connection, message: Message) -> None:
        who.status = wire.choice(message, "status", _STATUSES)
        await self._hooks.emit("user:status:update", {"status": who.status}, who.session)
        for room in self.rooms.of(who):
            self._show_room(room)

    # Messages to browsers

    def show_board(self, board: list[Message]) -> None:
        """Send the most active rooms to all browsers."""
        self._board = board
        for who in self._connections:
            who.send({"type": "board", "rooms": board})

    def _show_rooms(self) -> None:
        for who in self._connections:
            who.send({"type": "rooms", "rooms": self.rooms.shown_to(who)})

    def _show_room(self, room: Room) -> None:
        people = room.people()
        for member in room.members:
            member.send({"type": "people", "roomId": room.id, "people": people})

    def _room(self, message: Message) -> Room:
        return self.rooms.find(wire.label(message, "roomId"))
