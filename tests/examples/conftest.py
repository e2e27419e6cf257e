"""The examples as their readers run them: programs, read line by line and stopped by signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from support import KEY

from relaybox_hooks import ReceivedEvent, WebhookVerifier
from relaybox_hooks.testing import FaultReceiver

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
PASSWORD: Final = "correct horse"

Record: TypeAlias = dict[str, Any]


class Program:
    """A program of ``examples/`` in a process of its own, which tells what it leaves unclosed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._lines = process.stdout

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def line(self) -> str:
        """The next line of its output."""
        async with asyncio.timeout(20):
            line = await self._lines.readline()
        assert line, "the program ended"
        return line.decode().rstrip("\n")

    async def ends(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        """Its exit code, the rest of its output, and its stderr; after a signal, if one is given.

        Fails if it does not end in time.
        """
        if number is not None:
            self._process.send_signal(number)
        async with asyncio.timeout(60 if number is None else 20):
            output, errors = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, output.decode(), errors.decode()

    async def give_up(self) -> None:
        """End it whatever it takes; gently first, for the processes that it started."""
        try:
            await self.ends(signal.SIGTERM)
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()


Run: TypeAlias = Callable[..., Coroutine[Any, Any, Program]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Starts a program of ``examples/``; those still running in the end are ended, last first."""
    started: list[Program] = []

    async def run(name: str, *arguments: str) -> Program:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "default::ResourceWarning", str(EXAMPLES / name), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "RELAYBOX_SIGNING_KEY": KEY, "PYTHONIOENCODING": "utf-8"},
        )
        program = Program(process)
        started.append(program)
        return program

    yield run
    for program in reversed(started):
        if program.running:
            await program.give_up()


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


@pytest.fixture
async def receiver(run: Run) -> Receiver:
    program = await run("receiver.py", "--port", "0", "--json")
    return Receiver(program, json.loads(await program.line())["listening"])


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


@pytest.fixture
async def open_chat(run: Run) -> AsyncIterator[OpenChat]:
    """Starts a chat server at a free port."""
    chats: list[Chat] = []

    async def open_chat(*arguments: str) -> Chat:
        program = await run("chat_server.py", "--port", "0", *arguments)
        url = (await program.line()).removeprefix("chat at ").split(",")[0]
        chats.append(Chat(program, url))
        return chats[-1]

    yield open_chat
    for chat in chats:
        await chat.aclose()


@pytest.fixture
async def chat(open_chat: OpenChat, receiver: Receiver) -> Chat:
    """A chat server whose events go to the receiver."""
    return await open_chat("--webhook", receiver.url)


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


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with FaultReceiver() as receiver:
        yield Endpoint(receiver)
