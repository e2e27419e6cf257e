"""What ``Hooks`` was given, and what it comes to for one webhook."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from relaybox_hooks.targets.policies import BreakerPolicy, RetryPolicy, Timeouts
from relaybox_hooks.targets.webhook import OrderBy, Webhook, check_order_by
from relaybox_hooks.validation import Overflow, check_int, check_kind, check_overflow, to_seconds

#: What a webhook may set for itself, ``None`` for not; its breaker has another word for that.
_OWN: Final = (
    "queue_size",
    "overflow",
    "concurrency",
    "order_by",
    "retry",
    "timeouts",
    "max_age",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Policies with nothing left open, shared by all the webhooks that have the same."""

    queue_size: int = 1000
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
        check_overflow("overflow", self.overflow)
        check_int("concurrency", self.concurrency)
        check_order_by("order_by", self.order_by)
        check_kind("retry", self.retry, RetryPolicy)
        check_kind("timeouts", self.timeouts, Timeouts)
        check_kind("breaker", self.breaker, BreakerPolicy)
        check_int("max_response", self.max_response, least=0)
        object.__setattr__(self, "max_age", to_seconds("max_age", self.max_age, none=True))

    @property
    def max_age_seconds(self) -> float:
        """``max_age`` in seconds, ``inf`` where there is none."""
        return to_seconds("max_age", self.max_age, none=True)


def resolve(webhook: Webhook, defaults: Settings) -> Settings:
    """What holds for ``webhook``: its own policies, the defaults for the rest."""
    chosen: dict[str, Any] = {
        name: value for name in _OWN if (value := getattr(webhook, name)) is not None
    }
    if webhook.breaker != "default":
        chosen["breaker"] = webhook.breaker  # None, too: for never
    return replace(defaults, **chosen) if chosen else defaults
