"""The gateway to the journal: stores what is emitted, and lets lanes take over after a restart."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.durable.delivery_log import DeliveryLog
from relaybox_hooks.durable.journal_dead_letters import JournalDeadLetters
from relaybox_hooks.durable.journal_queue import JournalQueue
from relaybox_hooks.durable.journal_room import Append, Appender, JournalRoom
from relaybox_hooks.durable.lane_store import QueueCallbacks
from relaybox_hooks.durable.retention import Retention
from relaybox_hooks.durable.unregistered import UnregisteredDeliveries
from relaybox_hooks.errors import RelayboxHooksError
from relaybox_hooks.journal.errors import JournalError
from relaybox_hooks.journal.protocol import PERMANENT, Change, Journal, StoredDelivery
from relaybox_hooks.lanes.delivery import Delivery
from relaybox_hooks.lanes.room import Waiter, wait_for_room
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.observer import logger
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import Overflow
from relaybox_hooks.wire.envelope import Envelope


class JournalGateway:
    """Everything that a ``Hooks`` does with its journal, as under one permanent grant.

    It is the source and the commit sink of every lane's queue.

    Args:
        runtime: shared with the lanes.
        journal: open from :meth:`open` to :meth:`aclose`.
        retention: how long settled deliveries are kept.
        keep_dead_letter: keeps a dead letter and reports it.
        count_unregistered: counts deliveries that were given up without a webhook.

    Attributes:
        dead_letters: the dead letters in the journal.
        log: its deliveries of any state.
        opened: the journal was opened.
        unregistered: deliveries of webhooks that are not registered.
    """

    def __init__(
        self,
        runtime: Runtime,
        journal: Journal,
        retention: RetentionPolicy,
        *,
        keep_dead_letter: Callable[[DeadLetter], None],
        count_unregistered: Callable[[int], None],
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._open: bool = False
        self.opened: bool = False
        self._lanes: dict[str, tuple[WebhookLane, JournalQueue]] = {}
        self._room = JournalRoom(journal, self._registered_lanes)
        self.log: DeliveryLog = DeliveryLog(journal)
        self.dead_letters: JournalDeadLetters = JournalDeadLetters(
            journal, self.commit, runtime.now
        )
        self.unregistered: UnregisteredDeliveries = UnregisteredDeliveries(
            self, runtime, retention, keep_dead_letter, count_unregistered
        )
        self._retention = Retention(
            runtime, journal, retention, self._lanes.keys, self.unregistered.dead_letter_old
        )

    @property
    def overflow(self) -> Overflow:
        """The policy where the journal is full."""
        return self._room.overflow

    # Lifecycle

    async def open(self) -> None:
        """Open the journal, and read what it knows of each webhook.

        Raises:
            JournalError: it cannot be opened or read.
        """
        await self._journal.open()
        try:
            self.unregistered.load(await self._journal.lanes(PERMANENT))
        except BaseException:
            await self._journal.aclose()
            raise
        self._open = self.opened = True

    def begin(self) -> None:
        """Report what no webhook has claimed, and purge regularly from now on."""
        self.unregistered.warn()
        self._retention.begin_round()

    def reject_waiters(self) -> None:
        """Let every emit that waits for room fail: the hooks are closing."""
        self._room.reject_waiters("shutdown")

    async def flush(self) -> None:
        """Wait until what was appended and settled so far is durable."""
        try:
            await self._journal.flush()
        except JournalError as error:
            logger.error("%s", error)

    async def aclose(self) -> None:
        """Write everything, and release the journal."""
        self._open = False
        await self._retention.aclose()
        try:
            await self._journal.aclose()
        except JournalError as error:
            logger.error(
                "%s; deliveries that were settled last may be made again after the restart", error
            )

    # Webhooks

    def make_queue(self, lane: WebhookLane, max_bytes: int) -> JournalQueue:
        """Make the queue of a webhook's lane, with ``max_bytes`` of events in memory."""

        def dead_letter(delivery: Delivery) -> None:
            lane.dead_letter(delivery, lane.closed_for or "disabled")

        callbacks = QueueCallbacks(lane.fill, lane.entered, dead_letter)
        webhook_id = lane.webhook.id
        queue = JournalQueue(
            self._runtime, webhook_id, lane.settings, self, self, callbacks, max_bytes=max_bytes
        )
        self._lanes[webhook_id] = lane, queue
        return queue

    def register(self, webhook_id: str) -> bool:
        """Let a webhook's lane take over what the journal holds for it, once it is open.

        Returns:
            Whether it was disabled when its state was saved last, and is to be again.
        """
        if not self._open:
            return False
        lane, queue = self._lanes[webhook_id]
        pending, state = self.unregistered.claim(lane.webhook)
        breaker = state.get("breaker")
        lane.take_over(pending or 0, breaker)
        if pending is None:
            queue.start_after(self.last_seq())
        else:
            queue.take_over(pending)
        self._journal.touch([webhook_id], self._runtime.clock.time())
        return lane.webhook.enabled and bool(state.get("disabled"))

    def unregister(self, webhook_id: str) -> None:
        """Keep no state of a webhook that was removed."""
        self._lanes.pop(webhook_id, None)
        self.unregistered.states.pop(webhook_id, None)
        if self._open:
            self._journal.save_state(webhook_id, None)

    def save_state(self, webhook_id: str) -> None:
        """Save what is to survive a restart: whether a webhook is disabled, and its breaker."""
        if webhook_id not in self._lanes or not self._open:
            return
        lane, _ = self._lanes[webhook_id]
        state: dict[str, Any] | None = None
        disabled, breaker = lane.closed_for == "disabled", lane.saved_breaker()
        if disabled or breaker:
            state = {"url": lane.webhook.url, "disabled": disabled, "breaker": breaker}
        self.unregistered.note(webhook_id, state)
        self._journal.save_state(webhook_id, state)

    def _registered_lanes(self) -> dict[str, WebhookLane]:
        return {webhook_id: lane for webhook_id, (lane, _) in self._lanes.items()}

    # Source and sink of the queues

    async def read(
        self,
        webhook_id: str,
        *,
        limit: int,
        max_bytes: int,
        after: int = 0,
        key: str | None = None,
        skip_keys: Collection[str] = (),
    ) -> list[StoredDelivery]:
        """Return pending deliveries of a webhook; see ``DeliverySource.read``."""
        return await self._journal.read(
            PERMANENT,
            webhook_id,
            limit=limit,
            max_bytes=max_bytes,
            after=after,
            key=key,
            skip_keys=skip_keys,
        )

    def commit(self, change: Change) -> None:
        """Commit a change; where it makes room, the emits that wait for it are served."""
        self._journal.commit(PERMANENT, (change,))
        if self._room.waiters:
            self._room.serve_waiters()

    def last_seq(self) -> int:
        """Return the highest number given so far, to what is being appended too."""
        return self._journal.backlog().last_seq

    # Emitting

    def store(
        self,
        envelope: Envelope,
        deliveries: list[tuple[WebhookLane, Delivery]],
        appender: Appender,
    ) -> Append:
        """Store an event, whatever becomes of the caller.

        Args:
            envelope: the encoded event.
            deliveries: the lanes it goes to, each with its delivery; a lane that was removed
                meanwhile is replaced by that of the same webhook, if it is registered again.
            appender: notified when it is stored, or that it was not: also where an error is raised.

        Returns:
            What becomes of it: the caller awaits :meth:`room_for` where that has a ``waiter``,
            and ``stored``.

        Raises:
            JournalFullError: there is no room, and none is to be waited for.
        """
        append = Append(envelope, deliveries, self._room, appender)
        try:
            if not self._room.append_at_once(append):
                self._room.check(append)
                outcome = self._room.offer(append, wait=True)
                append.waiter = outcome if isinstance(outcome, Waiter) else None
        except RelayboxHooksError:
            appender.append_failed()
            raise
        return append

    async def room_for(self, waiter: Waiter[Append], timeout: float) -> None:
        """Wait for room in the journal for ``timeout`` seconds; then the event is dropped."""
        await wait_for_room([(self._room, waiter)], self._runtime.clock, timeout)
