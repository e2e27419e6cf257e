"""Who is told: subscribers and webhooks come and go while events flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from contextvars import Context
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Unpack

from aiohttp import ClientSession

from relaybox_hooks.dispatch.emitter import Intake
from relaybox_hooks.dispatch.typed_calls import CustomT_contra, OnCall
from relaybox_hooks.errors import ConfigError, HooksClosedError, UnknownTargetError
from relaybox_hooks.events import EventName, EventPattern
from relaybox_hooks.lanes.subscriber_lane import OnceLane, SubscriberLane
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.targets.routing import Router
from relaybox_hooks.targets.settings import Settings, resolve
from relaybox_hooks.targets.subscriber import Handler, Subscriber, SubscriberOptions
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.validation import to_utc


class Registry(Intake[CustomT_contra]):
    """Registration. Every change holds from the next ``emit`` on.

    Mutable state: the router; lanes by webhook id; and each function's lane with the names it
    is told of.
    """

    _settings: Settings
    _router: Router[SubscriberLane, WebhookLane]
    _webhooks: dict[str, WebhookLane]
    _subscribers: dict[Hashable, tuple[SubscriberLane, dict[str, None]]]
    context: Context
    session: ClientSession
    random: Callable[[], float]

    # Subscribers

    def _on(
        self, *patterns: str, **options: Unpack[SubscriberOptions]
    ) -> Callable[[Handler], Handler]:
        """A decorator that registers a function for events, and returns it as it is.

        Args:
            patterns: event names, ``"room:*"`` or ``"*"``. Registered again for further
                events a function keeps its one lane, so its order holds across them.
            options: ``name``, ``in_thread``, ``concurrency``, ``queue_size``, ``overflow``: see
                :class:`~relaybox_hooks.targets.subscriber.Subscriber`.

        Raises:
            UnknownEventError: a pattern that stands for no declared event.
            ConfigError: an option that cannot work.
        """
        return self._decorator(patterns, options, once=False)

    def _once(
        self, *patterns: str, **options: Unpack[SubscriberOptions]
    ) -> Callable[[Handler], Handler]:
        """Like ``on``, for the first such event only."""
        return self._decorator(patterns, options, once=True)

    if TYPE_CHECKING:

        @property
        def on(self) -> OnCall[CustomT_contra]:
            """A decorator that registers a function for events, and returns it as it is."""

        @property
        def once(self) -> OnCall[CustomT_contra]:
            """Like ``on``, for the first such event only."""
    else:
        on = _on
        once = _once

    def add_subscriber(
        self,
        pattern: EventName | EventPattern | CustomT_contra,
        function: Handler,
        **options: Unpack[SubscriberOptions],
    ) -> None:
        """Register ``function`` as ``on`` does, without a decorator."""
        self._subscribe((pattern,), Subscriber(function=function, **options))

    def off(self, function: Handler, *patterns: EventName | EventPattern | CustomT_contra) -> None:
        """Tell ``function`` no more of these events, or of any where none is named.

        What it has been handed already it still handles.

        Raises:
            UnknownTargetError: it is not registered.
        """
        known = self._subscribers.get(_identity(function))
        if known is None:
            raise UnknownTargetError(function, "off() takes a function that on() was given")
        lane, names = known
        gone = tuple(names)
        if patterns:
            gone = tuple(
                name
                for pattern in patterns
                for name in self._catalogue.matching(pattern)
                if name in names
            )
        self._router.remove_subscriber(lane, gone)
        for name in gone:
            names.pop(name, None)
        if not names:
            del self._subscribers[_identity(function)]
            self.retire(lane)

    def _decorator(
        self, patterns: tuple[str, ...], options: SubscriberOptions, *, once: bool
    ) -> Callable[[Handler], Handler]:
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise ConfigError("pattern", patterns, 'name an event: @hooks.on("room:join")')
        for pattern in patterns:
            self._catalogue.matching(pattern)

        def register(function: Handler) -> Handler:
            self._subscribe(patterns, Subscriber(function=function, once=once, **options))
            return function

        return register

    def _subscribe(self, patterns: Iterable[str], subscriber: Subscriber) -> None:
        self._refuse_when_closed()
        names = dict.fromkeys(
            name for pattern in patterns for name in self._catalogue.matching(pattern)
        )
        known = self._subscribers.get(_identity(subscriber.function))
        if known is None:
            lane = self._make_lane(subscriber)
            self._subscribers[_identity(subscriber.function)] = lane, names
        else:
            lane, before = known
            if lane.subscriber != subscriber:
                raise ConfigError(
                    "function",
                    subscriber.name,
                    "already registered with other options; off() it first",
                )
            before.update(names)
        self._router.add_subscriber(lane, names)

    def _make_lane(self, subscriber: Subscriber) -> SubscriberLane:
        limit = subscriber.queue_size or self._settings.queue_size
        overflow = subscriber.overflow or self._settings.overflow
        if not subscriber.once:
            return SubscriberLane(self, subscriber, limit, overflow)
        lane = OnceLane(self, subscriber, limit, overflow)
        lane.forget = lambda lane: self.off(lane.subscriber.function)
        return lane

    # Webhooks

    @property
    def webhooks(self) -> tuple[Webhook, ...]:
        """The registered webhooks, as they are now, in the order of registration."""
        return tuple(lane.webhook for lane in self._webhooks.values())

    def add_webhook(self, webhook: Webhook) -> None:
        """Register ``webhook``.

        Raises:
            UnknownEventError: it names an event that nobody declared.
            ConfigError: another webhook has its id.
        """
        self._refuse_when_closed()
        if not isinstance(webhook, Webhook):
            raise ConfigError("webhook", webhook, "give a Webhook(url, events, signing_key)")
        names = self._names_of(webhook)
        if webhook.id in self._webhooks:
            raise ConfigError(
                "Webhook.id",
                webhook.id,
                "already registered; give each webhook its own id or name, or remove the other",
            )
        settings = resolve(webhook, self._settings)
        keeper = self.keeper
        if keeper is None:
            lane = WebhookLane(self, webhook, settings)
        else:
            lane = keeper.lane(webhook, settings)
        self._webhooks[webhook.id] = lane
        if webhook.enabled:
            self._router.add_webhook(lane, names, webhook.app_pid)
        else:
            lane.ending = "disabled"
        self._take_over(webhook.id)

    def _take_over(self, webhook_id: str) -> None:
        """Let a webhook's lane have what the journal, if there is one, holds for it."""
        if self.keeper is not None and self.keeper.register(webhook_id):
            self.disable_webhook(webhook_id, "it was disabled before the restart")

    def remove_webhook(self, webhook_id: str) -> Webhook:
        """Take a webhook off. What waits for it becomes dead letters (``removed``).

        Raises:
            UnknownTargetError: no webhook has this id.
        """
        lane = self._lane_of(webhook_id)
        self._router.remove_webhook(lane, self._names_of(lane.webhook), lane.webhook.app_pid)
        del self._webhooks[webhook_id]
        lane.end("removed")
        if self.keeper is not None:
            self.keeper.forget(webhook_id)
        self.retire(lane)
        return lane.webhook

    def enable_webhook(self, webhook_id: str) -> None:
        """Send a webhook events again; harmless where it is enabled.

        Raises:
            UnknownTargetError: no webhook has this id.
        """
        lane = self._lane_of(webhook_id)
        if not lane.webhook.enabled:
            lane.webhook = replace(lane.webhook, enabled=True)
            lane.resume()
            if self.keeper is not None:
                self.keeper.save(webhook_id)
            self._router.add_webhook(lane, self._names_of(lane.webhook), lane.webhook.app_pid)

    def disable_webhook(self, webhook_id: str, reason: str = "disabled by the server") -> None:
        """Send a webhook nothing more. What waits for it becomes dead letters (``disabled``).

        Raises:
            UnknownTargetError: no webhook has this id.
        """
        lane = self._lane_of(webhook_id)
        if not lane.webhook.enabled:
            return
        lane.webhook = replace(lane.webhook, enabled=False)
        self._router.remove_webhook(lane, self._names_of(lane.webhook), lane.webhook.app_pid)
        lane.end("disabled")
        if self.keeper is not None:
            self.keeper.save(webhook_id)
        if self.notifier.webhook_disabled:
            self.notifier.tell(self.notifier.webhook_disabled, lane.webhook, reason)

    def rotate_signing_key(
        self, webhook_id: str, new_key: str, *, at: datetime | None = None
    ) -> None:
        """Sign a webhook's requests with ``new_key`` from a moment on, retries and replays too.

        Let its receiver accept both keys first. Nothing waits, and no delivery is disturbed:
        what is in flight was signed already. A rotation that is still to come is replaced. It
        lasts as long as this object: see ``Webhook.rotate_at`` for one that outlives a restart.

        Args:
            at: the moment (aware); now by default. Until then the key now in use signs.

        Raises:
            UnknownTargetError: no webhook has this id.
            ConfigError: a key that cannot be used, or a moment without a time zone.
        """
        lane = self._lane_of(webhook_id)
        old_key = None
        if at is not None:
            at = to_utc("at", at)
            # Before start() there may be no clock yet; the one to come keeps this time too.
            now = self.clock.time() if hasattr(self, "clock") else time.time()
            old_key = lane.webhook.key_at(now)
        lane.webhook = replace(
            lane.webhook, signing_key=new_key, previous_key=old_key, rotate_at=at
        )
        lane.endpoint.rekey(lane.webhook)

    def _names_of(self, webhook: Webhook) -> dict[str, None]:
        return dict.fromkeys(
            name for pattern in webhook.events for name in self._catalogue.matching(pattern)
        )

    def _lane_of(self, webhook_id: str) -> WebhookLane:
        lane = self._webhooks.get(webhook_id)
        if lane is None:
            raise UnknownTargetError(webhook_id, "hooks.webhooks lists those that are")
        return lane

    def _refuse_when_closed(self) -> None:
        if self._state in ("closing", "closed"):
            raise HooksClosedError(self._state)

    def endpoint_gone(self, webhook: Webhook) -> None:
        """The endpoint answered 410: disable it."""
        if webhook.id in self._webhooks and self._webhooks[webhook.id].webhook is webhook:
            self.disable_webhook(webhook.id, "the endpoint answered 410 Gone")


def _identity(function: Handler) -> Hashable:
    """What a subscriber is known by: an object that cannot be hashed, by its identity."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function
