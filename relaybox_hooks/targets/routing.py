"""Routing table: event name and application to the lanes registered for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

SubscriberLaneT = TypeVar("SubscriberLaneT")
WebhookLaneT = TypeVar("WebhookLaneT")
InlineLaneT = TypeVar("InlineLaneT")


class Route(Generic[SubscriberLaneT, WebhookLaneT, InlineLaneT]):
    """Lanes of one event name, as insertion-ordered sets (dicts with ``None`` values).

    The sets change in place: finish an iteration before the next ``await``.

    Attributes:
        subscribers: subscriber lanes.
        shared: webhook lanes that are not bound to an application.
        by_app: webhook lanes bound to an application, by ``app_pid``.
        inline: lanes of subscribers that ``emit`` awaits.
        idle: True if there is no lane at all, so that ``emit`` can return early.
        sole: the only lane, if it is a subscriber's; for the fast path of ``emit``.
        sole_inline: likewise, if it is one that ``emit`` awaits.
    """

    __slots__ = ("by_app", "idle", "inline", "shared", "sole", "sole_inline", "subscribers")

    def __init__(self) -> None:
        self.subscribers: dict[SubscriberLaneT, None] = {}
        self.shared: dict[WebhookLaneT, None] = {}
        self.by_app: dict[str, dict[WebhookLaneT, None]] = {}
        self.inline: dict[InlineLaneT, None] = {}
        self.idle: bool = True
        self.sole: SubscriberLaneT | None = None
        self.sole_inline: InlineLaneT | None = None

    def refresh(self) -> None:
        """Update ``idle``, ``sole`` and ``sole_inline`` after a change."""
        webhooks = bool(self.shared or self.by_app)
        self.idle = not (self.subscribers or self.inline or webhooks)
        alone = len(self.subscribers) + len(self.inline) == 1 and not webhooks
        self.sole = next(iter(self.subscribers), None) if alone else None
        self.sole_inline = next(iter(self.inline), None) if alone else None


class Router(Generic[SubscriberLaneT, WebhookLaneT, InlineLaneT]):
    """Routes of all declared event names.

    Adding and removing a lane takes constant time per event name, so that hundreds of thousands
    of webhooks can be registered and removed.
    """

    __slots__ = ("routes",)

    def __init__(self, names: Iterable[str]) -> None:
        self.routes: dict[str, Route[SubscriberLaneT, WebhookLaneT, InlineLaneT]] = {
            name: Route() for name in names
        }

    def add_subscriber(self, lane: SubscriberLaneT, names: Iterable[str]) -> None:
        """Add a subscriber lane to the routes of ``names``."""
        for name in names:
            route = self.routes[name]
            route.subscribers[lane] = None
            route.refresh()

    def remove_subscriber(self, lane: SubscriberLaneT, names: Iterable[str]) -> None:
        """Remove a subscriber lane from the routes of ``names``."""
        for name in names:
            route = self.routes[name]
            route.subscribers.pop(lane, None)
            route.refresh()

    def add_inline(self, lane: InlineLaneT, names: Iterable[str]) -> None:
        """Add a lane that ``emit`` awaits to the routes of ``names``."""
        for name in names:
            route = self.routes[name]
            route.inline[lane] = None
            route.refresh()

    def remove_inline(self, lane: InlineLaneT, names: Iterable[str]) -> None:
        """Remove a lane that ``emit`` awaits from the routes of ``names``."""
        for name in names:
            route = self.routes[name]
            route.inline.pop(lane, None)
            route.refresh()

    def add_webhook(self, lane: WebhookLaneT, names: Iterable[str], app_pid: str | None) -> None:
        """Add a webhook lane to the routes of ``names``, for one application or for all."""
        for name in names:
            route = self.routes[name]
            lanes = route.shared if app_pid is None else route.by_app.setdefault(app_pid, {})
            lanes[lane] = None
            route.refresh()

    def remove_webhook(self, lane: WebhookLaneT, names: Iterable[str], app_pid: str | None) -> None:
        """Remove a webhook lane from the routes of ``names``."""
        for name in names:
            route = self.routes[name]
            if app_pid is None:
                route.shared.pop(lane, None)
            elif app_pid in route.by_app:
                lanes = route.by_app[app_pid]
                lanes.pop(lane, None)
                if not lanes:
                    del route.by_app[app_pid]
            route.refresh()
