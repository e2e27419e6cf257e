"""Logging, as one observer. It is on by default."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.events import Event
from relaybox_hooks.observer import Attempt, Observer, logger
from relaybox_hooks.stats import CloseReport
from relaybox_hooks.targets.policies import BreakerState
from relaybox_hooks.targets.webhook import Webhook

#: Seconds between two lines about losses of the same kind at the same target. An overload
#: can lose a hundred thousand events a second; what is held back is counted in the next line.
INTERVAL: Final = 10.0

#: Targets and reasons remembered before those that have been quiet are forgotten: webhooks may
#: come and go for years.
_KINDS: Final = 1000


class LoggingObserver(Observer):
    """Writes what needs attention to the ``relaybox_hooks`` logger.

    Losses and breakers are warnings, a failing subscriber is an error with its traceback,
    retries are INFO. Neither payloads nor keys nor query strings are logged.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}

    def retried(self, attempt: Attempt) -> None:
        logger.info(
            "%s %s: attempt %d at webhook %s failed (%s), next in %.1f s",
            attempt.event_name,
            attempt.event_id,
            attempt.number,
            attempt.webhook.name,
            attempt.outcome,
            attempt.next_in,
        )

    def dropped(self, target: str, event_id: str, name: str, reason: str) -> None:
        more = self._more(target, reason)
        if more is not None:
            why = reason if reason == "shutdown" else f"overflow={reason!r}"
            logger.warning(
                "%s %s: dropped, the lane of %s is full (%s)%s", name, event_id, target, why, more
            )

    def dead_lettered(self, letter: DeadLetter) -> None:
        if letter.reason == "overflow":
            return
        more = self._more(letter.webhook_id, letter.reason)
        if more is not None:
            logger.warning("dead letter: %s%s", letter, more)

    def subscriber_failed(self, subscriber: str, event: Event, error: BaseException) -> None:
        logger.error(
            "%s %s: subscriber %s failed", event.name, event.id, subscriber, exc_info=error
        )

    def breaker_changed(self, webhook: Webhook, before: BreakerState, after: BreakerState) -> None:
        logger.warning("webhook %s: breaker %s, was %s", webhook.name, after, before)

    def webhook_disabled(self, webhook: Webhook, reason: str) -> None:
        logger.warning("webhook %s (%s) disabled: %s", webhook.name, webhook.shown_url, reason)

    def closed(self, report: CloseReport) -> None:
        for (target, reason), count in self._held_back.items():
            if count:
                logger.warning("%s: %d more lost (%s)", target, count, reason)
        self._held_back.clear()
        if report.left:
            logger.warning("closed with %d events left: %s", report.left, report.targets)

    def _more(self, target: str, reason: str) -> str | None:
        """What to add to a line about a loss; ``None`` to hold the line back."""
        kind = (target, reason)
        now = self._clock()
        last = self._last.get(kind)
        if last is not None and now - last < INTERVAL:
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return None
        if len(self._last) >= _KINDS:
            self._last = {
                each: then
                for each, then in self._last.items()
                if now - then < INTERVAL or each in self._held_back
            }
        self._last[kind] = now
        count = self._held_back.pop(kind, 0)
        return f"; {count} more since the last such line" if count else ""
