"""Two keys in turn: the timestamp that is signed says which of them signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from relaybox_hooks.session import NO_SESSION
from relaybox_hooks.wire.envelope import Envelope, format_timestamp, timestamp_of
from relaybox_hooks.wire.key_rotation import RotatingKey
from relaybox_hooks.wire.signing import SigningKey

OLD, NEW = SigningKey("the old key"), SigningKey("the new key")
MOMENT = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
ENVELOPE = Envelope.encode("e1", "room:join", {"roomId": "r"}, NO_SESSION, 1000, time=0.0)


def body_at(moment: datetime) -> bytes:
    return ENVELOPE.at(format_timestamp(moment.timestamp()))


@pytest.mark.parametrize(
    ("before", "key"),
    [
        (timedelta(days=5000), OLD),
        (timedelta(seconds=1), OLD),
        (timedelta(milliseconds=1), OLD),
        (timedelta(0), NEW),
        (timedelta(milliseconds=-1), NEW),
        (timedelta(days=-5000), NEW),
    ],
)
def test_the_new_key_signs_from_the_moment_on(before: timedelta, key: SigningKey) -> None:
    body = body_at(MOMENT - before)
    assert RotatingKey(OLD, NEW, MOMENT).sign(body) == key.sign(body)


def test_the_moment_may_be_told_in_any_time_zone() -> None:
    key = RotatingKey(OLD, NEW, MOMENT.astimezone(timezone(timedelta(hours=-7))))
    for body, expected in ((body_at(MOMENT - timedelta(minutes=1)), OLD), (body_at(MOMENT), NEW)):
        assert key.sign(body) == expected.sign(body)


def test_a_body_has_its_timestamp_where_it_is_looked_for() -> None:
    assert timestamp_of(body_at(MOMENT)) == b"2026-03-01T12:00:00.500Z"
