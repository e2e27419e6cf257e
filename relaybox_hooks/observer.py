"""Observers: the protocol of no-op methods that logs, metrics and traces implement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from relaybox_hooks.clock import Clock
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Event
from relaybox_hooks.outcome import DELIVERED, Outcome
from relaybox_hooks.stats import CloseReport, Receipt, Stats
from relaybox_hooks.targets.headers import checked_headers
from relaybox_hooks.targets.policies import BreakerState
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.wire.envelope import Envelope

logger: Final = logging.getLogger("relaybox_hooks")

#: One method of each observer that overrides it.
Listeners: TypeAlias = tuple[Callable[..., Any], ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a delivery, as observers see it.

    Attributes:
        webhook: where it went.
        event_id: the event's id.
        event_name: the event's name.
        number: 1 for the first attempt.
        outcome: the real status or error class, the peer's address, the verdict.
        elapsed: seconds from its start to its outcome.
        age: seconds from the event's emit to the outcome, by the wall clock.
        next_in: seconds until the next attempt is due, ``None`` where there will be none.
        replayed: it sent a dead letter again.
    """

    webhook: Webhook
    event_id: str
    event_name: str
    number: int
    outcome: Outcome
    elapsed: float
    age: float
    next_in: float | None
    replayed: bool = False


class Observer:
    """Observer of a ``Hooks``. Override what you need; each method does nothing.

    Methods are called in the event loop and must not block. One that raises is logged, and
    harms neither delivery nor the other observers. A method that no observer overrides costs
    nothing. An attribute that merely has such a name, and cannot be called, is left alone.
    """

    def started(self, stats: Callable[[], Stats]) -> None:
        """Called when events are accepted from now on. ``stats()`` returns the counts at any later
        time, to callers in the event loop's thread."""

    def emitting(self, event_id: str, name: str) -> None:
        """Called before an event is handed to its targets, in the context of ``emit``'s caller.
        It has passed every check: ``emitted`` follows."""

    def emitted(self, name: str, receipt: Receipt) -> None:
        """Called when an event was handed to at least one lane, or dropped by one; or, where the
        journal could not store it, or the emit was cancelled meanwhile, neither."""

    def attempting(
        self, webhook: Webhook, event_id: str, name: str, number: int
    ) -> Mapping[str, str] | None:
        """Called before an attempt, in the context that it is made in; ``attempted`` follows there.

        Returns:
            Headers for the request, if any. They replace neither the protocol's nor the
            webhook's own, and are subject to the same rules as a webhook's.
        """

    def attempted(self, attempt: Attempt) -> None:
        """Called after each attempt, whatever its outcome."""

    def delivered(self, attempt: Attempt) -> None:
        """Called after an attempt that delivered its event."""

    def retried(self, attempt: Attempt) -> None:
        """Called after an attempt that failed; another is due in ``attempt.next_in`` seconds."""

    def dropped(self, target: str, event_id: str, name: str, reason: str) -> None:
        """Called when a full lane dropped an event; ``reason`` is the policy that did it, or
        ``shutdown`` where closing ended a subscriber's wait for it."""

    def dead_lettered(self, letter: DeadLetter) -> None:
        """Called when a delivery was given up."""

    def subscriber_began(self, subscriber: str, event: Event) -> None:
        """Called before a local function, in the context that it is called in."""

    def subscriber_ended(self, subscriber: str, event: Event, error: BaseException | None) -> None:
        """Called after it has returned, raised ``error``, or was cancelled, in the same context."""

    def subscriber_failed(self, subscriber: str, event: Event, error: BaseException) -> None:
        """Called when a local function raised; with ``inline=True``, before ``emit`` raises it."""

    def breaker_changed(self, webhook: Webhook, before: BreakerState, after: BreakerState) -> None:
        """Called when a webhook's breaker opened, let a probe through, or closed."""

    def webhook_disabled(self, webhook: Webhook, reason: str) -> None:
        """Called when a webhook was disabled: it is sent nothing any more."""

    def closed(self, report: CloseReport) -> None:
        """Called when the ``Hooks`` have closed."""


#: The methods of an observer.
METHODS: Final = tuple(name for name in vars(Observer) if not name.startswith("_"))


class Notifier:
    """Calls the observers that override a method; the tuple is empty where none does.

    Call sites test the tuple before they build the arguments.

    Args:
        observers: in the order in which they are called.
        logging: called before them; not called for what ``emit`` raises, for its caller has that.

    Attributes:
        inline_failed: ``subscriber_failed`` of all but ``logging``, for inline subscribers.
        observes_attempts: whether any observer is called after attempts.
    """

    __slots__ = (
        "_broken",
        "attempted",
        "attempting",
        "breaker_changed",
        "closed",
        "dead_lettered",
        "delivered",
        "dropped",
        "emitted",
        "emitting",
        "inline_failed",
        "observes_attempts",
        "retried",
        "started",
        "subscriber_began",
        "subscriber_ended",
        "subscriber_failed",
        "webhook_disabled",
    )

    attempted: Listeners
    attempting: Listeners
    breaker_changed: Listeners
    closed: Listeners
    dead_lettered: Listeners
    delivered: Listeners
    dropped: Listeners
    emitted: Listeners
    emitting: Listeners
    inline_failed: Listeners
    retried: Listeners
    started: Listeners
    subscriber_began: Listeners
    subscriber_ended: Listeners
    subscriber_failed: Listeners
    webhook_disabled: Listeners

    def __init__(self, observers: Iterable[Observer], logging: Observer | None = None) -> None:
        observers = tuple(observers)
        for observer in observers:
            if not isinstance(observer, Observer):
                raise ConfigError("observers", observer, "give objects of subclasses of Observer")
        self._broken: set[Callable[..., Any]] = set()
        self.inline_failed = _listeners(observers, "subscriber_failed")
        if logging is not None:
            observers = (logging, *observers)
        for method in METHODS:
            setattr(self, method, _listeners(observers, method))
        self.observes_attempts: bool = bool(self.attempted or self.delivered or self.retried)

    def notify(self, listeners: Listeners, *args: Any) -> None:
        """Call each listener; one that raises is logged the first time it does."""
        for listener in listeners:
            try:
                listener(*args)
            except Exception as error:
                self._blame(listener, error)

    def notify_attempt(
        self,
        clock: Clock,
        webhook: Webhook,
        envelope: Envelope,
        number: int,
        outcome: Outcome,
        began: float,
        next_in: float | None = None,
        *,
        replayed: bool = False,
    ) -> None:
        """Report the outcome of an attempt that began at ``began``, monotonic."""
        delivered = outcome.verdict == DELIVERED
        also = self.delivered if delivered else self.retried if next_in is not None else ()
        if not (self.attempted or also):
            return
        attempt = Attempt(
            webhook=webhook,
            event_id=envelope.id,
            event_name=envelope.name,
            number=number,
            outcome=outcome,
            elapsed=clock.monotonic() - began,
            age=max(0.0, clock.time() - envelope.time),
            next_in=next_in,
            replayed=replayed,
        )
        self.notify(self.attempted, attempt)
        self.notify(also, attempt)

    def headers(self, webhook: Webhook, envelope: Envelope, number: int) -> dict[str, str]:
        """Report that an attempt begins; return the headers that listeners give it, in lower case.

        One whose headers cannot be sent is as broken as one that raises: it gives none.
        """
        headers: dict[str, str] = {}
        for listener in self.attempting:
            try:
                given = listener(webhook, envelope.id, envelope.name, number)
                if given:
                    given = checked_headers("headers", given)
                    headers |= {name.lower(): value for name, value in given.items()}
            except Exception as error:
                self._blame(listener, error)
        return headers

    def _blame(self, listener: Callable[..., Any], error: Exception) -> None:
        """Log a listener's error, unless it has raised before."""
        if listener not in self._broken:
            self._broken.add(listener)
            logger.error("an observer is broken; its errors are not logged again", exc_info=error)


def _listeners(observers: Iterable[Observer], method: str) -> Listeners:
    """Return ``method`` of each observer that overrides it."""
    plain = getattr(Observer, method)
    return tuple(
        getattr(observer, method)
        for observer in observers
        if getattr(type(observer), method) is not plain or callable(vars(observer).get(method))
    )
