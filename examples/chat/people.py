"""Simulated users for the demo, each with an account and a real websocket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from chat.wire import Message, parse

_PASSWORD: Final = "correct horse battery staple"


class SceneError(Exception):
    """Raised when the server does not respond as the script expects."""


class Person:
    """Simulated user. Use it as an async context manager; leaving it disconnects.

    Messages that were not awaited yet are kept, in order, for the next :meth:`sees`.
    """

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._http = ClientSession(f"http://127.0.0.1:{port}")
        self._socket: ClientWebSocketResponse | None = None
        self._unseen: deque[Message] = deque()
        self._asked = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._socket is not None:
            await self._socket.close()
        await self._http.close()

    async def come_in(self) -> None:
        """Sign up, verify, sign in, and open the websocket."""
        email = f"{self.name.lower()}@example.org"
        signed_up = await self._post("signup", email=email, username=self.name, password=_PASSWORD)
        await self._post("verify", email=email, code=signed_up["code"])
        signed_in = await self._post("signin", email=email, password=_PASSWORD)
        self._socket = await self._http.ws_connect("/socket")
        await self._socket.send_json({"token": signed_in["token"]})
        await self.sees(lambda message: message["type"] == "welcome")

    async def does(self, action: str, **fields: object) -> None:
        """Request an action and wait for its completion."""
        self._asked += 1
        await self._open_socket().send_json({"do": action, "ref": self._asked, **fields})
        aside: deque[Message] = deque()
        while True:
            message = await self._next()
            if message["type"] in ("done", "refused") and message["ref"] == self._asked:
                break
            aside.append(message)
        self._unseen = aside
        if message["type"] == "refused":
            raise SceneError(f"{self.name}'s {action} was refused: {message['reason']}")

    async def sees(self, fits: Callable[[Message], bool]) -> Message:
        """Return the next message that matches; earlier ones are discarded."""
        while True:
            message = await self._next()
            if fits(message):
                return message

    async def drops(self) -> None:
        """Abort the connection without a websocket close."""
        await self._http.close()

    async def _next(self) -> Message:
        if self._unseen:
            return self._unseen.popleft()
        frame = await self._open_socket().receive()
        if frame.type is not WSMsgType.TEXT:
            raise SceneError(f"{self.name}'s websocket was closed")
        return parse(frame.data)

    async def _post(self, path: str, **fields: str) -> Message:
        async with self._http.post(f"/auth/{path}", json=fields) as response:
            answer = parse(await response.read())
        if response.status != 200:
            raise SceneError(f"{self.name}'s {path} was refused: {answer['error']}")
        return answer

    def _open_socket(self) -> ClientWebSocketResponse:
        if self._socket is None:
            raise SceneError(f"{self.name} has not come in yet")
        return self._socket


async def play(ada: Person, ben: Person, cleo: Person) -> None:
    """Run a script that causes every event.

    Each step waits for the server's messages, so the result does not depend on speed.
    """
    lobby = "chat:lobby"
    for person in (ada, ben, cleo):
        await person.come_in()
    await ada.does("room:create", roomId=lobby, visibility="public")
    for person in (ada, ben, cleo):
        await person.does("room:join", roomId=lobby)
        await person.does("presence:join", roomId=lobby, userData={"mood": "", "typing": False})
    await ben.does("presence:update", roomId=lobby, userData={"mood": "☕", "typing": True})
    await ben.does("room:publish", roomId=lobby, body="Good morning. Is anybody there?")
    await ada.sees(lambda m: m["type"] == "message" and m["message"]["from"] == ben.name)
    await ada.does("user:status:update", status="away")
    await cleo.does("room:publish", roomId=lobby, body="Only <b>me</b>, and I am leaving. 😀")
    await cleo.does("room:leave", roomId=lobby)
    await ben.drops()
    await ada.sees(lambda m: m["type"] == "people" and _names(m) == [ada.name])
    await ada.does("room:destroy", roomId=lobby)


def _names(message: Message) -> list[str]:
    return [person["name"] for person in message["people"]]
