"""The policies of a webhook: its own where it has some, the defaults of Hooks for the rest."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest
from support import KEY

from relaybox_hooks import BreakerPolicy, ConfigError, RetryPolicy, Timeouts, Webhook
from relaybox_hooks.targets.settings import Settings, resolve

DEFAULTS = Settings(queue_size=7, overflow="drop_oldest", concurrency=3, max_age=60)


def webhook(**options: Any) -> Webhook:
    return Webhook("https://example.com/", ["*"], KEY, **options)


def test_a_webhook_without_policies_shares_the_defaults() -> None:
    assert resolve(webhook(), DEFAULTS) is DEFAULTS


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue_size", 5),
        ("max_pending_bytes", 500),
        ("overflow", "raise"),
        ("concurrency", 1),
        ("order_by", "room"),
        ("retry", RetryPolicy(attempts=2)),
        ("timeouts", Timeouts(total=1)),
        ("breaker", BreakerPolicy(failures=1)),
        ("breaker", None),
        ("max_age", 5.0),
    ],
)
def test_a_policy_of_its_own_replaces_one_default_and_no_other(option: str, value: Any) -> None:
    settings = resolve(webhook(**{option: value}), DEFAULTS)
    assert getattr(settings, option) == value
    others = set(Settings.__slots__) - {option}
    assert all(getattr(settings, name) == getattr(DEFAULTS, name) for name in others)


def test_no_age_limit_is_no_limit() -> None:
    assert Settings().max_age_seconds == float("inf")
    assert Settings(max_age=timedelta(minutes=1)).max_age_seconds == 60.0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue_size", 0),
        ("max_pending_bytes", 0),
        ("overflow", "drop"),
        ("concurrency", 0),
        ("order_by", "user"),
        ("retry", 5),
        ("timeouts", 5),
        ("breaker", "default"),
        ("max_age", 0),
        ("max_response", -1),
    ],
)
def test_a_default_that_cannot_work_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings(**{option: value})
    assert (caught.value.option, caught.value.value) == (option, value)


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.queue_size = 1  # type: ignore[misc]
