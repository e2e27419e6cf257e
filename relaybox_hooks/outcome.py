"""What an attempt came to, and when the next is due. Pure: told the time, given randomness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import Final

from relaybox_hooks.targets.policies import RetryPolicy

#: Seconds; a ``Retry-After`` beyond is read as this, some thirty years, and capped in any case.
_LONGEST: Final = 1e9


#: Seconds: the resolution of an attempt's timestamp. Two attempts in one and the same millisecond
#: would be the same request, signature included, and a receiver would take it for a replay.
_TICK: Final = 0.001


class Verdict(Enum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to, with the real status or error.

    Attributes:
        verdict: what follows from it.
        status: the HTTP status, or ``None`` where there was none.
        error: the class of the error, or ``None`` where there was a status.
        detail: what the error said, or what to do about the status.
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
    """The outcome of a response.

    Args:
        status: 100 to 599.
        retry_after: the ``Retry-After`` header's text, or ``None``.
        policy: says which statuses are tried again.
        now: seconds since the Unix epoch, for a ``Retry-After`` that is a date.
        peer: who answered.
    """
    if 200 <= status < 300:
        return _outcome(Verdict.DELIVERED, status, peer=peer)
    if status == 410:
        return _outcome(Verdict.GONE, status, detail="the endpoint is gone for good", peer=peer)
    if status in policy.statuses:
        wait = None if retry_after is None else parse_retry_after(retry_after, now)
        return _outcome(Verdict.RETRY, status, retry_after=wait, peer=peer)
    detail = ""
    if 300 <= status < 400:
        detail = "redirects are not followed; register the final URL"
    return _outcome(Verdict.FAILED, status, detail=detail, peer=peer)


def parse_retry_after(text: str, now: float) -> float | None:
    """Seconds from ``now``, or ``None`` where the header is neither seconds nor a date.

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
    """Seconds until the next attempt after this outcome, ``None`` where none will be made."""
    if outcome.verdict is not Verdict.RETRY:
        return None
    delay = policy.delay(attempts, outcome.retry_after, random)
    return None if delay is None else max(delay, _TICK)
