"""The way in: one event, checked, encoded once, and handed to every lane that wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from concurrent.futures import CancelledError as FutureCancelledError
from typing import TYPE_CHECKING, Any, Final, Generic

from uuid_utils import uuid7

from relaybox_hooks.clock import Clock
from relaybox_hooks.dispatch.accounting import Books
from relaybox_hooks.dispatch.typed_calls import CustomT_contra, EmitCall
from relaybox_hooks.errors import (
    ConfigError,
    HooksClosedError,
    JournalWaitError,
    LaneFullError,
    RelayboxHooksError,
    UnknownEventError,
)
from relaybox_hooks.events import Catalogue, Event
from relaybox_hooks.lanes.lane import Lane, Waiter, current_lane
from relaybox_hooks.lanes.memory_queue import Delivery
from relaybox_hooks.lanes.subscriber_lane import SubscriberLane
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.session import Session, SessionLike
from relaybox_hooks.stats import NOBODY, Receipt
from relaybox_hooks.targets.routing import Route
from relaybox_hooks.wire.envelope import Envelope

if TYPE_CHECKING:
    from relaybox_hooks.durable.journal_gateway import JournalGateway

#: What a named tuple's own constructor calls, which is a Python function and takes twice as long.
_new: Final = tuple.__new__


class _Pending:
    """A receipt in the making: some lanes have no room yet."""

    __slots__ = ("accepted", "dropped", "event_id", "waiting")

    def __init__(self, event_id: str) -> None:
        self.event_id = event_id
        self.accepted = 0
        self.dropped = 0
        self.waiting: list[tuple[Lane[Any], Waiter[Any]]] = []

    def receipt(self) -> Receipt:
        return Receipt(self.event_id, self.accepted, self.dropped)


class Intake(Books, Generic[CustomT_contra]):
    """``emit`` and its twins. What they need is set by :class:`~relaybox_hooks.Hooks`."""

    _catalogue: Catalogue
    #: The routes while events are accepted; empty before and after, so that the look-up that
    #: every emit makes also tells whether it may.
    _routes: dict[str, Route[SubscriberLane, WebhookLane]]
    _state: str
    _max_body: int
    _emit_timeout: float
    clock: Clock
    #: Holds the journal; ``None`` where there is none.
    keeper: JournalGateway | None

    async def _emit(
        self, name: str, data: object = None, session: SessionLike | None = None
    ) -> Receipt:
        """Hand an event to every target that wants it; handlers and HTTP run later.

        Returns as soon as all of them have it: at once, unless a full lane's policy is to wait.

        Args:
            name: a declared event's name.
            data: any JSON value; webhooks are sent what it is now, whatever becomes of it.
            session: a ``Session``, a mapping with the wire names, or an object with them in
                snake_case.

        Raises:
            UnknownEventError: nobody declared ``name``.
            PayloadError: a webhook wants it and ``data`` or ``session`` cannot be sent.
            LaneFullError: a full lane with ``overflow="raise"``, or a subscriber would wait
                for itself.
            HooksClosedError: before ``start()`` or after ``aclose()``.
            JournalError: there is a journal and it could not store the event.
        """
        route = self._routes.get(name)
        if route is None:
            raise self._refusal(name)
        sole = route.sole
        if (
            sole is not None
            and type(session) is Session
            and sole.pending < sole.limit
            and not self._emits_told
        ):
            # What _hand_out comes to for one local function, which is what an emit often is:
            # written out, for its call and its loops take a third of the whole time.
            event_id = str(uuid7())
            sole.put(Event(event_id, name, data, session, self.clock.time()))
            return _new(Receipt, (event_id, 1, 0))
        if route.idle:
            return NOBODY
        if self.keeper is not None and (route.shared or route.by_app):
            handed = await self._store(self.keeper, route, name, data, session)
        else:
            handed = self._hand_out(route, name, data, session, True)
        if isinstance(handed, Receipt):
            return handed
        return await self._await_room(name, handed)

    def _emit_nowait(
        self, name: str, data: object = None, session: SessionLike | None = None
    ) -> Receipt:
        """Hand an event to every target that wants it, without waiting.

        Call it in the event loop's thread. Arguments and errors are those of ``emit``.

        Raises:
            LaneFullError: ``emit`` would have to wait for room; no target received the event.
            JournalWaitError: ``emit`` would have to wait for the journal.
        """
        route = self._routes.get(name)
        if route is None:
            raise self._refusal(name)
        if route.idle:
            return NOBODY
        if self.keeper is not None and (route.shared or route.by_app):
            raise JournalWaitError
        handed = self._hand_out(route, name, data, session, False)
        return handed if isinstance(handed, Receipt) else handed.receipt()

    def _emit_from_thread(
        self, name: str, data: object = None, session: SessionLike | None = None
    ) -> Receipt:
        """``emit`` for any thread but the event loop's own; blocks until it has returned."""
        if self._state != "open":
            raise HooksClosedError(self._state)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            raise RelayboxHooksError(
                "emit_from_thread would block the event loop it waits for; await emit(...) instead"
            )
        emission = self._emit(name, data, session)
        try:
            return asyncio.run_coroutine_threadsafe(emission, self.loop).result()
        except FutureCancelledError:  # the loop is being shut down, with or without aclose()
            raise HooksClosedError("closing" if self._state == "open" else self._state) from None
        except RuntimeError as error:
            if not self.loop.is_closed():
                raise
            emission.close()
            raise HooksClosedError("closed") from error

    if TYPE_CHECKING:

        @property
        def emit(self) -> EmitCall[Coroutine[Any, Any, Receipt], CustomT_contra]:
            """Hand an event to every target that wants it; handlers and HTTP run later."""

        @property
        def emit_nowait(self) -> EmitCall[Receipt, CustomT_contra]:
            """Hand an event to every target that wants it, without waiting."""

        @property
        def emit_from_thread(self) -> EmitCall[Receipt, CustomT_contra]:
            """``emit`` for any thread but the event loop's own."""
    else:
        emit = _emit
        emit_nowait = _emit_nowait
        emit_from_thread = _emit_from_thread

    def _refusal(self, name: object) -> RelayboxHooksError:
        if self._state != "open":
            return HooksClosedError(self._state)
        return UnknownEventError(name, self._catalogue.names)

    def _hand_out(
        self,
        route: Route[SubscriberLane, WebhookLane],
        name: str,
        data: object,
        session: SessionLike | None,
        wait: bool,
    ) -> Receipt | _Pending:
        """Everything that can be refused is refused before the first lane gets anything."""
        if type(session) is not Session:
            session = Session.of(session)
        subscribers, shared = route.subscribers, route.shared
        bound = route.by_app.get(session.app_pid or "") if route.by_app else None
        if not (subscribers or shared or bound):
            return NOBODY
        event_id = str(uuid7())
        now = self.clock.time()
        items: list[tuple[Lane[Any], object]] = []
        if shared or bound:
            envelope = Envelope.encode(event_id, name, data, session, self._max_body, time=now)
            for lanes in (shared, bound):
                if lanes:
                    _address(lanes, envelope, data, session, items)
        if subscribers:
            event = Event(event_id, name, data, session, now)
            items += [(lane, event) for lane in subscribers]
        if self.notifier.emitting:  # who may fill a lane that has room now
            return self._squeeze_in(event_id, name, items, wait)
        for lane, _ in items:
            if lane.pending >= lane.limit:
                return self._squeeze_in(event_id, name, items, wait)
        for lane, item in items:
            lane.put(item)
        receipt = _new(Receipt, (event_id, len(items), 0))
        if self.notifier.emitted:
            self.notifier.tell(self.notifier.emitted, name, receipt)
        return receipt

    async def _store(
        self,
        keeper: JournalGateway,
        route: Route[SubscriberLane, WebhookLane],
        name: str,
        data: object,
        session: SessionLike | None,
    ) -> Receipt | _Pending:
        """Hand out once the journal has it. A cancellation in between changes nothing."""
        if type(session) is not Session:
            session = Session.of(session)
        shared, bound = route.shared, route.by_app.get(session.app_pid or "")
        if not (shared or bound):
            return self._hand_out(route, name, data, session, True)
        event_id, now, origin = str(uuid7()), self.clock.time(), current_lane.get()
        envelope = Envelope.encode(event_id, name, data, session, self._max_body, time=now)
        items: list[Any] = []
        for lanes in (shared, bound):
            if lanes:
                _address(lanes, envelope, data, session, items)
        event = Event(event_id, name, data, session, now)
        local = tuple(route.subscribers)
        for lane in local:
            if lane.pending >= lane.limit:
                _refuse_to_wait(lane, origin, True)
        pending = _Pending(event_id)

        def hand_on() -> None:
            for lane in local:
                _offer(lane, event, pending, origin, True)

        if self.notifier.emitting:
            self.notifier.tell(self.notifier.emitting, event_id, name)
        try:
            stored = await keeper.store(envelope, items, hand_on, self._emit_timeout)
        except BaseException:
            self._told(name, pending)
            raise
        if stored:
            pending.accepted += len(items)
        else:
            pending.dropped += len(items)
        return pending if pending.waiting else self._told(name, pending)

    def _told(self, name: str, pending: _Pending) -> Receipt:
        """The receipt, which the observers were told of."""
        receipt = pending.receipt()
        if self.notifier.emitted:
            self.notifier.tell(self.notifier.emitted, name, receipt)
        return receipt

    def _squeeze_in(
        self, event_id: str, name: str, items: list[tuple[Lane[Any], object]], wait: bool
    ) -> Receipt | _Pending:
        """Hand out although some lane is full, or may be once observers have been told."""
        origin = current_lane.get()
        for lane, _ in items:
            if lane.pending >= lane.limit:
                _refuse_to_wait(lane, origin, wait)
        if self.notifier.emitting:
            self.notifier.tell(self.notifier.emitting, event_id, name)
        pending = _Pending(event_id)
        for lane, item in items:
            _offer(lane, item, pending, origin, wait)
        return pending if pending.waiting else self._told(name, pending)

    async def _await_room(self, name: str, pending: _Pending) -> Receipt:
        """Wait until each full lane has taken its item, or turn it away."""

        def time_out() -> None:
            for lane, waiter in pending.waiting:
                lane.dismiss(waiter)

        timer = None
        if self._emit_timeout != float("inf"):
            timer = self.clock.call_at(self.clock.monotonic() + self._emit_timeout, time_out)
        try:
            for _, waiter in pending.waiting:
                await waiter.future
        finally:
            if timer is not None:
                timer.cancel()
            for lane, waiter in pending.waiting:
                lane.dismiss(waiter)  # still unanswered where this emit was cancelled
                if waiter.taken:
                    pending.accepted += 1
                else:
                    pending.dropped += 1
            receipt = self._told(name, pending)
        return receipt


def _address(
    lanes: Iterable[WebhookLane],
    envelope: Envelope,
    data: object,
    session: Session,
    items: list[tuple[Lane[Any], object]],
) -> None:
    """Add to ``items`` a delivery for each lane, with its order key."""
    connection = session.connection_id or session.client_id
    for lane in lanes:
        if lane.key_of is None:
            key = connection
        else:
            event = Event(envelope.id, envelope.name, data, session, envelope.time)
            key = _checked_key(lane.key_of(event))
        items.append((lane, Delivery(envelope, key)))


def _offer(
    lane: Lane[Any], item: object, pending: _Pending, origin: Lane[Any] | None, wait: bool
) -> None:
    """Hand ``item`` to a lane that may be full, and note in ``pending`` what became of it."""
    if lane.pending < lane.limit:
        lane.put(item)
        pending.accepted += 1
    elif wait and lane.overflow == "wait":
        pending.waiting.append((lane, lane.queue_up(item, origin)))
    elif lane.squeeze(item):
        pending.accepted += 1
    else:
        pending.dropped += 1


def _refuse_to_wait(lane: Lane[Any], origin: Lane[Any] | None, wait: bool) -> None:
    """Raise LaneFullError if a full lane's policy, or the caller, does not allow waiting."""
    if lane.overflow == "raise":
        raise LaneFullError(
            lane.target, lane.limit, 'overflow="raise"; slow down, or raise queue_size'
        )
    if lane.overflow != "wait":
        return
    if not wait:
        raise LaneFullError(
            lane.target, lane.limit, "emit_nowait does not wait; await emit(...) instead"
        )
    if origin is not None and lane.would_deadlock(origin):
        raise LaneFullError(
            lane.target,
            lane.limit,
            f"subscriber {origin.target!r} would wait for itself; raise queue_size, choose a "
            "dropping overflow, or emit from a task with a context of its own",
        )


def _checked_key(key: object) -> str | None:
    if key is not None and not isinstance(key, str):
        raise ConfigError("order_by", key, "the function must return a str, or None for no order")
    return key
