"""The emitter: one event is checked, encoded once, committed and offered to its lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from uuid_utils import uuid7

from relaybox_hooks.errors import (
    ConfigError,
    HooksClosedError,
    JournalWaitError,
    UnknownEventError,
)
from relaybox_hooks.events import Catalogue, Event
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.lane import Lane, current_lane
from relaybox_hooks.lanes.room import Room, Waiter, wait_for_room
from relaybox_hooks.lanes.subscriber_lane import SubscriberLane
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.session import Session, SessionLike
from relaybox_hooks.stats import NO_TARGETS, Receipt
from relaybox_hooks.targets.routing import Route
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.wire.envelope import Envelope

if TYPE_CHECKING:  # the journal's part is imported only where there is a journal
    from relaybox_hooks.durable.journal_gateway import JournalGateway

#: The routes of all events, by name.
Routes: TypeAlias = dict[str, Route[SubscriberLane, WebhookLane]]

#: Sees an event before it is handed out; the context's value takes the receipt.
Recorder: TypeAlias = Callable[
    [str, object, SessionLike | None], AbstractContextManager[Callable[[Receipt], None]]
]

#: What a named tuple's own constructor calls, which is a Python function and takes twice as long.
_new: Final = tuple.__new__


class Emission:
    """One event on its way to its targets.

    It is told itself what has become of its append: objects made for that alone, hundreds of them
    waiting at a time, would bring the garbage collector on at every transaction.

    Attributes:
        accepted: how many lanes have taken it.
        dropped: how many have rejected it.
        event_id: the event's id.
        items: lanes that it is offered to, each with the delivery or event.
        name: the event's name.
        origin: the lane whose subscriber emits it, if any.
        stored: lanes that have it once the journal has committed it, with the deliveries.
        envelope: the encoded event, where a webhook wants it.
        waiting: lanes that have no room yet, with who waits.
    """

    __slots__ = (
        "_committing",
        "accepted",
        "dropped",
        "envelope",
        "event_id",
        "items",
        "name",
        "origin",
        "stored",
        "waiting",
    )

    def __init__(self, event_id: str, name: str, envelope: Envelope | None) -> None:
        self.event_id: str = event_id
        self.name: str = name
        self.envelope: Envelope | None = envelope
        self.accepted: int = 0
        self.dropped: int = 0
        self.origin: Lane[Any] | None = None
        self._committing: list[Lane[Any]] = []
        self.items: list[tuple[Lane[Any], Any]] = []
        self.stored: list[tuple[WebhookLane, Delivery]] = []
        self.waiting: list[tuple[Room[Any], Waiter[Any]]] = []

    def add_outcome(self, outcome: bool | Waiter[Any], lane: Lane[Any]) -> None:
        """Count the result of an offer."""
        if outcome is True:
            self.accepted += 1
        elif outcome is False:
            self.dropped += 1
        else:
            self.waiting.append((lane, outcome))

    def offer(self, *, wait: bool) -> None:
        """Offer the event to each lane, and count the results."""
        for lane, item in self.items:
            self.add_outcome(lane.offer(item, wait=wait, origin=self.origin), lane)

    def append_begins(self) -> None:
        """Let the lanes know that the journal is about to store the event."""
        for lanes in (self.stored, self.items):
            for lane, _ in lanes:
                lane.committing += 1
                self._committing.append(lane)

    def append_done(self, seqs: Sequence[int], pending: bool) -> None:
        """Hand the event to its lanes: the journal has stored it."""
        self.append_failed()
        for (lane, delivery), seq in zip(self.stored, seqs, strict=True):
            delivery.seq = seq
            if pending:
                lane.enqueue(delivery)
                self.accepted += 1
            else:
                lane.reject(delivery, "overflow")
                self.dropped += 1
        if self.items:
            self.offer(wait=True)

    def append_failed(self) -> None:
        """Let the lanes know that they need not wait for the event."""
        for lane in self._committing:
            lane.committing -= 1


class Emitter:
    """``emit`` and its twins. The way is always the same: prepare, commit, offer.

    Args:
        runtime: shared with the lanes.
        catalogue: the declared events.
        routes: of each of them.
        gateway: to the journal, if there is one.
        max_body: bytes that a request's body may have.
        emit_timeout: seconds to wait for room; ``inf`` for no end.
    """

    def __init__(
        self,
        runtime: Runtime,
        catalogue: Catalogue,
        routes: Routes,
        gateway: JournalGateway | None,
        *,
        max_body: int,
        emit_timeout: float,
    ) -> None:
        self._runtime = runtime
        self._catalogue = catalogue
        self._all_routes = routes
        #: The routes while events are accepted and nothing is recorded, else none: the look-up
        #: that every emit makes also decides whether it may go the short way.
        self._routes: Routes = {}
        self._gateway = gateway
        self._max_body = max_body
        self._emit_timeout = emit_timeout
        #: Whether any observer is called for emits: each emit tests it.
        self._observed = bool(runtime.notifier.emitting or runtime.notifier.emitted)
        self._recorders: list[Recorder] = []

    def refresh(self) -> None:
        """Accept events if the state is open, and none if it is not."""
        accepting = self._runtime.state == "open" and not self._recorders
        self._routes = self._all_routes if accepting else {}

    def add_recorder(self, recorder: Recorder) -> None:
        """Show every event to ``recorder`` from now on, also those that no target matches."""
        self._recorders.append(recorder)
        self.refresh()

    def remove_recorder(self, recorder: Recorder) -> None:
        """Show events to ``recorder`` no longer."""
        self._recorders.remove(recorder)
        self.refresh()

    async def emit(
        self, name: str, data: object = None, session: SessionLike | None = None
    ) -> Receipt:
        """Hand an event to every target that matches; see ``EmitCall``."""
        route = self._routes.get(name)
        if route is None:
            with ExitStack() as recording:
                route, taken = self._record(recording, name, data, session)
                receipt = NO_TARGETS
                if not route.idle:
                    receipt = await self._emit_to(route, name, data, session)
                for each in taken:
                    each(receipt)
                return receipt
        sole = route.sole
        if (
            sole is not None
            and type(session) is Session
            and sole.pending < sole.limit
            and not self._observed
        ):
            # The one exception: the short way for one local function, which is what an emit often
            # is. Written out, for the calls and loops of the long way take a third of the time.
            event_id = str(uuid7())
            sole.enqueue(Event(event_id, name, data, session, self._runtime.clock.time()))
            return _new(Receipt, (event_id, 1, 0))
        if route.idle:
            return NO_TARGETS
        return await self._emit_to(route, name, data, session)

    def emit_nowait(
        self, name: str, data: object = None, session: SessionLike | None = None
    ) -> Receipt:
        """Hand an event to every target that matches, without waiting; see ``EmitCall``."""
        route = self._routes.get(name)
        if route is not None:
            return self._emit_to_nowait(route, name, data, session)
        with ExitStack() as recording:
            route, taken = self._record(recording, name, data, session)
            receipt = self._emit_to_nowait(route, name, data, session)
            for each in taken:
                each(receipt)
            return receipt

    def emit_from_thread(
        self, name: str, data: object = None, session: SessionLike | None = None
    ) -> Receipt:
        """``emit`` for any thread but the event loop's own; blocks until it has returned."""
        return self._runtime.run_from_thread(lambda: self.emit(name, data, session))

    def _record(
        self, recording: ExitStack, name: str, data: object, session: SessionLike | None
    ) -> tuple[Route[SubscriberLane, WebhookLane], list[Callable[[Receipt], None]]]:
        """Show an event to the recorders; return its route and what takes the receipt.

        Raises:
            RelayboxHooksError: the event is not accepted.
        """
        if self._runtime.state != "open":
            raise HooksClosedError(self._runtime.state)
        route = self._all_routes.get(name)
        if route is None:
            raise UnknownEventError(name, self._catalogue.names)
        taken = [recording.enter_context(each(name, data, session)) for each in self._recorders]
        return route, taken

    async def _emit_to(
        self,
        route: Route[SubscriberLane, WebhookLane],
        name: str,
        data: object,
        session: SessionLike | None,
    ) -> Receipt:
        emission = self._prepare(route, name, data, session)
        if emission is None:
            return NO_TARGETS
        if emission.stored:
            await self._commit(emission)
        else:
            self._offer(emission, wait=True)
        if emission.waiting:
            return await self._wait(emission)
        if self._observed:
            return self._finish(emission)
        return _new(Receipt, (emission.event_id, emission.accepted, emission.dropped))

    def _emit_to_nowait(
        self,
        route: Route[SubscriberLane, WebhookLane],
        name: str,
        data: object,
        session: SessionLike | None,
    ) -> Receipt:
        if self._gateway is not None and (route.shared or route.by_app):
            raise JournalWaitError
        emission = None if route.idle else self._prepare(route, name, data, session)
        if emission is None:
            return NO_TARGETS
        self._offer(emission, wait=False)
        return self._finish(emission)

    def _prepare(
        self,
        route: Route[SubscriberLane, WebhookLane],
        name: str,
        data: object,
        session: SessionLike | None,
    ) -> Emission | None:
        """Check and encode an event once, and find its lanes; ``None`` where none matches.

        Whatever can be refused because of the event itself is refused here.
        """
        if type(session) is not Session:
            session = Session.of(session)
        subscribers, shared = route.subscribers, route.shared
        bound = route.by_app.get(session.app_pid or "") if route.by_app else None
        if not (subscribers or shared or bound):
            return None
        event_id = str(uuid7())
        now = self._runtime.clock.time()
        if not (shared or bound):
            emission = Emission(event_id, name, None)
        else:
            envelope = Envelope.encode(event_id, name, data, session, self._max_body, time=now)
            emission = Emission(event_id, name, envelope)
            deliveries: list[Any] = emission.items if self._gateway is None else emission.stored
            for lanes in (shared, bound):
                if lanes:
                    _add_deliveries(lanes, envelope, data, session, deliveries)
        if subscribers:
            event = Event(event_id, name, data, session, now)
            emission.items += [(lane, event) for lane in subscribers]
        return emission

    async def _commit(self, emission: Emission) -> None:
        """Store an event in the journal; offer it as soon as it is stored, or not at all.

        A cancellation in between changes nothing: all lanes have the event, or none.
        """
        gateway, envelope = self._gateway, emission.envelope
        assert gateway is not None  # noqa: S101 - else there is nothing to store
        assert envelope is not None  # noqa: S101
        if emission.items:
            self._check_lanes(emission, wait=True)
        if self._observed:
            self._notify_emitting(emission)
        emission.append_begins()
        try:
            await gateway.store(envelope, emission.stored, emission, self._emit_timeout)
        except BaseException:
            self._finish(emission)
            raise

    def _offer(self, emission: Emission, *, wait: bool) -> None:
        """Offer an event to all its lanes, or raise before any of them has it."""
        items = emission.items
        if not self._runtime.notifier.emitting:  # an observer may fill a lane that has room now
            for lane, _ in items:
                if lane.pending >= lane.limit:
                    break
            else:
                for lane, item in items:
                    lane.enqueue(item)
                emission.accepted = len(items)
                return
        self._check_lanes(emission, wait=wait)
        self._notify_emitting(emission)
        emission.offer(wait=wait)

    def _check_lanes(self, emission: Emission, *, wait: bool) -> None:
        """Note whose subscriber emits; raise LaneFullError where a full lane takes no offer."""
        emission.origin = current_lane.get()
        for lane, _ in emission.items:
            if lane.pending >= lane.limit:
                lane.check_policy(wait=wait, origin=emission.origin)

    def _notify_emitting(self, emission: Emission) -> None:
        notifier = self._runtime.notifier
        if notifier.emitting:
            notifier.notify(notifier.emitting, emission.event_id, emission.name)

    async def _wait(self, emission: Emission) -> Receipt:
        """Wait until each full lane has taken the event, or rejected it."""
        try:
            await wait_for_room(emission.waiting, self._runtime.clock, self._emit_timeout)
        finally:
            for _, waiter in emission.waiting:
                if waiter.taken:
                    emission.accepted += 1
                else:
                    emission.dropped += 1
            receipt = self._finish(emission)
        return receipt

    def _finish(self, emission: Emission) -> Receipt:
        """Return the receipt, after reporting it to the observers."""
        receipt = _new(Receipt, (emission.event_id, emission.accepted, emission.dropped))
        notifier = self._runtime.notifier
        if notifier.emitted:
            notifier.notify(notifier.emitted, emission.name, receipt)
        return receipt


def _add_deliveries(
    lanes: Iterable[WebhookLane],
    envelope: Envelope,
    data: object,
    session: Session,
    deliveries: list[tuple[WebhookLane, Delivery]],
) -> None:
    """Add a delivery for each lane, with its order key."""
    connection = session.connection_id or session.client_id
    for lane in lanes:
        if lane.key_of is None:
            key = connection
        else:
            event = Event(envelope.id, envelope.name, data, session, envelope.time)
            key = lane.key_of(event)
            if key is not None and not isinstance(key, str):
                raise ConfigError(
                    "order_by", key, "the function must return a str, or None for no order"
                )
        deliveries.append((lane, Delivery(envelope, key)))
