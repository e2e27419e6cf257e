"""Effective settings of a webhook: its own options over the defaults of ``Hooks``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from relaybox_hooks.targets.policies import BreakerPolicy, RetryPolicy, Timeouts
from relaybox_hooks.targets.webhook import OrderBy, Webhook, check_order_by
from relaybox_hooks.validation import Overflow, check_int, check_kind, check_overflow, to_seconds

#: Bytes of events that may be pending for one webhook, unless the user says otherwise.
MAX_PENDING_BYTES: Final = 64 * 2**20

#: Options that a webhook may override; ``None`` keeps the default. ``breaker`` is not listed,
#: because its ``None`` means no breaker and ``"default"`` keeps the default.
_OVERRIDABLE: Final = (
    "queue_size",
    "max_pending_bytes",
    "overflow",
    "concurrency",
    "order_by",
    "retry",
    "timeouts",
    "max_age",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Complete set of options, shared by all webhooks with the same values."""

    queue_size: int = 1000
    max_pending_bytes: int = MAX_PENDING_BYTES
    overflow: Overflow = "wait"
    concurrency: int = 16
    order_by: OrderBy = "connection"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    breaker: BreakerPolicy | None = field(default_factory=BreakerPolicy)
    max_age: float | timedelta | None = None
    max_response: int = 65_536

    def __post_init__(self) -> None:
        check_int("queue_size", self.queue_size)
        check_int("max_pending_bytes", self.max_pending_bytes)
        check_overflow("overflow", self.overflow)
        check_int("concurrency", self.concurrency)
        check_order_by("order_by", self.order_by)
        check_kind("retry", self.retry, RetryPolicy)
        check_kind("timeouts", self.timeouts, Timeouts)
        check_kind("breaker", self.breaker, BreakerPolicy)
        check_int("max_response", self.max_response, least=1024)
        object.__setattr__(self, "max_age", to_seconds("max_age", self.max_age, none=True))

    @property
    def max_age_seconds(self) -> float:
        """Return ``max_age`` in seconds, ``inf`` without a limit."""
        return to_seconds("max_age", self.max_age, none=True)


def resolve(webhook: Webhook, defaults: Settings) -> Settings:
    """Return the settings of ``webhook``: its own options, ``defaults`` for the rest."""
    chosen: dict[str, Any] = {
        name: value for name in _OVERRIDABLE if (value := getattr(webhook, name)) is not None
    }
    if webhook.breaker != "default":
        chosen["breaker"] = webhook.breaker  # may be None: no breaker
    return replace(defaults, **chosen) if chosen else defaults
