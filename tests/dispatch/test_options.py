"""Options are checked by name when they are made, and are those of Hooks."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any

import pytest

from relaybox_hooks import (
    BreakerPolicy,
    ConfigError,
    EgressPolicy,
    Hooks,
    RetryPolicy,
    Timeouts,
)
from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.targets.policies import DURABLE_RETRY
from relaybox_hooks.targets.settings import Settings

#: Keyword arguments of Hooks that are objects of the process, which no file can hold.
OBJECTS = {"connector", "http_session", "profiles", "observers", "journal", "clock", "random"}

BAD: list[tuple[dict[str, Any], str]] = [
    ({"queue_size": 0}, "queue_size=0"),
    ({"overflow": "drop"}, "overflow='drop'"),
    ({"emit_timeout": -1}, "emit_timeout=-1"),
    ({"concurrency": 0}, "concurrency=0"),
    ({"order_by": "user"}, "order_by='user'"),
    ({"retry": 5}, "retry=5"),
    ({"timeouts": 5}, "timeouts=5"),
    ({"breaker": "none"}, "breaker='none'"),
    ({"max_age": 0}, "max_age=0"),
    ({"max_body": 0}, "max_body=0"),
    ({"max_response": 1023}, "max_response=1023"),
    ({"max_connections": 0}, "max_connections=0"),
    ({"keepalive": -1}, "keepalive=-1"),
    ({"keepalive": float("inf")}, "keepalive=inf"),
    ({"egress": "public"}, "egress='public'"),
    ({"custom_events": "order:paid"}, "custom_events='order:paid'"),
    ({"dead_letter_limit": -1}, "dead_letter_limit=-1"),
    ({"dead_letter_bytes": 0}, "dead_letter_bytes=0"),
    ({"max_pending_bytes": 0}, "max_pending_bytes=0"),
    ({"retention": 30}, "retention=30"),
    ({"close_timeout": None}, "close_timeout=None"),
    ({"close_timeout": -1}, "close_timeout=-1"),
]


@pytest.mark.parametrize("made", [Options, Hooks])
@pytest.mark.parametrize(("options", "named"), BAD, ids=[named for _, named in BAD])
def test_an_option_that_cannot_work_is_an_error_by_name(
    made: type, options: Any, named: str
) -> None:
    """From Hooks too, which make their Options of the arguments."""
    with pytest.raises(ConfigError) as caught:
        made(**options)
    assert str(caught.value).startswith(f"{named}: ")
    assert {caught.value.option: caught.value.value} == options


def test_every_option_is_among_those_that_are_tried_above() -> None:
    """But for ``logging``, which any value turns on or off."""
    tried = {name for options, _ in BAD for name in options}
    assert tried == {field.name for field in fields(Options)} - {"logging"}


def test_a_custom_event_that_cannot_be_declared_is_an_error() -> None:
    with pytest.raises(ConfigError, match="custom_events='order paid'"):
        Options(custom_events=["order paid"])


@pytest.mark.parametrize(
    "options",
    [
        {"emit_timeout": 0},
        {"emit_timeout": timedelta(seconds=1)},
        {"close_timeout": 0},
        {"close_timeout": timedelta(minutes=1)},
        {"max_age": timedelta(hours=1)},
        {"max_response": 1024},
        {"max_connections": 1},
        {"keepalive": 0},
        {"keepalive": timedelta(minutes=1)},
        {"dead_letter_limit": 0},
        {"breaker": None},
        {"egress": EgressPolicy.DEFAULT},
    ],
    ids=str,
)
def test_the_least_of_each_option_works(options: Any) -> None:
    Options(**options)


def test_they_are_the_keyword_arguments_of_hooks_with_their_defaults_and_types() -> None:
    """All but the objects."""
    arguments = {
        name: (argument.default, argument.annotation)
        for name, argument in inspect.signature(Hooks.__init__).parameters.items()
        if argument.kind is argument.KEYWORD_ONLY
    }
    assert arguments.keys() >= OBJECTS
    assert {field.name: (field.default, field.type) for field in fields(Options)} == {
        name: of_hooks for name, of_hooks in arguments.items() if name not in OBJECTS
    }


# Settings of webhooks


@pytest.mark.parametrize(("durable", "retry"), [(False, RetryPolicy()), (True, DURABLE_RETRY)])
def test_without_a_retry_policy_a_journal_decides_for_how_long_retries_are_made(
    durable: bool, retry: RetryPolicy
) -> None:
    assert Options().settings(durable=durable).retry == retry
    assert RetryPolicy() != DURABLE_RETRY


@pytest.mark.parametrize("durable", [False, True])
def test_a_retry_policy_holds_with_and_without_a_journal(durable: bool) -> None:
    retry = RetryPolicy(attempts=2)
    assert Options(retry=retry).settings(durable=durable).retry is retry


def test_settings_have_the_values_of_the_options() -> None:
    values: dict[str, Any] = {
        "queue_size": 7,
        "max_pending_bytes": 700,
        "overflow": "drop_newest",
        "concurrency": 3,
        "order_by": "room",
        "retry": RetryPolicy(attempts=2),
        "timeouts": Timeouts(total=1),
        "breaker": BreakerPolicy(failures=3),
        "max_age": 60.0,
        "max_response": 2000,
    }
    assert values.keys() == {field.name for field in fields(Settings)}
    assert Options(**values).settings(durable=False) == Settings(**values)


def test_by_default_settings_have_a_breaker_and_timeouts() -> None:
    settings = Options().settings(durable=False)
    assert (settings.breaker, settings.timeouts) == (BreakerPolicy(), Timeouts())


def test_no_breaker_is_no_breaker() -> None:
    assert Options(breaker=None).settings(durable=False).breaker is None


# As a value


def test_custom_events_may_come_from_an_iterator() -> None:
    """They are read once, and are there for everyone who asks later."""
    options = Options(custom_events=iter(["order:paid", "order:sent"]))
    assert options.custom_events == ("order:paid", "order:sent")


def test_they_are_frozen_and_equal_where_their_values_are() -> None:
    assert Options(queue_size=5) == Options(queue_size=5) != Options()
    with pytest.raises(FrozenInstanceError):
        Options().queue_size = 1  # type: ignore[misc]
