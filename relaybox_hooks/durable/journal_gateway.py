"""What the dispatcher does with its journal: it stores, and takes over after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from relaybox_hooks.durable.delivery_log import JournalDeadLetters
from relaybox_hooks.durable.journal_queue import DurableLane
from relaybox_hooks.durable.retention import ROUND, Housekeeping
from relaybox_hooks.errors import HooksClosedError
from relaybox_hooks.journal.errors import JournalError, JournalFullError
from relaybox_hooks.journal.protocol import Journal, KnownWebhook, Targets
from relaybox_hooks.lanes.memory_queue import Delivery
from relaybox_hooks.lanes.runtime import RemoteHub
from relaybox_hooks.observer import logger
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.wire.envelope import Envelope

#: Seconds that a lease lasts; housekeeping extends those of what is in memory.
_LEASE: Final = 5 * ROUND

#: A lane and what it is to be handed once that is stored.
Handed: TypeAlias = tuple[DurableLane, Delivery]


class JournalGateway:
    """Holds the journal for all lanes.

    Mutable state: what is remembered of each webhook; the deliveries that no registered webhook
    has claimed; and who waits for room in the journal.

    Attributes:
        journal: open from :meth:`open` to :meth:`aclose`.
        unregistered: how many deliveries are kept for webhooks that are not registered.
    """

    def __init__(self, hub: RemoteHub, journal: Journal, retention: RetentionPolicy) -> None:
        self.journal = journal
        self.unregistered: dict[str, int] = {}
        self._hub = hub
        #: What is remembered of each webhook, the ones that are not registered included.
        self.known: dict[str, KnownWebhook] = {}
        #: The lanes of those that are.
        self.lanes: dict[str, DurableLane] = {}
        self._open = False
        self._closing = False
        self._line = asyncio.Lock()
        #: How many are in it. The lock is free for a moment while the next one takes its turn.
        self._in_line = 0
        self._room: asyncio.Future[None] | None = None
        #: Room was made since the journal was last asked to write everything down.
        self._freed = False
        self._housekeeping = Housekeeping(hub, self, retention)

    # Lifecycle

    async def open(self) -> JournalDeadLetters:
        """Open the journal and let every lane take over what is its own.

        Raises:
            JournalError: it cannot be opened or read.
        """
        await self.journal.open()
        try:
            counts = await self.journal.counts()
            self.known = await self.journal.load_states()
        except BaseException:
            await self.journal.aclose()
            raise
        self.unregistered = {
            webhook_id: count.pending for webhook_id, count in counts.items() if count.pending
        }
        self._open = True
        return JournalDeadLetters(self.journal, self._hub.clock.time)

    def begin(self) -> None:
        """Report what nobody has claimed, and keep house from now on."""
        for webhook_id, pending in self.unregistered.items():
            logger.warning(
                "the journal holds %d deliveries for webhook %s, which is not registered",
                pending,
                webhook_id,
            )
        self._housekeeping.begin()

    def dismiss_waiters(self) -> None:
        """No room will come for anyone."""
        self._closing = True
        self.freed()

    async def flush(self) -> None:
        """Hand on what is on its way to the journal."""
        try:
            await self.journal.flush()
        except JournalError as error:
            logger.error("%s", error)

    async def aclose(self) -> None:
        """Write everything down and release the journal."""
        self._open = False
        await self._housekeeping.end()
        try:
            await self.journal.aclose()
        except JournalError as error:
            logger.error(
                "%s; deliveries that were settled last may be made again after the restart", error
            )

    # Webhooks

    def lane(self, webhook: Webhook, settings: Settings) -> DurableLane:
        """A lane for ``webhook``."""
        lane = self.lanes[webhook.id] = DurableLane(self._hub, webhook, settings, self)
        return lane

    def register(self, webhook_id: str) -> bool:
        """Let a webhook's lane take over what the journal holds for it, once it is open.

        Returns:
            Whether it was disabled when its state was written down last, and is to be again.
        """
        if not self._open:
            return False
        lane = self.lanes[webhook_id]
        webhook = lane.webhook
        known = self.known.get(webhook.id)
        state = (known and known.state) or {}
        if state.get("url") != webhook.url:
            state = {}  # what is remembered is about another endpoint
        if webhook.id in self.unregistered:
            lane.adopt(self.unregistered.pop(webhook.id), state.get("breaker"))
        else:
            lane.follow(self.journal.last_seq)
            lane.adopt(0, state.get("breaker"))
        self.journal.touch([webhook.id], self._hub.clock.time())
        return webhook.enabled and bool(state.get("disabled"))

    def forget(self, webhook_id: str) -> None:
        """A webhook was removed: nothing of it is remembered."""
        self.lanes.pop(webhook_id, None)
        self.known.pop(webhook_id, None)
        if self._open:
            self.journal.save_state(webhook_id, None)

    def save(self, webhook_id: str) -> None:
        """Write down what a webhook's lane must not forget over a restart."""
        lane = self.lanes.get(webhook_id)
        if lane is None or not self._open:
            return
        webhook = lane.webhook
        state: dict[str, Any] | None = None
        disabled, breaker = lane.ending == "disabled", lane.saved_breaker()
        if disabled or breaker:
            state = {"url": webhook.url, "disabled": disabled, "breaker": breaker}
        self.known[webhook.id] = KnownWebhook(self._hub.clock.time(), state)
        self.journal.save_state(webhook.id, state)

    # Storing

    def lease_end(self) -> float:
        """Until when what is read now is leased, seconds since the Unix epoch."""
        return self._hub.clock.time() + _LEASE

    def freed(self) -> None:
        """A delivery is pending no longer."""
        self._freed = True
        room = self._room
        if room is not None and not room.done():
            room.set_result(None)

    async def store(
        self,
        envelope: Envelope,
        items: Sequence[Handed],
        hand_on: Callable[[], None],
        timeout: float,
    ) -> bool:
        """Store deliveries and hand them to their lanes, whatever becomes of the caller.

        Args:
            hand_on: called when they have been handed on.
            timeout: seconds to wait for room in the journal.

        Returns:
            False where there was no room, so that they are dead letters.

        Raises:
            JournalError: nothing was stored or handed on.
        """
        targets = [(lane.webhook.id, delivery.key) for lane, delivery in items]
        future = None if self._in_line else self._append(envelope, targets)
        if future is None:
            future = await self._append_with_room(envelope, targets, timeout)
        accepted = future is not None
        if future is None:
            future = self.journal.append_nowait(envelope, targets, dead="overflow")
        stored: asyncio.Future[None] = self._hub.loop.create_future()

        def done(appended: asyncio.Future[Sequence[int]]) -> None:
            error = appended.exception()
            if error is not None:
                if not stored.done():
                    stored.set_exception(error)
                return
            for (lane, delivery), seq in zip(items, appended.result(), strict=True):
                delivery.seq = seq
                if accepted:
                    lane.put(delivery)
                else:
                    lane.turn_away(delivery)
            hand_on()
            if not stored.done():  # it is where the emit was cancelled
                stored.set_result(None)

        future.add_done_callback(done)
        await stored
        return accepted

    def _append(self, envelope: Envelope, targets: Targets) -> asyncio.Future[Sequence[int]] | None:
        """Append, if there is room."""
        try:
            return self.journal.append_nowait(envelope, targets)
        except JournalFullError:
            overflow = self.journal.overflow
            if overflow == "raise" or len(targets) > self.journal.max_pending:
                raise
            return None

    async def _append_with_room(
        self, envelope: Envelope, targets: Targets, timeout: float
    ) -> asyncio.Future[Sequence[int]] | None:
        """Append, once there is room; ``None`` where none comes or none may be waited for."""
        overflow = self.journal.overflow
        if overflow == "drop_newest":
            return self._append(envelope, targets)
        clock, timer = self._hub.clock, None
        self._in_line += 1
        try:
            async with asyncio.timeout(None) as limit:
                if timeout != float("inf"):
                    timer = clock.call_at(clock.monotonic() + timeout, lambda: limit.reschedule(0))
                async with self._line:
                    while (future := self._append(envelope, targets)) is None:
                        if overflow != "drop_oldest":
                            await self._more_room()
                        elif self._evict(len(targets)):
                            await self.journal.flush()
                        else:
                            break
                    return future
        except TimeoutError:
            return None
        finally:
            self._in_line -= 1
            if timer is not None:
                timer.cancel()

    async def _more_room(self) -> None:
        """Wait until there may be more room than there was."""
        if not self._freed and not self._closing:
            self._room = self._hub.loop.create_future()
            await self._room
        if self._closing:
            raise HooksClosedError("closing")
        self._freed = False
        await self.journal.flush()  # it counts what it has written down

    def _evict(self, number: int) -> bool:
        """Make room for ``number`` deliveries: the oldest of whoever fills the journal go."""
        journal = self.journal
        lane = max(self.lanes.values(), key=lambda lane: lane.pending)
        excess = journal.pending_total + number - journal.max_pending
        return sum(lane.evict() for _ in range(excess)) > 0
