"""What options mean: moments, above all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from typer import BadParameter

from relaybox_hooks.cli.inputs import parse_time

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("2026-11-24T11:00Z", timedelta(hours=1)),
        ("2026-11-24T12:00+01:00", timedelta(hours=1)),
    ],
)
def test_a_moment_is_a_date_or_so_long_ago(text: str, before: timedelta) -> None:
    assert parse_time(text, "--since", NOW) == (NOW - before).timestamp()


def test_a_date_without_a_zone_is_this_machines() -> None:
    local = datetime(2026, 11, 24, 11).astimezone()
    assert parse_time("2026-11-24T11:00", "--since", NOW) == local.timestamp()
    assert parse_time(None, "--since", NOW) is None


@pytest.mark.parametrize("text", ["yesterday", "15", "-3m", "0001-01-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="30s, 15m, 2h, 7d ago"):
        parse_time(text, "--since", NOW)
