"""Dead letters sent again, one attempt each, past the lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from relaybox_hooks.clock import sleep
from relaybox_hooks.dead_letters import DeadLetter, DeadLetterStore
from relaybox_hooks.lanes.runtime import RemoteHub
from relaybox_hooks.lanes.webhook_lane import WebhookLane
from relaybox_hooks.outcome import Outcome, Verdict
from relaybox_hooks.transport.endpoint import INTERRUPTED, TIMED_OUT


class ReplayReport(NamedTuple):
    """What ``replay`` returns.

    Attributes:
        delivered: letters that arrived now, and are dead letters no longer.
        failed: letters whose attempt failed again; they stay, with the new status or error.
        skipped: letters whose webhook is not registered or not enabled, or that another
            replay is sending; they stay.
    """

    delivered: int
    failed: int
    skipped: int


async def replay(
    letters: Iterable[DeadLetter],
    kept: DeadLetterStore,
    lanes: Mapping[str, WebhookLane],
    hub: RemoteHub,
    spacing: float,
) -> ReplayReport:
    """Send ``letters`` again, ``spacing`` seconds apart, in their order."""

    def lane_for(letter: DeadLetter) -> WebhookLane | None:
        lane = lanes.get(letter.webhook_id)
        return lane if lane is not None and lane.replayable and kept.free(letter) else None

    delivered = failed = skipped = 0
    for letter in letters:
        if (delivered or failed) and lane_for(letter):
            await sleep(hub.clock, spacing)
        lane = lane_for(letter)  # asked again: much may have happened meanwhile
        if lane is None:
            skipped += 1
            continue
        if kept.foreign(letter):
            _count(letter, lane)
        with kept.claim(letter):
            outcome = await _attempt(lane, letter, hub)
        if outcome.verdict is Verdict.DELIVERED:
            delivered += 1
            kept.discard(letter, outcome)
            if not lane.revive(letter):
                hub.totals.revive(dropped=letter.reason == "overflow")
        else:
            failed += 1
            kept.replace(letter, _after(letter, outcome, hub))
            if outcome.verdict is Verdict.GONE:
                hub.endpoint_gone(lane.webhook)
    return ReplayReport(delivered, failed, skipped)


def _count(letter: DeadLetter, lane: WebhookLane) -> None:
    """Let ``lane`` answer for a letter that is from before the restart."""
    lane.accepted += 1
    if letter.reason == "overflow":
        lane.dropped += 1
    else:
        lane.failed += 1


async def _attempt(lane: WebhookLane, letter: DeadLetter, hub: RemoteHub) -> Outcome:
    endpoint, clock, envelope, number = (
        lane.endpoint,
        hub.clock,
        letter.envelope,
        letter.attempts + 1,
    )
    outcome: Outcome | None = None
    import anyio  # noqa: PLC0415 - few processes replay, and importing it takes time

    extra = None
    if hub.notifier.attempting:
        extra = hub.notifier.headers(lane.webhook, envelope, number)
    began = clock.monotonic()
    try:
        with anyio.CancelScope() as scope:
            timer = clock.call_at(began + endpoint.deadline, scope.cancel)
            try:
                outcome, response = await endpoint.send(hub.session, envelope, clock.time, extra)
                if response is not None:
                    await endpoint.drain(response)
            finally:
                timer.cancel()
        outcome = outcome or TIMED_OUT
    finally:  # the replay may have been cancelled
        hub.notifier.tell_attempt(
            clock,
            lane.webhook,
            envelope,
            number,
            outcome or INTERRUPTED,
            began,
            replayed=True,
        )
    return outcome


def _after(letter: DeadLetter, outcome: Outcome, hub: RemoteHub) -> DeadLetter:
    return replace(
        letter,
        outcome=outcome,
        attempts=letter.attempts + 1,
        died_at=datetime.fromtimestamp(hub.clock.time(), UTC),
    )
