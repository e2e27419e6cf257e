"""``trigger``: one event over the library's own Hooks, and what is said of each attempt."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from signal import SIGINT

import pytest
from support import KEY
from support.programs import Call, Listen, Run, Start

from relaybox_hooks import WebhookVerifier
from relaybox_hooks.cli.samples import DATA, session_for
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, Redirect, ResetAfterRead


async def test_listen_verifies_what_trigger_sends(listen: Listen, run: Run) -> None:
    """The whole way with both programs, over a fault."""
    listening = await listen("--status", "503", "--first", "1", "--max-requests", "2")
    code, output, errors = await run(
        "trigger", "room:publish", "--url", listening.url, "--key", KEY
    )
    assert (code, errors) == (0, "")
    said, first, second = output.splitlines()
    assert said.startswith("room:publish  event ")
    assert said.endswith(f"  to {listening.url}")
    assert first.startswith("attempt 1  status 503  ")
    assert "  next try in " in first
    assert second.startswith("attempt 2  status 204  ")
    assert second.endswith("  delivered")
    records = [await listening.program.record() for _ in range(2)]
    assert [record["duplicate"] for record in records] == [False, True]
    assert {record["id"] for record in records} == {said.split()[2]}
    assert records[0]["data"] == DATA["room:publish"]
    assert records[0]["session"] == session_for("room:publish")
    assert (await listening.program.ends()).code == 0


async def test_data_session_headers_and_id_are_what_was_given(run: Run, tmp_path: Path) -> None:
    session = {"appPid": "chat", "user": {"username": "zoë"}}
    await asyncio.to_thread((tmp_path / "zoe.json").write_text, json.dumps(session), "utf-8")
    async with FaultReceiver() as receiver:
        code, _, errors = await run(
            *("trigger", "order:paid", "--custom", "--url", receiver.url),
            *("--data", '{"total": 12.50}', "--session", "@zoe.json", "--webhook-id", "crm"),
            *("--header", "Authorization: Bearer 1:2", "-H", "X-Other:3"),
            RELAYBOX_SIGNING_KEY="a key with spaces",
        )
        assert (code, errors) == (0, "")
        (request,) = receiver.requests
    assert (request.headers["Authorization"], request.headers["X-Other"]) == ("Bearer 1:2", "3")
    event = WebhookVerifier("a key with spaces").verify(request.headers, request.body)
    assert (event.name, event.data, event.webhook_id) == ("order:paid", {"total": 12.5}, "crm")
    assert event.session.app_pid == "chat"
    assert event.session.user is not None
    assert event.session.user.username == "zoë"


async def test_what_is_not_delivered_is_a_no(run: Run) -> None:
    """A final answer, attempts used up, nobody there, no answer in time; at the same time."""

    async def trigger(url: str, *options: str) -> tuple[int, list[str]]:
        code, output, _ = await run("trigger", "room:join", "--key", KEY, "--url", url, *options)
        return code, output.splitlines()[1:]

    deaf = socket.socket()  # bound, so that nobody else gets the port
    deaf.bind(("127.0.0.1", 0))
    async with (
        FaultReceiver(Redirect("/elsewhere")) as redirecting,
        FaultReceiver(ResetAfterRead()) as resetting,
        FaultReceiver(Answer(500)) as failing,
    ):
        failing.hold()
        rejected, exhausted, unreachable, hung = await asyncio.gather(
            trigger(redirecting.url),
            trigger(resetting.url, "--attempts", "2"),
            trigger(f"http://127.0.0.1:{deaf.getsockname()[1]}/", "--attempts", "1"),
            trigger(failing.url, "--attempts", "1", "--timeout", "0.1"),
        )
        assert len(resetting.requests) == 2
    deaf.close()
    assert {code for code, _ in (rejected, exhausted, unreachable, hung)} == {1}
    assert rejected[1][0].startswith("attempt 1  status 302: redirects are not followed")
    assert rejected[1][0].endswith("  given up on")
    assert rejected[1][1] == "not delivered: rejected after 1 attempt"
    assert "  next try in " in exhausted[1][0]
    assert exhausted[1][2] == "not delivered: exhausted after 2 attempts"
    assert "ConnectionRefusedError" in unreachable[1][0]
    assert hung[1][0].startswith("attempt 1  TimeoutError: no response in time  ")


async def test_ctrl_c_ends_it(start: Start) -> None:
    async with FaultReceiver(Hang()) as receiver:
        program = await start("trigger", "room:join", "--key", KEY, "--url", receiver.url)
        assert (await program.line()).startswith("room:join")
        await receiver.wait_for(1)
        ended = await program.ends(SIGINT)
    assert (ended.code, ended.errors) == (130, "")


async def test_a_query_that_may_hold_a_token_is_not_shown(run: Run) -> None:
    async with FaultReceiver() as receiver:
        url = receiver.url_for("/in?token=secret")
        _, output, errors = await run("trigger", "room:join", "--key", KEY, "--url", url)
    assert "secret" not in output + errors
    assert receiver.requests[0].query == "token=secret"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["rom:join"], "unknown event 'rom:join': did you mean 'room:join'?"),
        (["room:join", "--data", "{"], "Invalid value for --data: not JSON"),
        (["room:join", "--data", "@nothing.json"], "nothing.json: No such file or directory"),
        (["room:join", "--data", "9007199254740993"], "beyond ±(2^53 - 1)"),
        (["room:join", "--session", "[]"], "a session is a JSON object or null"),
        (["room:join", "--session", '{"clientID": "z"}'], "did you mean 'clientId'?"),
        (["room:join", "--header", "X-Token"], "'X-Token' has no value: write NAME:VALUE"),
        (["room:join", "--header", "Host: a"], "the protocol sets this header itself"),
        (["room:join", "--url", "ftp://h/"], "give an http:// or https:// URL with a host"),
        (["room:join", "--key", "another"], "an event is signed with one key"),
    ],
)
def test_what_cannot_be_sent_is_refused(call: Call, options: list[str], said: str) -> None:
    code, output, errors = call("trigger", *options, "--key", KEY)
    assert (code, output) == (2, "")
    assert said in " ".join(errors.split())
    assert "Traceback" not in errors


def test_a_key_is_asked_for(call: Call) -> None:
    code, _, errors = call("trigger", "room:join")
    assert code == 2
    assert "give the webhook's signing key, here or in $RELAYBOX_SIGNING_KEY" in errors
