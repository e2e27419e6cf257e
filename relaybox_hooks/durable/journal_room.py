"""Room in the journal: ``max_pending``, and the policy for one more event where it is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from relaybox_hooks.dead_letters import Reason
from relaybox_hooks.errors import HooksClosedError, RelayboxHooksError
from relaybox_hooks.journal.errors import JournalFullError
from relaybox_hooks.journal.protocol import Journal, Targets
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.room import Room, Waiter
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.wire.envelope import Envelope


class Appender(Protocol):
    """Caller that appends an event; notified once, of success or failure."""

    def append_done(self, seqs: Sequence[int], pending: bool) -> None:
        """Take the event as stored: called at once, even if its emit was cancelled.

        Args:
            seqs: of its deliveries.
            pending: whether they are pending; else there was no room, and they are dead letters.
        """

    def append_failed(self) -> None:
        """Take the event as not stored."""


class Append:
    """An event on its way into the journal.

    Args:
        envelope: the encoded event.
        deliveries: the lanes it goes to, each with its delivery.
        room: served again where the append fails, for that makes room.
        appender: notified of success or failure.

    Attributes:
        pending: whether its deliveries are pending; else there was no room, and they are dead
            letters.
        stored: done when it is stored; fails with JournalError where it was not, and with
            HooksClosedError where closing has ended the wait for room.
        targets: the webhooks it goes to, with the order keys.
        waiter: waits for room; ``None`` where there was some, or none is to be waited for.
    """

    __slots__ = (
        "_appender",
        "_room",
        "deliveries",
        "envelope",
        "pending",
        "stored",
        "targets",
        "waiter",
    )

    def __init__(
        self,
        envelope: Envelope,
        deliveries: list[tuple[WebhookLane, Delivery]],
        room: JournalRoom,
        appender: Appender,
    ) -> None:
        self.envelope: Envelope = envelope
        self.deliveries: list[tuple[WebhookLane, Delivery]] = deliveries
        self.targets: Targets = [(lane.webhook.id, each.key) for lane, each in deliveries]
        self.pending: bool = True
        self.waiter: Waiter[Append] | None = None
        self.stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._room = room
        self._appender = appender

    def appended(self, future: asyncio.Future[Sequence[int]]) -> None:
        """Pass on what has become of the append: the callback of its future."""
        error = future.exception()
        if error is not None:
            self.fail(error)
            self._room.serve_waiters()
            return
        try:
            self._appender.append_done(future.result(), self.pending)
        finally:
            if not self.stored.done():  # it is where the emit was cancelled
                self.stored.set_result(self.pending)

    def fail(self, error: BaseException) -> None:
        """Report that the event was not stored."""
        if not self.stored.done():
            self.stored.set_exception(error)
            self.stored.exception()  # retrieved: a cancelled emit awaits it no longer
        self._appender.append_failed()


class JournalRoom(Room[Append]):
    """The bound on what is pending in the journal; ``drop_oldest`` drops from the fullest lane.

    Args:
        journal: appended to.
        lanes: of the registered webhooks by id, as they are at any time.
    """

    __slots__ = ("_backlog", "_journal", "_lanes", "_max_pending")

    def __init__(self, journal: Journal, lanes: Callable[[], Mapping[str, WebhookLane]]) -> None:
        super().__init__(journal.overflow)
        self._journal = journal
        self._backlog = journal.backlog
        self._lanes = lanes
        self._max_pending = journal.max_pending

    def check(self, append: Append) -> None:
        """Check that an event may be offered, and possibly wait.

        Raises:
            JournalFullError: there is no room, and none is to be waited for.
        """
        if self.waiters or not self.has_room(append):
            if len(append.targets) > self._max_pending:
                raise self.full_error("")
            self.check_policy(wait=True, origin=None)

    def append_at_once(self, append: Append) -> bool:
        """Append an event if there is room, which is what nearly all find; return whether."""
        targets = append.targets
        for lane, _ in append.deliveries:
            if lane.closed_for is not None:
                self._find_lanes_again(append)
                break
        if self.waiters or self._backlog().pending + len(targets) > self._max_pending:
            return False
        future = self._journal.append_nowait(append.envelope, targets)
        future.add_done_callback(append.appended)
        return True

    def has_room(self, item: Append) -> bool:
        return self._backlog().pending + len(item.targets) <= self._max_pending

    def enqueue(self, item: Append) -> None:
        self._append(item, None)

    def reject(self, item: Append, reason: Reason) -> None:
        if reason == "shutdown":
            item.fail(HooksClosedError("closing"))
        else:
            self._append(item, reason)

    def drop_oldest(self, item: Append) -> None:
        lanes, fullest = list(self._lanes().values()), None
        while lanes and not self.has_room(item):
            fullest = max(lanes, key=lambda lane: (lane.pending, lane is fullest))
            if not fullest.drop_one():
                if fullest.pending > fullest.in_flight:
                    break  # the rest of it waits in the journal: no other lane is to pay for that
                lanes.remove(fullest)

    def full_error(self, advice: str) -> JournalFullError:
        journal = self._journal
        return JournalFullError(journal.path, self._max_pending, journal.backlog().pending)

    def _append(self, item: Append, dead: Reason | None) -> None:
        item.pending = dead is None
        self._find_lanes_again(item)
        try:
            future = self._journal.append_nowait(item.envelope, item.targets, dead=dead)
        except RelayboxHooksError as error:
            item.fail(error)
        else:
            future.add_done_callback(item.appended)

    def _find_lanes_again(self, append: Append) -> None:
        """Give the deliveries of a webhook that was registered again meanwhile to its new lane.

        Every lane then knows, when it is closed, all that was appended for it: by number.
        """
        for place, (lane, delivery) in enumerate(append.deliveries):
            if lane.closed_for == "removed":
                append.deliveries[place] = self._lanes().get(lane.webhook.id, lane), delivery
