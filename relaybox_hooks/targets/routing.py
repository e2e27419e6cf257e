"""From an event's name and application to the lanes that want it, precomputed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

LocalT = TypeVar("LocalT")
RemoteT = TypeVar("RemoteT")


class Route(Generic[LocalT, RemoteT]):
    """Who wants one event: ordered sets that change in place, read between two awaits.

    Attributes:
        subscribers: local lanes.
        shared: webhook lanes bound to no application.
        by_app: webhook lanes by the ``app_pid`` they are bound to.
        idle: nobody wants it, whatever the application.
        sole: the one subscriber that wants it, where no other and no webhook does.
    """

    __slots__ = ("by_app", "idle", "shared", "sole", "subscribers")

    def __init__(self) -> None:
        self.subscribers: dict[LocalT, None] = {}
        self.shared: dict[RemoteT, None] = {}
        self.by_app: dict[str, dict[RemoteT, None]] = {}
        self.idle: bool = True
        self.sole: LocalT | None = None

    def refresh(self) -> None:
        """Bring ``idle`` and ``sole`` up to date after a change."""
        webhooks = bool(self.shared or self.by_app)
        self.idle = not (self.subscribers or webhooks)
        alone = len(self.subscribers) == 1 and not webhooks
        self.sole = next(iter(self.subscribers)) if alone else None


class Router(Generic[LocalT, RemoteT]):
    """The routes of all declared events. Adding and removing cost the same however many there
    are, so that hundreds of thousands of webhooks can come and go."""

    __slots__ = ("routes",)

    def __init__(self, names: Iterable[str]) -> None:
        self.routes: dict[str, Route[LocalT, RemoteT]] = {name: Route() for name in names}

    def add_subscriber(self, lane: LocalT, names: Iterable[str]) -> None:
        """Let ``lane`` have the events called ``names``."""
        for name in names:
            route = self.routes[name]
            route.subscribers[lane] = None
            route.refresh()

    def remove_subscriber(self, lane: LocalT, names: Iterable[str]) -> None:
        """Take the events called ``names`` from ``lane``."""
        for name in names:
            route = self.routes[name]
            route.subscribers.pop(lane, None)
            route.refresh()

    def add_webhook(self, lane: RemoteT, names: Iterable[str], app_pid: str | None) -> None:
        """Let ``lane`` have the events called ``names``, of one application or of all."""
        for name in names:
            route = self.routes[name]
            lanes = route.shared if app_pid is None else route.by_app.setdefault(app_pid, {})
            lanes[lane] = None
            route.refresh()

    def remove_webhook(self, lane: RemoteT, names: Iterable[str], app_pid: str | None) -> None:
        """Take the events called ``names`` from ``lane``."""
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
