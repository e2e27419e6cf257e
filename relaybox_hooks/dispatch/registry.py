"""The registry: subscribers and webhooks come and go while events flow."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from sys import maxsize
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from relaybox_hooks.dispatch.accounting import Accounting
from relaybox_hooks.errors import ConfigError, UnknownTargetError
from relaybox_hooks.events import Catalogue
from relaybox_hooks.lanes.callbacks import LaneCallbacks
from relaybox_hooks.lanes.inline_lane import InlineLane
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.lanes.memory_queue import MemoryQueue
from relaybox_hooks.lanes.parked_workers import ParkedWorkers
from relaybox_hooks.lanes.subscriber_lane import SubscriberLane
from relaybox_hooks.lanes.webhook_lane import MakeQueue, WebhookLane
from relaybox_hooks.stats import Stats, TargetStats
from relaybox_hooks.targets.routing import Route, Router
from relaybox_hooks.targets.settings import Settings, resolve
from relaybox_hooks.targets.subscriber import Handler, Subscriber, SubscriberOptions
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import to_utc

if TYPE_CHECKING:  # the journal's part is imported only where there is a journal
    from relaybox_hooks.durable.journal_gateway import JournalGateway

#: The lane of a local function.
LocalLane: TypeAlias = SubscriberLane | InlineLane


class Registry:
    """The targets and their lanes. Every change holds from the next ``emit`` on.

    Args:
        runtime: shared by the lanes.
        catalogue: the declared events.
        defaults: policies of webhooks and subscribers that have none of their own.
        accounting: keeps dead letters, and the counts of what was removed.
        gateway: to the journal, if there is one.

    Attributes:
        parked_workers: of all subscribers.
        routes: of all events, by name.
    """

    def __init__(
        self,
        runtime: Runtime,
        catalogue: Catalogue,
        defaults: Settings,
        accounting: Accounting,
        gateway: JournalGateway | None,
    ) -> None:
        self._runtime = runtime
        self._catalogue = catalogue
        self._defaults = defaults
        self._accounting = accounting
        self._gateway = gateway
        self._router: Router[SubscriberLane, WebhookLane, InlineLane] = Router(catalogue.names)
        self._webhooks: dict[str, WebhookLane] = {}
        #: Each function's lane, with the names of its events.
        self._subscribers: dict[Hashable, tuple[LocalLane, dict[str, None]]] = {}
        self._callbacks = LaneCallbacks(
            accounting.dead_letter,
            self.endpoint_gone,
            gateway.save_state if gateway is not None else _no_state,
        )
        self.parked_workers: ParkedWorkers = ParkedWorkers(runtime)
        self.routes: dict[str, Route[SubscriberLane, WebhookLane, InlineLane]] = self._router.routes

    # Subscribers

    def on(
        self, *patterns: str, **options: Unpack[SubscriberOptions]
    ) -> Callable[[Handler], Handler]:
        """Return a decorator that registers a function; see ``OnCall``."""
        return self._decorator(patterns, options, once=False)

    def once(
        self, *patterns: str, **options: Unpack[SubscriberOptions]
    ) -> Callable[[Handler], Handler]:
        """Like ``on``, for the first such event only."""
        return self._decorator(patterns, options, once=True)

    def add_subscriber(self, patterns: Iterable[str], subscriber: Subscriber) -> None:
        """Register a function for events, in its one lane.

        Raises:
            UnknownEventError: a pattern that matches no declared event.
            ConfigError: it is registered already, with other options.
            HooksClosedError: closing has begun.
        """
        self._runtime.check_not_closed()
        names = dict.fromkeys(
            name for pattern in patterns for name in self._catalogue.matching(pattern)
        )
        known = self._subscribers.get(_identity(subscriber.function))
        if known is None:
            lane = self._make_subscriber_lane(subscriber)
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
        if isinstance(lane, InlineLane):
            self._router.add_inline(lane, names)
        else:
            self._router.add_subscriber(lane, names)

    def remove_subscriber(self, function: Handler, patterns: tuple[str, ...]) -> None:
        """Hand ``function`` no more of these events, or of any where no pattern is given.

        Raises:
            UnknownTargetError: it is not registered.
        """
        known = self._subscribers.get(_identity(function))
        if known is None:
            raise UnknownTargetError(function, "off() takes a function that on() was given")
        lane, names = known
        removed = tuple(names)
        if patterns:
            removed = tuple(
                name
                for pattern in patterns
                for name in self._catalogue.matching(pattern)
                if name in names
            )
        if isinstance(lane, InlineLane):
            self._router.remove_inline(lane, removed)
        else:
            self._router.remove_subscriber(lane, removed)
        for name in removed:
            names.pop(name, None)
        if not names:
            del self._subscribers[_identity(function)]
            self._accounting.add_removed(lane)

    def _decorator(
        self, patterns: tuple[str, ...], options: SubscriberOptions, *, once: bool
    ) -> Callable[[Handler], Handler]:
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise ConfigError("pattern", patterns, 'name an event: @hooks.on("room:join")')
        for pattern in patterns:
            self._catalogue.matching(pattern)

        def register(function: Handler) -> Handler:
            self.add_subscriber(patterns, Subscriber(function=function, once=once, **options))
            return function

        return register

    def _make_subscriber_lane(self, subscriber: Subscriber) -> LocalLane:
        on_first = self._unsubscribe if subscriber.once else None
        if subscriber.inline:
            stored = self._gateway is not None
            return InlineLane(self._runtime, subscriber, stored=stored, on_first=on_first)
        limit = subscriber.queue_size or self._defaults.queue_size
        overflow = subscriber.overflow or self._defaults.overflow
        return SubscriberLane(
            self._runtime, subscriber, limit, overflow, self.parked_workers, on_first
        )

    def _unsubscribe(self, lane: LocalLane) -> None:
        function = lane.subscriber.function
        known = self._subscribers.get(_identity(function))
        if known is not None and known[0] is lane:  # else it was taken off meanwhile
            self.remove_subscriber(function, ())

    # Webhooks

    @property
    def webhooks(self) -> tuple[Webhook, ...]:
        """The registered webhooks, as they are now, in the order of registration."""
        return tuple(lane.webhook for lane in self._webhooks.values())

    def find_lane(self, webhook_id: str) -> WebhookLane | None:
        """Return the lane of a webhook, ``None`` where it is not registered."""
        return self._webhooks.get(webhook_id)

    def add_webhook(self, webhook: Webhook) -> None:
        """Register a webhook; see ``Hooks.add_webhook``."""
        self._runtime.check_not_closed()
        if not isinstance(webhook, Webhook):
            raise ConfigError("webhook", webhook, "give a Webhook(url, events, signing_key)")
        names = self._names_of(webhook)
        self._runtime.profiles.check(webhook)
        if webhook.id in self._webhooks:
            raise ConfigError(
                "Webhook.id",
                webhook.id,
                "already registered; give each webhook its own id or name, or remove the other",
            )
        lane = self._make_webhook_lane(webhook)
        self._webhooks[webhook.id] = lane
        if webhook.enabled:
            self._router.add_webhook(lane, names, webhook.app_pid)
        else:
            lane.close("disabled")
        self.take_over(webhook.id)

    def take_over(self, webhook_id: str) -> None:
        """Let a webhook's lane have what the journal, if there is one, holds for it."""
        if self._gateway is not None and self._gateway.register(webhook_id):
            self.disable_webhook(webhook_id, "it was disabled before the restart")

    def take_over_all(self) -> None:
        """Let every webhook's lane have what the journal, once it is open, holds for it."""
        for webhook_id in tuple(self._webhooks):
            self.take_over(webhook_id)

    def remove_webhook(self, webhook_id: str) -> Webhook:
        """Remove a webhook; see ``Hooks.remove_webhook``."""
        lane = self._lane_of(webhook_id)
        self._router.remove_webhook(lane, self._names_of(lane.webhook), lane.webhook.app_pid)
        del self._webhooks[webhook_id]
        if self._gateway is not None:  # first: an observer of a loss may register it again
            self._gateway.unregister(webhook_id)
        lane.close("removed")
        self._accounting.add_removed(lane)
        return lane.webhook

    def enable_webhook(self, webhook_id: str) -> None:
        """Enable a webhook; see ``Hooks.enable_webhook``."""
        lane = self._lane_of(webhook_id)
        if not lane.webhook.enabled:
            lane.webhook = replace(lane.webhook, enabled=True)
            lane.reopen()
            self._callbacks.state_changed(webhook_id)
            self._router.add_webhook(lane, self._names_of(lane.webhook), lane.webhook.app_pid)

    def disable_webhook(self, webhook_id: str, reason: str) -> None:
        """Disable a webhook; see ``Hooks.disable_webhook``."""
        lane = self._lane_of(webhook_id)
        if not lane.webhook.enabled:
            return
        lane.webhook = replace(lane.webhook, enabled=False)
        self._router.remove_webhook(lane, self._names_of(lane.webhook), lane.webhook.app_pid)
        lane.close("disabled")
        self._callbacks.state_changed(webhook_id)
        notifier = self._runtime.notifier
        if notifier.webhook_disabled:
            notifier.notify(notifier.webhook_disabled, lane.webhook, reason)

    def endpoint_gone(self, webhook: Webhook) -> None:
        """Disable a webhook whose endpoint answered 410, unless it has changed since."""
        lane = self._webhooks.get(webhook.id)
        if lane is not None and lane.webhook is webhook:
            self.disable_webhook(webhook.id, "the endpoint answered 410 Gone")

    def rotate_signing_key(self, webhook_id: str, new_key: str, at: datetime | None) -> None:
        """Rotate a webhook's key; see ``Hooks.rotate_signing_key``."""
        lane = self._lane_of(webhook_id)
        old_key = None
        if at is not None:
            at = to_utc("at", at)
            old_key = lane.webhook.key_at(self._runtime.now())
        lane.webhook = replace(
            lane.webhook, signing_key=new_key, previous_key=old_key, rotate_at=at
        )
        lane.endpoint.rekey(lane.webhook)

    def _make_webhook_lane(self, webhook: Webhook) -> WebhookLane:
        settings = resolve(webhook, self._defaults)
        make_queue: MakeQueue = _make_memory_queue
        if self._gateway is not None:
            # In a journal it is the journal's room that counts, and its policy.
            make_queue = partial(self._gateway.make_queue, max_bytes=settings.max_pending_bytes)
            settings = replace(settings, overflow=self._gateway.overflow, max_pending_bytes=maxsize)
        return WebhookLane(self._runtime, webhook, settings, make_queue, self._callbacks)

    def _names_of(self, webhook: Webhook) -> dict[str, None]:
        return dict.fromkeys(
            name for pattern in webhook.events for name in self._catalogue.matching(pattern)
        )

    def _lane_of(self, webhook_id: str) -> WebhookLane:
        lane = self._webhooks.get(webhook_id)
        if lane is None:
            raise UnknownTargetError(webhook_id, "hooks.webhooks lists those that are")
        return lane

    # All targets

    def lanes(self) -> Iterator[Lane[Any]]:
        """Yield the lanes of all targets, and of those removed that have something pending."""
        yield from self._webhooks.values()
        yield from self.subscriber_lanes()
        yield from self._accounting.removed

    def subscriber_lanes(self) -> Iterator[LocalLane]:
        """Yield the lanes of all subscribers."""
        for lane, _ in self._subscribers.values():
            yield lane

    def stats(self) -> Stats:
        """Return the counts as they are now, for the whole and per target."""
        self._accounting.fold()
        targets: dict[str, TargetStats] = {}
        for webhook_id, webhook_lane in self._webhooks.items():
            targets[webhook_id] = webhook_lane.stats()
        for lane in self.subscriber_lanes():
            name, number = lane.target, 2
            while name in targets:
                name, number = f"{lane.target}#{number}", number + 1
            targets[name] = lane.stats()
        rows = [*targets.values(), *(lane.stats() for lane in self._accounting.removed)]
        return self._accounting.totals.with_targets(rows, targets)


def _make_memory_queue(lane: WebhookLane) -> MemoryQueue:
    return MemoryQueue(lane.runtime, lane.fill)


def _no_state(webhook_id: str) -> None:
    """Save nothing: without a journal nothing survives a restart."""


def _identity(function: Handler) -> Hashable:
    """Return the key of a subscriber: an object that cannot be hashed goes by its identity."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function
