"""The examples: the chat's visitors, and the receivers that its events go to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from relaybox_hooks import ReceivedEvent, WebhookVerifier
from relaybox_hooks.testing import FaultReceiver
from support import KEY
from support.programs import Program, Start

PASSWORD: Final = "correct horse"

Record: TypeAlias = dict[str, Any]
#: Starts a program of ``examples/``.
Run: TypeAlias = Start


class Receiver:
    """A running ``receiver.py``, and what it says of each request."""

    def __init__(self, program: Program, url: str) -> None:
        self.program = program
        self.url = url
        self.records: list[Record] = []

    async def gets(self, fits: Callable[[Record], bool]) -> Record:
        """The next record that fits; all are kept in ``records``."""
        while True:
            record: Record = json.loads(await self.program.line())
            self.records.append(record)
            if fits(record):
                return record

    async def gets_event(self, name: str) -> Record:
        """The next verified event of this name."""
        return await self.gets(lambda record: bool(record["event"] == name))

    def of_rooms(self) -> list[Record]:
        """The verified events of rooms so far, in the order in which they happened."""
        return [r for r in self.records if r["event"].startswith(("room:", "presence:"))]


class Visitor:
    """Somebody at the chat, over HTTP and a real websocket."""

    def __init__(self, http: ClientSession, name: str) -> None:
        self.http = http
        self.name = name
        self.email = f"{name.lower()}@example.org"
        self.socket: ClientWebSocketResponse | None = None
        self._unseen: list[Record] = []
        self._asked = 0

    async def post(self, path: str, **fields: str) -> tuple[int, Record]:
        async with self.http.post(f"/auth/{path}", json=fields) as response:
            return response.status, await response.json()

    async def sign_up(self) -> str:
        """Returns the code that a mail would hold."""
        status, answer = await self.post(
            "signup", email=self.email, username=self.name, password=PASSWORD
        )
        assert status == 200, answer
        return str(answer["code"])

    async def come_in(self) -> None:
        """Sign up, verify, sign in and connect."""
        code = await self.sign_up()
        assert (await self.post("verify", email=self.email, code=code))[0] == 200
        status, answer = await self.post("signin", email=self.email, password=PASSWORD)
        assert status == 200, answer
        self.socket = await self.http.ws_connect("/socket")
        await self.socket.send_json({"token": answer["token"]})
        await self.sees("welcome")

    async def asks(self, action: str, **fields: object) -> Record:
        """The server's answer: a ``done``, or a ``refused`` with a ``reason``."""
        assert self.socket is not None
        self._asked += 1
        await self.socket.send_json({"do": action, "ref": self._asked, **fields})
        return await self._next(lambda message: message.get("ref") == self._asked)

    async def does(self, action: str, **fields: object) -> None:
        answer = await self.asks(action, **fields)
        assert answer["type"] == "done", answer

    async def enters(self, room: str) -> None:
        """Join the room and its presence."""
        await self.does("room:join", roomId=room)
        await self.does("presence:join", roomId=room, userData={"mood": "☕", "typing": False})

    async def sees(self, kind: str, fits: Callable[[Record], bool] = lambda _: True) -> Record:
        """The first message of this kind that fits and was not seen before."""
        return await self._next(lambda message: message["type"] == kind and fits(message))

    def saw(self, kind: str, fits: Callable[[Record], bool]) -> bool:
        """Whether such a message came while something else was waited for; forgets them all."""
        found = any(message["type"] == kind and fits(message) for message in self._unseen)
        self._unseen.clear()
        return found

    async def _next(self, fits: Callable[[Record], bool]) -> Record:
        for index, unseen in enumerate(self._unseen):
            if fits(unseen):
                return self._unseen.pop(index)
        assert self.socket is not None
        async with asyncio.timeout(20):
            while True:
                frame = await self.socket.receive()
                assert frame.type is WSMsgType.TEXT, frame
                message: Record = json.loads(frame.data)
                if fits(message):
                    return message
                self._unseen.append(message)


class Chat:
    """A running ``chat_server.py``."""

    def __init__(self, program: Program, url: str) -> None:
        self.program = program
        self.url = url
        self._https: list[ClientSession] = []

    def visitor(self, name: str) -> Visitor:
        """Somebody who has not signed up yet, with a connection pool of their own."""
        http = ClientSession(self.url)
        self._https.append(http)
        return Visitor(http, name)

    async def guest(self, name: str) -> Visitor:
        """Somebody who has come in."""
        visitor = self.visitor(name)
        await visitor.come_in()
        return visitor

    async def aclose(self) -> None:
        for http in self._https:
            await http.close()


OpenChat: TypeAlias = Callable[..., Coroutine[Any, Any, Chat]]


class Endpoint:
    """A webhook endpoint in the test's own process, which verifies every request it gets."""

    def __init__(self, receiver: FaultReceiver) -> None:
        self.receiver = receiver
        self._verifier = WebhookVerifier(KEY)
        self._events: list[ReceivedEvent] = []

    @property
    def arguments(self) -> tuple[str, ...]:
        """What tells an example of ``examples/`` to send here; it has the key already."""
        return "--webhook", self.receiver.url

    def story(self, who: str) -> list[ReceivedEvent]:
        """The events of this client so far, in the order of arrival."""
        for request in self.receiver.requests[len(self._events) :]:
            self._events.append(self._verifier.verify(request.headers, request.body))
        return [event for event in self._events if event.session.client_id == who]

    async def gets(self, who: str, name: str) -> list[ReceivedEvent]:
        """The client's story, once it has come to this event."""
        async with asyncio.timeout(20):
            await self.receiver.wait_until(
                lambda: any(event.name == name for event in self.story(who))
            )
        return self.story(who)
