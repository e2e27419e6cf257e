"""Webhook: registered HTTP endpoint with its events, keys, headers and policies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from ssl import SSLContext
from types import MappingProxyType
from typing import Final, Literal, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from yarl import URL

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Event
from relaybox_hooks.targets.headers import RESERVED, STANDARD, HeadersFunction, checked_headers
from relaybox_hooks.targets.policies import BreakerPolicy, RetryPolicy, Timeouts
from relaybox_hooks.validation import (
    Overflow,
    check_int,
    check_kind,
    check_overflow,
    to_seconds,
    to_utc,
)
from relaybox_hooks.wire.signing import SigningKey
from relaybox_hooks.wire.standard_webhooks import check_secrets

#: Order key of deliveries; a function returns the key, or ``None`` for no order.
OrderBy: TypeAlias = Literal["connection", "room", "none"] | Callable[[Event], str | None]

#: Options whose value the repr masks.
_SECRETS: Final = ("previous_key", "standard_webhooks")
_USER_INFO: Final = re.compile(r"[^/?#]*//[^/?#]*@")
_IDENTIFIER: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Webhook:
    """HTTP endpoint and the events to send to it; immutable. Its repr masks all keys.

    Options from ``concurrency`` to ``max_age`` that are ``None`` take the default of ``Hooks``;
    for ``breaker`` that is ``"default"``.

    Attributes:
        url: ``http`` or ``https`` URL without user info; a fragment is not sent.
        events: event names or patterns, for example ``["auth:signin", "room:*"]``.
        signing_key: signing key, used as UTF-8 text without decoding.
        previous_key: signing key before ``rotate_at``.
        rotate_at: aware datetime from which ``signing_key`` signs all attempts, retries and
            replays included; requires ``previous_key``.
        standard_webhooks: Standard Webhooks secret (``whsec_...``), or several during a
            rotation: requests also have the headers of that scheme, one signature per secret.
        id: value of ``X-Relaybox-Webhook-Id``; by default a UUID derived from URL and name, the
            same after a restart.
        name: name in logs and metrics.
        enabled: ``False`` keeps the webhook registered but sends nothing to it.
        headers: headers of every request beside the protocol's own, which they cannot replace;
            or an async function that makes them. Its result is kept until the endpoint answers
            401: then it is called again, and the attempt made once more. Where it raises, the
            attempt has failed and is tried again.
        ssl: how to speak TLS with this endpoint: a client certificate, a private authority.
        profile: name of a profile of ``Hooks(profiles=...)``, whose ``ssl`` and ``headers`` hold
            for this webhook too, but for what it has of its own.
        app_pid: send only events of sessions with this ``app_pid``.
        concurrency: maximum number of requests in flight.
        queue_size: bound of the lane, in events.
        max_pending_bytes: bound of the lane, in bytes of events.
        overflow: policy of a full lane.
        order_by: order key of deliveries.
        retry: schedule of retries.
        timeouts: timeouts of an attempt.
        breaker: circuit breaker; ``None`` for none.
        max_age: seconds after which an undelivered event becomes a dead letter.

    Raises:
        ConfigError: a value is invalid; ``option`` is its name.
    """

    url: str
    events: tuple[str, ...] | Iterable[str]
    signing_key: str = field(repr=False)
    previous_key: str | None = field(default=None, kw_only=True)
    rotate_at: datetime | None = field(default=None, kw_only=True)
    standard_webhooks: str | tuple[str, ...] | Iterable[str] | None = field(
        default=None, kw_only=True
    )
    id: str = field(default="", kw_only=True)
    name: str = field(default="", kw_only=True)
    enabled: bool = field(default=True, kw_only=True)
    headers: Mapping[str, str] | HeadersFunction = field(
        default_factory=lambda: MappingProxyType({}), kw_only=True, repr=False, hash=False
    )
    ssl: SSLContext | None = field(default=None, kw_only=True)
    profile: str | None = field(default=None, kw_only=True)
    app_pid: str | None = field(default=None, kw_only=True)
    concurrency: int | None = field(default=None, kw_only=True)
    queue_size: int | None = field(default=None, kw_only=True)
    max_pending_bytes: int | None = field(default=None, kw_only=True)
    overflow: Overflow | None = field(default=None, kw_only=True)
    order_by: OrderBy | None = field(default=None, kw_only=True)
    retry: RetryPolicy | None = field(default=None, kw_only=True)
    timeouts: Timeouts | None = field(default=None, kw_only=True)
    breaker: BreakerPolicy | Literal["default"] | None = field(default="default", kw_only=True)
    max_age: float | timedelta | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        _check_url(self.url)
        SigningKey(self.signing_key)
        if self.previous_key is not None or self.rotate_at is not None:
            set_(self, "rotate_at", _checked_rotation(self.previous_key, self.rotate_at))
        if self.standard_webhooks is not None:
            set_(self, "standard_webhooks", check_secrets(self.standard_webhooks))
        set_(self, "events", _checked_events(self.events))
        if not callable(self.headers):
            set_(self, "headers", MappingProxyType(self.checked_headers(self.headers)))
        if not isinstance(self.name, str) or not self.name.isprintable():
            raise ConfigError("Webhook.name", self.name, "give printable text: it is for logs")
        if not isinstance(self.enabled, bool):
            raise ConfigError("Webhook.enabled", self.enabled, "give True or False")
        set_(self, "id", self.id or str(uuid5(NAMESPACE_URL, f"{self.url} {self.name}")))
        if not isinstance(self.id, str) or not _IDENTIFIER.fullmatch(self.id):
            raise ConfigError("Webhook.id", self.id, "give printable ASCII: it is sent in a header")
        set_(self, "name", self.name or self.id)
        if self.app_pid is not None and not (isinstance(self.app_pid, str) and self.app_pid):
            raise ConfigError("Webhook.app_pid", self.app_pid, "give an application's public id")
        if self.profile is not None and not (isinstance(self.profile, str) and self.profile):
            raise ConfigError("Webhook.profile", self.profile, "give a name in Hooks(profiles=...)")
        check_kind("Webhook.ssl", self.ssl, SSLContext)
        if self.ssl is not None and not self.url.lower().startswith("https:"):
            raise ConfigError("Webhook.ssl", self.ssl, "its URL is not https; leave it out")
        self._check_policies()

    def _check_policies(self) -> None:
        for option in ("concurrency", "queue_size", "max_pending_bytes"):
            if getattr(self, option) is not None:
                check_int(f"Webhook.{option}", getattr(self, option))
        if self.overflow is not None:
            check_overflow("Webhook.overflow", self.overflow)
        if self.order_by is not None:
            check_order_by("Webhook.order_by", self.order_by)
        if self.max_age is not None:
            object.__setattr__(self, "max_age", to_seconds("Webhook.max_age", self.max_age))
        check_kind("Webhook.retry", self.retry, RetryPolicy)
        check_kind("Webhook.timeouts", self.timeouts, Timeouts)
        if self.breaker != "default":
            check_kind("Webhook.breaker", self.breaker, BreakerPolicy)

    def __repr__(self) -> str:
        shown = [f"url={self.shown_url!r}", f"events={self.events!r}", "signing_key='***'"]
        for option in fields(self)[3:]:
            value = getattr(self, option.name)
            if option.repr and value != option.default:
                shown.append(f"{option.name}={'***' if option.name in _SECRETS else value!r}")
        return f"Webhook({', '.join(shown)})"

    @property
    def shown_url(self) -> str:
        """Return the URL for logs, without its query, which may contain a token."""
        return str(URL(self.url).with_query(None).with_fragment(None))

    def checked_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return a copy of headers that may be sent to this webhook beside the protocol's own.

        Raises:
            ConfigError: they may not; names the header, and not its value.
        """
        reserved = RESERVED | STANDARD if self.standard_webhooks else RESERVED
        return checked_headers("Webhook.headers", headers, reserved)

    def key_at(self, time: float) -> str:
        """Return the signing key at ``time``, seconds since the Unix epoch."""
        if self.previous_key is None or self.rotate_at is None:
            return self.signing_key
        return self.signing_key if self.rotate_at.timestamp() <= time else self.previous_key


def check_order_by(option: str, value: OrderBy) -> None:
    """Raise ConfigError unless ``value`` is a valid ``order_by``."""
    if value not in ("connection", "room", "none") and not callable(value):
        raise ConfigError(option, value, "choose 'connection', 'room', 'none' or a function")


def _check_url(url: str) -> None:
    if not isinstance(url, str):
        raise ConfigError("Webhook.url", url, "give an http:// or https:// URL")
    if _USER_INFO.match(url):
        raise ConfigError(
            "Webhook.url",
            "***",
            "user info in the URL would show in logs; send an Authorization header instead",
        )
    if not url.isprintable() or any(map(str.isspace, url)):
        raise ConfigError("Webhook.url", url, "give an http:// or https:// URL without white space")
    try:
        parsed = URL(url)
    except ValueError as error:
        raise ConfigError("Webhook.url", url, f"not a URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.raw_host:
        raise ConfigError("Webhook.url", url, "give an http:// or https:// URL with a host")


def _checked_events(events: Iterable[str]) -> tuple[str, ...]:
    if isinstance(events, str):
        raise ConfigError("Webhook.events", events, f"give a list: [{events!r}]")
    try:
        names = tuple(dict.fromkeys(events))
    except TypeError:
        raise ConfigError("Webhook.events", events, "give a list of names") from None
    if not names:
        raise ConfigError("Webhook.events", names, "name at least one event, or '*' for all")
    return names


def _checked_rotation(previous_key: str | None, rotate_at: datetime | None) -> datetime:
    if previous_key is None:
        raise ConfigError(
            "Webhook.previous_key",
            previous_key,
            "give the key that signs before rotate_at, or leave both out",
        )
    SigningKey(previous_key, "Webhook.previous_key")
    if rotate_at is None:
        raise ConfigError(
            "Webhook.rotate_at", rotate_at, "say when signing_key takes over, or leave both out"
        )
    return to_utc("Webhook.rotate_at", rotate_at)
