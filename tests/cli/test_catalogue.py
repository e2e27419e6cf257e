"""``events`` and ``keygen``: what can happen, and a key to sign it with."""

from __future__ import annotations

from support.programs import Call


def test_an_event_is_shown_in_full(call: Call) -> None:
    code, output, _ = call("events", "room:join")
    assert code == 0
    assert output.startswith('data\n{\n  "roomId": "chat:one"\n}\nsession\n{\n  "appPid": ')
    code, _, errors = call("events", "rom:join")
    assert code == 2
    assert errors.startswith("error: unknown event 'rom:join': did you mean 'room:join'?")
