"""Replays: dead letters are sent again, one attempt each, past the lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias, Unpack

from relaybox_hooks.clock import sleep
from relaybox_hooks.dead_letters import Criteria, DeadLetter, DeadLetterStore
from relaybox_hooks.dispatch.accounting import Accounting
from relaybox_hooks.errors import ConfigError, HooksClosedError
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.outcome import DELIVERED, ENDPOINT_GONE, Outcome
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.attempt import INTERRUPTED, Attempter
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.runtime import Runtime


class ReplayReport(NamedTuple):
    """Result of a replay.

    Attributes:
        delivered: dead letters that were delivered now, and are dead letters no longer.
        failed: dead letters whose attempt failed again; they stay, with the new status or error.
        skipped: dead letters whose webhook is not registered or not enabled, or that another
            replay is sending; they stay.
    """

    delivered: int
    failed: int
    skipped: int


class ReplayTarget(NamedTuple):
    """A webhook, and its endpoint, that a dead letter is sent to."""

    webhook: Webhook
    endpoint: Endpoint


#: Finds where dead letters of a webhook, by its id, are sent; ``None`` for nowhere.
FindTarget: TypeAlias = Callable[[str], ReplayTarget | None]

#: Called after each dead letter with where it was sent and the outcome; ``None``: it was skipped.
OnOutcome: TypeAlias = Callable[[DeadLetter, ReplayTarget | None, Outcome | None], None]


async def send_again(
    letters: Iterable[DeadLetter],
    store: DeadLetterStore,
    find_target: FindTarget,
    runtime: Runtime,
    *,
    rate: float,
    on_outcome: OnOutcome,
) -> ReplayReport:
    """Send dead letters again, in their order, signed with the webhooks' current keys.

    Args:
        letters: the dead letters.
        store: keeps them; those that are delivered are removed.
        find_target: asked before each one, for much may have happened meanwhile.
        runtime: the clock, the session and the observers.
        rate: attempts per second, at most.
        on_outcome: called after each one.
    """

    def target_of(letter: DeadLetter) -> ReplayTarget | None:
        return find_target(letter.webhook_id) if store.is_free(letter) else None

    attempter = Attempter(runtime)
    delivered = failed = skipped = 0
    for letter in letters:
        if (delivered or failed) and target_of(letter):
            await sleep(runtime.clock, 1 / rate)
        target = target_of(letter)
        if target is None:
            skipped += 1
            on_outcome(letter, None, None)
            continue
        with store.claim(letter):
            outcome = await _attempt(attempter, target, letter, runtime)
        if outcome.verdict == DELIVERED:
            delivered += 1
            store.remove(letter, outcome)
        else:
            failed += 1
            store.replace(letter, _failed_again(letter, outcome, runtime.clock.time()))
        on_outcome(letter, target, outcome)
    return ReplayReport(delivered, failed, skipped)


async def _attempt(
    attempter: Attempter, target: ReplayTarget, letter: DeadLetter, runtime: Runtime
) -> Outcome:
    webhook, envelope, number = target.webhook, letter.envelope, letter.attempts + 1
    try:
        return await attempter.attempt(target.endpoint, webhook, envelope, number)
    finally:  # the replay may have been cancelled
        outcome = attempter.outcome or INTERRUPTED
        runtime.notifier.notify_attempt(
            runtime.clock, webhook, envelope, number, outcome, attempter.began, replayed=True
        )


def _failed_again(letter: DeadLetter, outcome: Outcome, now: float) -> DeadLetter:
    died_at = datetime.fromtimestamp(now, UTC)
    return replace(letter, outcome=outcome, attempts=letter.attempts + 1, died_at=died_at)


class Replayer:
    """Replays of one ``Hooks``. They are counted beside the lanes' counts, and change none.

    Args:
        runtime: shared with the lanes.
        accounting: has the dead letters.
        find_lane: finds the lane of a registered webhook by its id.
        endpoint_gone: called when an endpoint answers 410.
    """

    def __init__(
        self,
        runtime: Runtime,
        accounting: Accounting,
        find_lane: Callable[[str], WebhookLane | None],
        endpoint_gone: Callable[[Webhook], None],
    ) -> None:
        self._runtime = runtime
        self._accounting = accounting
        self._find_lane = find_lane
        self._endpoint_gone = endpoint_gone

    async def replay(self, rate: float, **criteria: Unpack[Criteria]) -> ReplayReport:
        """Send dead letters again; see ``Hooks.replay``."""
        if self._runtime.state != "open":
            raise HooksClosedError(self._runtime.state)
        if not isinstance(rate, int | float) or not rate > 0:
            raise ConfigError("rate", rate, "give attempts per second, more than 0")
        store = self._accounting.dead_letters
        with store.replaying():
            letters = await store.select(**criteria)
            return await send_again(
                letters,
                store,
                self._find_target,
                self._runtime,
                rate=rate,
                on_outcome=self._count_replay,
            )

    def _find_target(self, webhook_id: str) -> ReplayTarget | None:
        lane = self._find_lane(webhook_id)
        if lane is None or not lane.takes_replays:
            return None
        return ReplayTarget(lane.webhook, lane.endpoint)

    def _count_replay(
        self, letter: DeadLetter, target: ReplayTarget | None, outcome: Outcome | None
    ) -> None:
        if target is None or outcome is None:
            return
        lane = self._find_lane(letter.webhook_id)
        if lane is not None and lane.endpoint is not target.endpoint:
            lane = None  # registered again since
        if outcome.verdict == DELIVERED:
            if lane is None:
                self._accounting.totals.add_replayed()
            else:
                lane.replayed += 1
        elif outcome.verdict == ENDPOINT_GONE and lane is not None:
            self._endpoint_gone(lane.webhook)
