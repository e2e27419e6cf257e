"""``events`` and ``keygen``: what can happen, and a key to sign it with."""

from __future__ import annotations

import json

from support.programs import Call

from relaybox_hooks import EVENTS


def test_an_event_is_shown_in_full(call: Call) -> None:
    code, output, _ = call("events", "room:join")
    assert code == 0
    assert output.startswith('data\n{\n  "roomId": "chat:one"\n}\nsession\n{\n  "appPid": ')
    code, _, errors = call("events", "rom:join")
    assert code == 2
    assert errors.startswith("error: unknown event 'rom:join': did you mean 'room:join'?")


def test_a_pattern_lists_the_events_below_it(call: Call) -> None:
    code, output, _ = call("events", "auth:*")
    assert code == 0
    header, *rows = [line.split()[0] for line in output.splitlines()]
    assert header == "event"
    assert rows == [name for name in EVENTS if name.startswith("auth:")]


def test_programs_read_an_object_for_each_event(call: Call) -> None:
    records = [json.loads(line) for line in call("events", "--json").output.splitlines()]
    assert [record["event"] for record in records] == [*EVENTS]
    assert all(record.keys() == {"event", "data", "session"} for record in records)


def test_a_key_has_32_hex_digits_and_is_new_each_time(call: Call) -> None:
    first, second = (call("keygen").output.strip() for _ in range(2))
    assert len(bytes.fromhex(first)) == 16
    assert first != second
