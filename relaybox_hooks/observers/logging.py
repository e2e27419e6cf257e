"""Logging observer, on by default."""

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

#: Minimum seconds between two lines about losses with the same target and reason. An overload
#: can lose 100,000 events per second; the next line counts the suppressed ones.
INTERVAL: Final = 10.0

#: Pairs of target and reason to store before idle ones are evicted; bounds the memory of a
#: process that registers and removes webhooks for years.
_MAX_KEYS: Final = 1000


class LoggingObserver(Observer):
    """Observer that logs losses, failures and retries to the ``relaybox_hooks`` logger.

    Losses, breaker changes and disabled webhooks are WARNING, a failing subscriber is ERROR with
    its traceback, retries are INFO. Payloads, keys and query strings are never logged. Lines
    about losses are rate-limited to one per target, reason and ``INTERVAL``.

    Args:
        clock: returns monotonic time, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}
        self._suppressed: dict[tuple[str, str], int] = {}

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
        more = self._rate_limit(target, reason)
        if more is not None:
            why = reason if reason == "shutdown" else f"overflow={reason!r}"
            logger.warning(
                "%s %s: dropped, the lane of %s is full (%s)%s", name, event_id, target, why, more
            )

    def dead_lettered(self, letter: DeadLetter) -> None:
        if letter.reason == "overflow":
            return
        more = self._rate_limit(letter.webhook_id, letter.reason)
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
        for (target, reason), count in self._suppressed.items():
            if count:
                logger.warning("%s: %d more lost (%s)", target, count, reason)
        self._suppressed.clear()
        if report.left:
            logger.warning("closed with %d events left: %s", report.left, report.targets)

    def _rate_limit(self, target: str, reason: str) -> str | None:
        """Return the suffix of a line about a loss; ``None`` to suppress the line."""
        key = (target, reason)
        now = self._clock()
        last = self._last.get(key)
        if last is not None and now - last < INTERVAL:
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return None
        if len(self._last) >= _MAX_KEYS:
            self._last = {
                other: then
                for other, then in self._last.items()
                if now - then < INTERVAL or other in self._suppressed
            }
        self._last[key] = now
        count = self._suppressed.pop(key, 0)
        return f"; {count} more since the last such line" if count else ""
