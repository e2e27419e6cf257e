"""The catalogue of events, the patterns over it, and the event itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relaybox_hooks import EVENTS, ConfigError, Event, Session, UnknownEventError
from relaybox_hooks.events import Catalogue

ROOM_EVENTS = {"room:create", "room:join", "room:leave", "room:destroy", "room:publish"}


def test_the_catalogue_is_the_thirteen_documented_events() -> None:
    assert sorted(EVENTS) == [
        "auth:session:initialize",
        "auth:signin",
        "auth:signup",
        "auth:verify",
        "presence:join",
        "presence:leave",
        "presence:update",
        "room:create",
        "room:destroy",
        "room:join",
        "room:leave",
        "room:publish",
        "user:status:update",
    ]


def test_a_name_stands_for_itself() -> None:
    assert Catalogue().matching("room:join") == ("room:join",)


def test_a_prefix_pattern_stands_for_the_events_below_it() -> None:
    catalogue = Catalogue(["room:member:add", "rooms:clear", "room"])
    assert set(catalogue.matching("room:*")) == ROOM_EVENTS | {"room:member:add"}
    assert catalogue.matching("room:member:*") == ("room:member:add",)
    assert catalogue.matching("auth:session:*") == ("auth:session:initialize",)


def test_a_star_stands_for_every_declared_event() -> None:
    assert Catalogue(["order:paid"]).matching("*") == (*EVENTS, "order:paid")


def test_declaring_a_documented_event_again_changes_nothing() -> None:
    assert tuple(Catalogue(["room:join", "x", "x"]).names) == (*EVENTS, "x")


@pytest.mark.parametrize(
    "pattern", ["room:jion", "rooms:*", "room*", "*:join", "", ":*", "**", "room:join:*"]
)
def test_a_pattern_that_stands_for_nothing_is_unknown(pattern: str) -> None:
    with pytest.raises(UnknownEventError) as caught:
        Catalogue().matching(pattern)
    assert caught.value.name == pattern
    assert repr(pattern) in str(caught.value)


def test_an_unknown_name_comes_with_the_nearest_known_one() -> None:
    with pytest.raises(UnknownEventError, match="did you mean 'room:join'") as caught:
        Catalogue().matching("room:jion")
    assert caught.value.suggestion == "room:join"
    assert "custom_events" in str(caught.value)


def test_a_custom_event_is_suggested_too() -> None:
    with pytest.raises(UnknownEventError, match="did you mean 'order:paid'"):
        Catalogue(["order:paid"]).matching("order:payed")


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(UnknownEventError) as caught:
        Catalogue().matching("zzz")
    assert caught.value.suggestion is None
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "room:*", "*", "room:", ":join", "a b", "a\n", "a:b\r\n", "größe", "a::b", 5, None]
)
def test_a_custom_event_needs_a_proper_name(name: str) -> None:
    with pytest.raises(ConfigError, match="custom_events") as caught:
        Catalogue([name])
    assert caught.value.value == name


@pytest.mark.parametrize("name", ["order", "order:paid", "order:item_1.added-now", "A:B:C:D"])
def test_a_proper_custom_name_is_declared(name: str) -> None:
    assert Catalogue([name]).matching(name) == (name,)


def test_custom_events_as_one_string_are_refused() -> None:
    """Otherwise each of its letters would be declared."""
    with pytest.raises(ConfigError, match="pass a list"):
        Catalogue("order:paid")


def test_an_event_tells_its_time_in_utc() -> None:
    event = Event("1", "room:join", None, Session(), 1_729_602_908.913)
    assert event.timestamp == datetime(2024, 10, 22, 13, 15, 8, 913000, tzinfo=UTC)


def test_an_event_does_not_show_its_data() -> None:
    event = Event("1", "room:join", {"secret": "payload"}, Session(client_id="who"), 0.0)
    assert repr(event) == "<Event room:join 1>"
