"""The emitter: one event is checked, encoded once, committed and offered to its lanes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from uuid_utils import uuid7

from relaybox_hooks.dispatch.emission import Emission, add_deliveries
from relaybox_hooks.dispatch.inline_calls import InlineCalls
from relaybox_hooks.errors import HooksClosedError, JournalWaitError, UnknownEventError
from relaybox_hooks.events import Catalogue, Event
from relaybox_hooks.lanes.inline_lane import InlineLane
from relaybox_hooks.lanes.lane import current_lane
from relaybox_hooks.lanes.room import wait_for_room
from relaybox_hooks.lanes.subscriber_lane import SubscriberLane
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.session import Session, SessionLike
from relaybox_hooks.stats import NO_TARGETS, Receipt
from relaybox_hooks.targets.routing import Route
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.wire.envelope import Envelope

if TYPE_CHECKING:  # the journal's part is imported only where there is a journal
    from relaybox_hooks.durable.journal_gateway import JournalGateway

#: Where an event goes.
EventRoute: TypeAlias = Route[SubscriberLane, WebhookLane, InlineLane]

#: The routes of all events, by name.
Routes: TypeAlias = dict[str, EventRoute]

#: Sees an event before it is handed out; the context's value takes the receipt.
Recorder: TypeAlias = Callable[
    [str, object, SessionLike | None], AbstractContextManager[Callable[[Receipt], None]]
]

#: What a named tuple's own constructor calls, which is a Python function and takes twice as long.
_new: Final = tuple.__new__


class Emitter:
    """``emit`` and its twins. The way is always the same: prepare, commit, offer.

    Inline functions are called between prepare and commit.

    Args:
        runtime: shared with the lanes.
        catalogue: the declared events.
        routes: of each of them.
        gateway: to the journal, if there is one.
        max_body: bytes that a request's body may have.
        emit_timeout: seconds to wait for room; ``inf`` for no end.

    Attributes:
        inline_calls: the inline functions of the emits under way.
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
        #: The clock's ``time`` once there is a clock.
        self._now: Callable[[], float] = runtime.now
        self._gateway = gateway
        self._max_body = max_body
        self._emit_timeout = emit_timeout
        #: Whether any observer is called for emits: each emit tests it.
        self._observed = bool(runtime.notifier.emitting or runtime.notifier.emitted)
        self._recorders: list[Recorder] = []
        self.inline_calls: InlineCalls = InlineCalls(runtime)

    def refresh(self) -> None:
        """Accept events if the state is open, and none if it is not."""
        accepting = self._runtime.state == "open" and not self._recorders
        self._routes = self._all_routes if accepting else {}
        if accepting:
            self._now = self._runtime.clock.time

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
            return await self._emit_recorded(name, data, session)
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
            sole.enqueue(Event(event_id, name, data, session, self._now()))
            return _new(Receipt, (event_id, 1, 0))
        lane = route.sole_inline
        if lane is None or (call := lane.plain_call) is None or type(session) is not Session:
            if route.idle:
                return NO_TARGETS
            return await self._emit_to(route, name, data, session)
        # Likewise for one inline function, whose lane is counted as ``begin`` and ``call`` do.
        runtime = self._runtime
        event_id = str(uuid7())
        event = Event(event_id, name, data, session, self._now())
        lane.pending += 1
        runtime.outstanding += 1
        try:
            await call(event)
        except BaseException as error:
            lane.broken_off(event, error)
            raise
        if lane.pending:  # 0: given up at closing
            lane.delivered += 1
            lane.pending -= 1
            runtime.outstanding -= 1
            if runtime.joiners:
                runtime.settled(0)
        return _new(Receipt, (event_id, 1, 0))

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

    async def _emit_recorded(self, name: str, data: object, session: SessionLike | None) -> Receipt:
        """``emit`` while events are recorded, or not accepted."""
        with ExitStack() as recording:
            route, taken = self._record(recording, name, data, session)
            receipt = NO_TARGETS
            if not route.idle:
                receipt = await self._emit_to(route, name, data, session)
            for each in taken:
                each(receipt)
            return receipt

    def _record(
        self, recording: ExitStack, name: str, data: object, session: SessionLike | None
    ) -> tuple[EventRoute, list[Callable[[Receipt], None]]]:
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
        route: EventRoute,
        name: str,
        data: object,
        session: SessionLike | None,
    ) -> Receipt:
        emission = self._prepare(route, name, data, session)
        if emission is None:
            return NO_TARGETS
        if emission.inline:
            return await self._emit_after_inline(emission)
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
        route: EventRoute,
        name: str,
        data: object,
        session: SessionLike | None,
    ) -> Receipt:
        if self._gateway is not None and (route.shared or route.by_app):
            raise JournalWaitError
        emission = None if route.idle else self._prepare(route, name, data, session)
        if emission is None:
            return NO_TARGETS
        if emission.inline:
            return self._emit_after_inline_nowait(emission)
        self._offer(emission, wait=False)
        return self._finish(emission)

    async def _emit_after_inline(self, emission: Emission) -> Receipt:
        """Call the inline functions; hand the event to the other targets if none of them raises."""
        self._check_lanes(emission, wait=True)
        self._notify_emitting(emission)
        lanes = self.inline_calls.begin(emission)
        try:
            try:
                await self.inline_calls.call(emission)
                self._check_again(emission, wait=True)
            except BaseException:
                self._finish(emission)
                raise
            if emission.stored:
                await self._commit(emission)
            else:
                emission.offer(wait=True)
            if emission.waiting:
                return await self._wait(emission)
            return self._finish(emission)
        finally:
            self.inline_calls.finish(lanes)

    def _emit_after_inline_nowait(self, emission: Emission) -> Receipt:
        self.inline_calls.check_nowait(emission)
        self._check_lanes(emission, wait=False)
        self._notify_emitting(emission)
        lanes = self.inline_calls.begin(emission)
        try:
            self.inline_calls.call_nowait(emission)
            self._check_again(emission, wait=False)
            emission.offer(wait=False)
        finally:
            receipt = self._finish(emission)
            self.inline_calls.finish(lanes)
        return receipt

    def _prepare(
        self,
        route: EventRoute,
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
        if not (subscribers or shared or bound or route.inline):
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
                    add_deliveries(lanes, envelope, data, session, deliveries)
        if subscribers or route.inline:
            event = Event(event_id, name, data, session, now)
            emission.items += [(lane, event) for lane in subscribers]
            emission.inline = [(lane, event) for lane in route.inline]
        return emission

    async def _commit(self, emission: Emission) -> None:
        """Store an event in the journal; offer it as soon as it is stored, or not at all.

        A cancellation in between changes nothing: all lanes have the event, or none.
        """
        gateway, envelope = self._gateway, emission.envelope
        assert gateway is not None  # noqa: S101 - else there is nothing to store
        assert envelope is not None  # noqa: S101
        if not emission.inline:  # else both is done
            if emission.items:
                self._check_lanes(emission, wait=True)
            if self._observed:
                self._notify_emitting(emission)
        emission.committing = [*emission.stored, *emission.items]
        for lane, _ in emission.committing:
            lane.committing += 1
        try:
            append = gateway.store(envelope, emission.stored, emission)
            if append.waiter is not None:
                await gateway.room_for(append.waiter, self._emit_timeout)
            await append.stored
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

    def _check_again(self, emission: Emission, *, wait: bool) -> None:
        """Check the lanes as the inline functions have left them."""
        emission.reject_closed()
        self._check_lanes(emission, wait=wait)

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
