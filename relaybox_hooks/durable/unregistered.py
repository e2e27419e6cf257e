"""Deliveries and states that a journal holds for webhooks that are not registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.durable.lane_store import LaneSource
from relaybox_hooks.durable.stored import dead_letter_of, may_be_more
from relaybox_hooks.journal.protocol import LaneHead
from relaybox_hooks.observer import logger
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import to_seconds

#: Deliveries given up in one go.
_SWEEP: Final = 500
#: Bytes of their events.
_SWEEP_BYTES: Final = 8 * 2**20


class SavedState(NamedTuple):
    """State of a webhook as the journal has it.

    Attributes:
        last_seen: when it was registered last, seconds since the Unix epoch.
        state: ``url``, ``disabled`` and ``breaker``; ``None`` where nothing was saved.
    """

    last_seen: float
    state: dict[str, Any] | None


class UnregisteredDeliveries:
    """Deliveries that wait in the journal until their webhook is registered again.

    Args:
        source: pending deliveries are read from it.
        runtime: shared with the lanes.
        retention: says how long is waited.
        keep_dead_letter: keeps a dead letter and reports it.
        count: counts deliveries that were given up.

    Attributes:
        pending: how many deliveries wait, by webhook id.
        states: of every webhook the journal knows, the registered ones included.
    """

    def __init__(
        self,
        source: LaneSource,
        runtime: Runtime,
        retention: RetentionPolicy,
        keep_dead_letter: Callable[[DeadLetter], None],
        count: Callable[[int], None],
    ) -> None:
        self.pending: dict[str, int] = {}
        self.states: dict[str, SavedState] = {}
        self._source = source
        self._runtime = runtime
        self._grace = to_seconds("unregistered", retention.unregistered, zero=True)
        self._keep_dead_letter = keep_dead_letter
        self._count_lost = count

    def load(self, heads: Iterable[LaneHead]) -> None:
        """Take what the journal holds, as it is opened."""
        for head in heads:
            self.states[head.webhook_id] = SavedState(head.last_seen, head.state)
            if head.pending:
                self.pending[head.webhook_id] = head.pending

    def claim(self, webhook: Webhook) -> tuple[int | None, dict[str, Any]]:
        """Hand over what waits for a webhook that is registered now.

        Returns:
            How many deliveries, ``None`` where none were left for it, and its saved state, empty
            where that is about another endpoint.
        """
        known = self.states.get(webhook.id)
        state = (known and known.state) or {}
        if state.get("url") != webhook.url:
            state = {}
        return self.pending.pop(webhook.id, None), state

    def note(self, webhook_id: str, state: dict[str, Any] | None) -> None:
        """Note the state of a webhook, which is registered now."""
        self.states[webhook_id] = SavedState(self._runtime.clock.time(), state)

    def warn(self) -> None:
        """Log what no webhook has claimed."""
        for webhook_id, pending in self.pending.items():
            logger.warning(
                "the journal holds %d deliveries for webhook %s, which is not registered",
                pending,
                webhook_id,
            )

    async def dead_letter_old(self) -> None:
        """Make dead letters of what has waited too long for its webhook.

        Raises:
            JournalError: it cannot be read.
        """
        now = self._runtime.clock.time()
        for webhook_id in tuple(self.pending):
            known = self.states.get(webhook_id)
            if known is not None and now - known.last_seen < self._grace:
                continue
            while webhook_id in self.pending:
                rows = await self._source.read(webhook_id, limit=_SWEEP, max_bytes=_SWEEP_BYTES)
                if webhook_id not in self.pending:
                    break  # registered meanwhile: its lane has them
                for row in rows:
                    if webhook_id not in self.pending:
                        break  # an observer has registered it: its lane has the rest
                    self.pending[webhook_id] -= 1
                    self._count_lost(1)
                    letter = dead_letter_of(row, "unregistered", self._runtime.clock.time())
                    self._keep_dead_letter(letter)
                if not may_be_more(rows, _SWEEP, _SWEEP_BYTES):
                    self.pending.pop(webhook_id, None)
