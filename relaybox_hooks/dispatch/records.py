"""What users ask the dispatcher: counts, dead letters, the delivery log; and replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from relaybox_hooks.dead_letters import Criteria, DeadLetter
from relaybox_hooks.dispatch.registry import Registry
from relaybox_hooks.dispatch.replay import ReplayReport, replay
from relaybox_hooks.dispatch.typed_calls import CustomT_contra
from relaybox_hooks.errors import ConfigError, HooksClosedError
from relaybox_hooks.stats import Stats, TargetStats

if TYPE_CHECKING:
    from relaybox_hooks.durable.delivery_log import JournalDeadLetters, LogCriteria, LoggedDelivery


class Records(Registry[CustomT_contra]):
    """The books, as users read them."""

    #: What the journal remembers, once it is open; ``None`` where there is no journal.
    _archive: JournalDeadLetters | None

    def stats(self) -> Stats:
        """The counts as they are now, for the whole and per target."""
        self.fold()
        targets: dict[str, TargetStats] = {}
        for webhook_id, webhook_lane in self._webhooks.items():
            targets[webhook_id] = webhook_lane.stats()
        for lane, _ in self._subscribers.values():
            name, number = lane.target, 2
            while name in targets:
                name, number = f"{lane.target}#{number}", number + 1
            targets[name] = lane.stats()
        rows = [*targets.values(), *(lane.stats() for lane in self._retired)]
        return self.totals.sum_up(rows, targets)

    @property
    def unregistered(self) -> dict[str, int]:
        """How many deliveries the journal keeps for webhooks that are not registered, by id."""
        return {} if self.keeper is None else dict(self.keeper.unregistered)

    async def dead_letters(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        """Deliveries that were given up on, oldest first, that fit all of what is given.

        Args:
            criteria: ``event_id``, ``webhook_id``, ``event`` (its name), ``reason``, ``since``
                and ``until`` (aware): see :class:`~relaybox_hooks.dead_letters.Criteria`.

        Raises:
            ConfigError: a moment without a time zone.
            JournalError: there is a journal and it cannot be read.
        """
        return await self.letters.select(**criteria)

    async def deliveries(self, **criteria: Unpack[LogCriteria]) -> list[LoggedDelivery]:
        """The journal's log of deliveries, newest first, that fit all of what is given.

        Args:
            criteria: ``event_id``, ``webhook_id``, ``event`` (its name), ``status``
                (``"pending"``, ``"delivered"`` or ``"dead"``), ``since`` and ``until`` (emitted
                then; aware), ``before`` (an entry to read on from), ``limit`` (100): see
                :class:`~relaybox_hooks.durable.delivery_log.LogCriteria`.

        Raises:
            ConfigError: there is no journal, or a moment without a time zone.
            HooksClosedError: before ``start()``.
            JournalError: it cannot be read.
        """
        if self.keeper is None:
            raise ConfigError("journal", None, "the log of deliveries is kept in a journal")
        if self._archive is None:
            raise HooksClosedError(self._state)
        return await self._archive.log(**criteria)

    async def replay(self, *, rate: float = 50.0, **criteria: Unpack[Criteria]) -> ReplayReport:
        """Send dead letters again, chosen as in :meth:`dead_letters`: one attempt each.

        The event's id stays, the signature is made with the webhook's current key. Neither the
        lane nor its breaker is touched. What is delivered is a dead letter no longer.

        Args:
            rate: attempts per second at the most.
            criteria: which ones; all by default.

        Raises:
            HooksClosedError: before ``start()`` or after ``aclose()``.
            JournalError: there is a journal and it cannot be read.
        """
        if self._state != "open":
            raise HooksClosedError(self._state)
        if not isinstance(rate, int | float) or not rate > 0:
            raise ConfigError("rate", rate, "give attempts per second, more than 0")
        with self.letters.replaying():
            letters = await self.letters.select(**criteria)
            return await replay(letters, self.letters, self._webhooks, self, 1 / rate)
