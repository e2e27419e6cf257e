"""The chat server, run as its readers run it: the demo, Ctrl-C, and real websocket clients."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from typing import Final

import pytest
from aiohttp import WSMsgType
from support.examples import Chat, OpenChat, Receiver, Record, Run

from relaybox_hooks import EVENTS

_ROW = re.compile(r"^(\S+) +(\d+) +(\d+) +(\d+)$", re.MULTILINE)
_SESSION = {
    "appPid", "keyId", "clientId", "connectionId", "socketId", "timestamp", "exp", "user"
}  # fmt: skip
_USER = {
    "id", "clientId", "createdAt", "updatedAt", "username", "orgId", "appId", "isOnline",
    "lastOnline", "blockedAt", "firstName", "lastName",
}  # fmt: skip

REFUSALS: Final[list[tuple[str, Record, str]]] = [
    ("room:burn", {}, "do must be one of"),
    ("room:join", {"roomId": "nowhere"}, "there is no such room"),
    ("room:join", {"roomId": 7}, "roomId is missing"),
    ("room:create", {"roomId": "x" * 41, "visibility": "public"}, "longer than 40"),
    ("room:create", {"roomId": "a\nb", "visibility": "public"}, "cannot be shown"),
    ("room:create", {"roomId": "lobby", "visibility": "public"}, "a room of that name exists"),
    ("room:create", {"roomId": "den", "visibility": "secret"}, "visibility must be one of"),
    ("room:publish", {"roomId": "lobby", "body": "hi"}, "join the room first"),
    ("room:leave", {"roomId": "lobby"}, "join the room first"),
    ("presence:update", {"roomId": "lobby"}, "join the room first"),
    ("user:status:update", {"status": "<b>"}, "status must be one of"),
]


def table(output: str) -> dict[str, tuple[int, int, int]]:
    """The demo's closing table: attempts, delivered, verified by event."""
    rows = {name: (int(a), int(d), int(v)) for name, a, d, v in _ROW.findall(output)}
    assert list(rows) == [*EVENTS, "all"], output
    return rows


# The demo


async def test_demo_delivers_and_verifies_every_event(run: Run) -> None:
    """The receiver turns the first request away, so there is one attempt more than deliveries."""
    code, output, errors = await (await run("chat_server.py", "--demo")).ends()
    assert (code, errors) == (0, ""), output
    rows = table(output)
    for name in EVENTS:
        _, delivered, verified = rows[name]
        assert delivered == verified > 0
        assert len(re.findall(rf"^  verified  {name} ", output, re.MULTILINE)) == verified
    assert f"{len(EVENTS)} of {len(EVENTS)} events delivered and verified" in output
    attempts, delivered, _ = rows["all"]
    assert output.count("  deferred  503 ") == 1
    assert attempts == delivered + 1


async def test_demo_fails_where_the_receiver_expects_another_key(run: Run) -> None:
    code, output, errors = await (await run("chat_server.py", "--demo", "--wrong-key")).ends()
    assert code == 1
    attempts, delivered, verified = table(output)["all"]
    assert (delivered, verified) == (0, 0)
    assert output.count("  REFUSED  401 InvalidSignatureError") == attempts - 1
    assert "FAILED: never verified: auth:signup, " in output
    assert f"{attempts - 1} dead letters" in output
    assert "dead letter: auth:signup " in errors
    assert "Traceback" not in errors


# Ctrl-C


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("chat_server.py", ["--demo"], 130),
        ("chat_server.py", ["--port", "0"], 130),
        ("receiver.py", ["--port", "0"], 0),
    ],
)
async def test_ctrl_c_closes_cleanly(
    run: Run, name: str, arguments: list[str], expected: int
) -> None:
    """As soon as it says where it is. Anything left unclosed would be told on stderr."""
    program = await run(name, *arguments)
    assert "http://127.0.0.1:" in await program.line()
    code, _, errors = await program.ends(signal.SIGINT)
    assert (code, errors) == (expected, "")


async def test_ctrl_c_in_the_middle_of_the_demo_closes_cleanly(run: Run) -> None:
    program = await run("chat_server.py", "--demo")
    while "room:join" not in await program.line():
        pass
    code, _, errors = await program.ends(signal.SIGINT)
    assert (code, errors) == (130, "")


async def test_ctrl_c_with_people_inside_tells_that_they_left(
    chat: Chat, receiver: Receiver
) -> None:
    ada = await chat.guest("Ada")
    await ada.does("room:create", roomId="lobby", visibility="public")
    await ada.enters("lobby")
    code, _, errors = await chat.program.ends(signal.SIGINT)
    assert (code, errors) == (130, "")
    await receiver.gets_event("room:leave")
    assert [r["event"] for r in receiver.of_rooms()[-2:]] == ["presence:leave", "room:leave"]


async def test_port_in_use_is_told_in_one_line(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for name in ("chat_server.py", "receiver.py"):
            program = await run(name, "--port", str(taken.getsockname()[1]))
            code, _, errors = await program.ends()
            assert code == 2
            assert "in use" in errors.lower()
            assert "Traceback" not in errors


# Events happen where they should


async def test_dropped_socket_leaves_its_rooms(chat: Chat, receiver: Receiver) -> None:
    ada, ben = await chat.guest("Ada"), await chat.guest("Ben")
    await ada.does("room:create", roomId="lobby", visibility="public")
    for person in (ada, ben):
        await person.enters("lobby")
    joined = await receiver.gets(lambda r: _is(r, "presence:join", "Ben"))

    await ben.http.close()

    await ada.sees("people", lambda m: [p["name"] for p in m["people"]] == ["Ada"])
    left = await receiver.gets(lambda r: _is(r, "room:leave", "Ben"))
    vanished = receiver.of_rooms()[-2]
    assert vanished["event"] == "presence:leave"
    assert vanished["data"] == {"roomId": "lobby", "userData": {"mood": "☕", "typing": False}}
    assert left["data"] == {"roomId": "lobby"}
    assert left["session"] == vanished["session"] == joined["session"]


async def test_destroying_a_room_lets_everybody_leave_first(chat: Chat, receiver: Receiver) -> None:
    ada, ben = await chat.guest("Ada"), await chat.guest("Ben")
    await ada.does("room:create", roomId="lobby", visibility="public")
    for person in (ada, ben):
        await person.enters("lobby")
    answer = await ben.asks("room:destroy", roomId="lobby")
    assert answer["reason"] == "only its owner can destroy a room"

    await ada.does("room:destroy", roomId="lobby")

    await receiver.gets_event("room:destroy")
    end = [(record["event"], _who(record)) for record in receiver.of_rooms()[-5:]]
    assert end == [
        ("presence:leave", "Ada"),
        ("room:leave", "Ada"),
        ("presence:leave", "Ben"),
        ("room:leave", "Ben"),
        ("room:destroy", "Ada"),
    ]
    assert (await ben.asks("room:publish", roomId="lobby", body="?"))["type"] == "refused"


async def test_sessions_hold_the_wire_fields_and_nothing_private(
    chat: Chat, receiver: Receiver
) -> None:
    ada = await chat.guest("Ada")
    await ada.does("user:status:update", status="busy")
    await receiver.gets_event("user:status:update")
    sessions = {record["event"]: record["session"] for record in receiver.records}
    for name, session in sessions.items():
        connected = name not in ("auth:signup", "auth:verify", "auth:signin")
        assert set(session) == _SESSION
        assert set(session["user"]) == _USER
        assert session["user"]["username"] == "Ada"
        assert (session["connectionId"] is not None) == connected
        assert (session["socketId"] is not None) == connected
    assert sessions["auth:session:initialize"] == sessions["user:status:update"]
    signed_up, verified = receiver.records[0]["data"], receiver.records[1]["data"]
    assert signed_up == {
        "identities": [],
        "factors": [],
        "authMfaEnabled": False,
        "email": "ada@example.org",
        "verifiedAt": None,
    }
    assert verified["verifiedAt"] is not None


async def test_subscribers_greet_once_and_count_the_talk(chat: Chat, receiver: Receiver) -> None:
    ada = await chat.guest("Ada")
    for room, visibility in (("lobby", "public"), ("den", "private")):
        await ada.does("room:create", roomId=room, visibility=visibility)
        await ada.enters(room)
    await ada.does("room:publish", roomId="lobby", body="hello")
    await ada.does("room:leave", roomId="lobby")
    await ada.enters("lobby")
    await ada.does("room:publish", roomId="lobby", body="again")

    board = await ada.sees("board", lambda m: [r["messages"] for r in m["rooms"]] == [3])
    assert board["rooms"] == [{"id": "lobby", "messages": 3}]
    await receiver.gets(lambda r: r["event"] == "room:publish" and r["data"]["body"] == "again")
    said = [
        (_who(record), record["data"]["roomId"], record["data"]["body"])
        for record in receiver.records
        if record["event"] == "room:publish"
    ]
    assert sorted(said) == [
        ("Ada", "lobby", "again"),
        ("Ada", "lobby", "hello"),
        ("Welcome bot", "den", "Welcome, Ada!"),
        ("Welcome bot", "lobby", "Welcome, Ada!"),
    ]


async def test_dead_webhook_stalls_nobody(open_chat: OpenChat) -> None:
    with socket.socket() as held:  # bound, so that nobody else gets the port, and deaf
        held.bind(("127.0.0.1", 0))
        chat = await open_chat("--webhook", f"http://127.0.0.1:{held.getsockname()[1]}/webhook")
        ada = await chat.guest("Ada")
        await ada.does("room:create", roomId="lobby", visibility="public")
        await ada.enters("lobby")
        for number in range(1000):
            await ada.does("room:publish", roomId="lobby", body=str(number))
        code, _, errors = await chat.program.ends(signal.SIGINT)
    assert code == 130
    assert "is full (overflow='drop_oldest')" in errors
    assert "closed with 1000 events left" in errors
    assert "Traceback" not in errors


async def test_browser_that_reads_nothing_is_hung_up_on(open_chat: OpenChat) -> None:
    """It costs neither memory without end nor anybody else's time."""
    chat = await open_chat()
    ada, ben = await chat.guest("Ada"), await chat.guest("Ben")
    await ada.does("room:create", roomId="lobby", visibility="public")
    for person in (ada, ben):
        await person.enters("lobby")
    await ada.sees("people", lambda m: len(m["people"]) == 2)
    for _ in range(10_000):  # 60 MB, many times what sockets buffer
        await ada.does("room:publish", roomId="lobby", body="€" * 2000)
        if ada.saw("people", lambda m: len(m["people"]) == 1):
            break
    else:
        pytest.fail("Ben is still there")


# What is refused


async def test_wrong_passwords_and_unknown_addresses_get_the_same_answer(chat: Chat) -> None:
    ada = chat.visitor("Ada")
    code = await ada.sign_up()
    unverified = await ada.post("signin", email=ada.email, password="correct horse")
    assert unverified == (401, {"error": "verify your address first"})
    assert (await ada.post("verify", email=ada.email, code="no"))[0] == 400
    assert (await ada.post("verify", email=ada.email, code=code))[0] == 200
    refusal = 401, {"error": "the address or the password is wrong"}
    assert await ada.post("signin", email=ada.email, password="wrong horse") == refusal
    assert await ada.post("signin", email="eve@example.org", password="wrong horse") == refusal
    again = await ada.post("signup", email=ada.email, username="Eve", password="correct horse")
    assert again == (400, {"error": "that address has an account: sign in"})


async def test_code_is_void_after_a_few_wrong_ones(chat: Chat) -> None:
    ada = chat.visitor("Ada")
    code = await ada.sign_up()
    for _ in range(5):
        await ada.post("verify", email=ada.email, code="wrong")
    assert (await ada.post("verify", email=ada.email, code=code))[0] == 400


async def test_socket_without_a_valid_token_is_closed(chat: Chat) -> None:
    ada = chat.visitor("Ada")
    for first in ('{"token": "made up"}', "[]", "not JSON"):
        async with ada.http.ws_connect("/socket") as connection, asyncio.timeout(10):
            await connection.send_str(first)
            frame = await connection.receive()
            assert (frame.type, frame.data) == (WSMsgType.CLOSE, 4401)


async def test_refusal_says_why_and_emits_nothing(chat: Chat, receiver: Receiver) -> None:
    ada, ben = await chat.guest("Ada"), await chat.guest("Ben")
    await ada.does("room:create", roomId="lobby", visibility="public")
    for action, fields, reason in REFUSALS:
        answer = await ben.asks(action, **fields)
        assert reason in answer.get("reason", "it was done"), action
    await ada.does("room:destroy", roomId="lobby")
    await receiver.gets_event("room:destroy")
    assert [r["event"] for r in receiver.of_rooms()] == ["room:create", "room:destroy"]
    assert not any(r["event"].startswith("user:") for r in receiver.records)


async def test_text_that_no_webhook_could_carry_is_refused(chat: Chat) -> None:
    ada = await chat.guest("Ada")
    await ada.does("room:create", roomId="lobby", visibility="public")
    await ada.enters("lobby")
    assert ada.socket is not None
    await ada.socket.send_str('{"do": "room:publish", "roomId": "lobby", "body": "\\ud800"}')
    assert (await ada.sees("refused"))["reason"] == "that is not JSON"
    await ada.does("room:publish", roomId="lobby", body="still here")


async def test_markup_in_names_and_messages_stays_text(chat: Chat, receiver: Receiver) -> None:
    """The page sets text only, and no inline script could run in it."""
    name, room, body = "<b>Ada</b>", "<img src=x onerror=alert(1)>", "<script>alert(1)</script>"
    ada = await chat.guest(name)
    await ada.does("room:create", roomId=room, visibility="public")
    await ada.enters(room)
    await ada.does("room:publish", roomId=room, body=body)
    seen = await ada.sees("message", lambda m: m["message"]["from"] == name)
    assert (seen["roomId"], seen["message"]["body"]) == (room, body)
    published = await receiver.gets(lambda r: _is(r, "room:publish", name))
    assert (published["data"]["roomId"], published["data"]["body"]) == (room, body)
    async with ada.http.get("/") as response:
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy


def _who(record: Record) -> object:
    return record["session"]["user"]["username"]


def _is(record: Record, event: str, who: str) -> bool:
    return bool(record["event"] == event) and _who(record) == who
