"""Options of a ``Hooks`` that are plain values, validated when they are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Catalogue
from relaybox_hooks.targets.policies import (
    DURABLE_RETRY,
    BreakerPolicy,
    RetentionPolicy,
    RetryPolicy,
    Timeouts,
)
from relaybox_hooks.targets.settings import MAX_PENDING_BYTES, Settings
from relaybox_hooks.targets.webhook import OrderBy
from relaybox_hooks.transport.budget import KEEPALIVE
from relaybox_hooks.transport.egress import EgressPolicy
from relaybox_hooks.validation import Overflow, check_int, check_kind, to_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keyword arguments of :class:`~relaybox_hooks.Hooks` that a file can hold.

    Raises:
        ConfigError: a value that cannot work, by name.
    """

    queue_size: int = 1000
    max_pending_bytes: int = MAX_PENDING_BYTES
    overflow: Overflow = "wait"
    emit_timeout: float | timedelta | None = None
    concurrency: int = 16
    order_by: OrderBy = "connection"
    retry: RetryPolicy | None = None
    timeouts: Timeouts | None = None
    breaker: BreakerPolicy | None = BreakerPolicy()  # noqa: RUF009 - frozen
    max_age: float | timedelta | None = None
    max_body: int = 1_048_576
    max_response: int = 65_536
    max_connections: int | None = None
    keepalive: float | timedelta = KEEPALIVE
    egress: EgressPolicy = EgressPolicy.DEFAULT
    custom_events: Iterable[str] = ()
    logging: bool = True
    dead_letter_limit: int = 10_000
    dead_letter_bytes: int = 64 * 2**20
    retention: RetentionPolicy | None = None
    close_timeout: float | timedelta = 10.0

    def __post_init__(self) -> None:
        check_int("dead_letter_limit", self.dead_letter_limit, least=0)
        check_int("dead_letter_bytes", self.dead_letter_bytes)
        self.settings(durable=False)
        if not isinstance(self.egress, EgressPolicy):
            raise ConfigError("egress", self.egress, "give an EgressPolicy")
        to_seconds("emit_timeout", self.emit_timeout, zero=True, none=True)
        to_seconds("close_timeout", self.close_timeout, zero=True)
        check_int("max_body", self.max_body)
        if self.max_connections is not None:
            check_int("max_connections", self.max_connections)
        if to_seconds("keepalive", self.keepalive, zero=True) == float("inf"):
            raise ConfigError("keepalive", self.keepalive, "give seconds; 0 keeps no connection")
        check_kind("retention", self.retention, RetentionPolicy)
        if not isinstance(self.custom_events, str):  # which Catalogue rejects by name
            object.__setattr__(self, "custom_events", tuple(self.custom_events))
        Catalogue(self.custom_events)

    def settings(self, *, durable: bool) -> Settings:
        """Return the defaults of webhooks; with a journal they retry for days."""
        return Settings(
            queue_size=self.queue_size,
            max_pending_bytes=self.max_pending_bytes,
            overflow=self.overflow,
            concurrency=self.concurrency,
            order_by=self.order_by,
            retry=self.retry or (DURABLE_RETRY if durable else RetryPolicy()),
            timeouts=Timeouts() if self.timeouts is None else self.timeouts,
            breaker=self.breaker,
            max_age=self.max_age,
            max_response=self.max_response,
        )
