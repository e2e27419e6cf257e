"""Outcomes of attempts, and when the next one is due. Pure: time and randomness are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from relaybox_hooks.targets.policies import RetryPolicy

#: Seconds, some thirty years: a longer ``Retry-After`` is read as this. Policies cap it anyway.
_LONGEST: Final = 1e9


#: Seconds: the resolution of an attempt's timestamp. Two attempts in one millisecond would be the
#: same request, signature included, and a receiver would refuse the second as a replay.
_TICK: Final = 0.001


#: What follows from an attempt: nothing more, another attempt, no further attempt, or none at
#: this webhook at all (410).
Verdict: TypeAlias = Literal["delivered", "retry", "failed", "gone"]

DELIVERED: Final = "delivered"
RETRY: Final = "retry"
FAILED: Final = "failed"
ENDPOINT_GONE: Final = "gone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of an attempt, with the real status or error.

    Attributes:
        verdict: ``"delivered"``, ``"retry"``, ``"failed"`` (final) or ``"gone"`` (410).
        status: the HTTP status, or ``None`` where there was none.
        error: the class of the error, or ``None`` where there was a status.
        detail: the error's message, or what to do about the status.
        retry_after: seconds the receiver asked to wait, or ``None``.
        peer: address and port that answered, or ``None``.
    """

    verdict: Verdict
    status: int | None = None
    error: str | None = None
    detail: str = ""
    retry_after: float | None = None
    peer: str | None = None

    def __str__(self) -> str:
        what = f"status {self.status}" if self.status else str(self.error)
        return f"{what}: {self.detail}" if self.detail else what


#: Equal outcomes are one object: thousands of deliveries may wait after the same answer.
_outcome: Final = lru_cache(maxsize=256)(Outcome)


def of_status(
    status: int,
    retry_after: str | None,
    policy: RetryPolicy,
    now: float,
    peer: str | None = None,
) -> Outcome:
    """Return the outcome of a response.

    Args:
        status: 100 to 599.
        retry_after: the ``Retry-After`` header's text, or ``None``.
        policy: says which statuses are tried again.
        now: seconds since the Unix epoch, for a ``Retry-After`` that is a date.
        peer: who answered.
    """
    if 200 <= status < 300:
        return _outcome(DELIVERED, status, peer=peer)
    if status == 410:
        return _outcome(ENDPOINT_GONE, status, detail="the endpoint is gone for good", peer=peer)
    if status in policy.statuses:
        wait = None if retry_after is None else parse_retry_after(retry_after, now)
        return _outcome(RETRY, status, retry_after=wait, peer=peer)
    detail = ""
    if 300 <= status < 400:
        detail = "redirects are not followed; register the final URL"
    return _outcome(FAILED, status, detail=detail, peer=peer)


def parse_retry_after(text: str, now: float) -> float | None:
    """Return seconds from ``now``, or ``None`` where the header is neither seconds nor a date.

    RFC 9110 §10.2.3: a whole number of seconds, or an HTTP date.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST)
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, when.timestamp() - now)
    except (ValueError, IndexError, OverflowError):
        return None


def next_delay(
    outcome: Outcome, attempts: int, policy: RetryPolicy, random: Callable[[], float]
) -> float | None:
    """Return seconds until the next attempt, ``None`` where none will be made."""
    if outcome.verdict != RETRY:
        return None
    delay = policy.delay(attempts, outcome.retry_after, random)
    return None if delay is None else max(delay, _TICK)
