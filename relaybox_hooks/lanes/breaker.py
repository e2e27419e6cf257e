"""A circuit breaker: a pure state machine that takes the time as an argument."""

from __future__ import annotations

from collections.abc import Mapping

from relaybox_hooks.targets.policies import CLOSED, HALF_OPEN, OPEN, BreakerPolicy, BreakerState
from relaybox_hooks.validation import to_seconds


class Breaker:
    """Opens after failures in a row, lets one probe at a time through, closes on a success.

    ::

        closed --failures in a row--> open --cooldown over, admit()--> half-open
        half-open --success--> closed        half-open --failure--> open, twice the cooldown

    Times are seconds on whatever clock the caller uses. An attempt notes ``generation`` as it
    begins and hands it back with its failure: an attempt that began before the breaker last
    changed says nothing about the endpoint now, and must not be taken for the probe.

    Attributes:
        generation: how often the state has changed.
        healthy: closed, and the latest attempt did not fail: a success would change nothing.
        state: ``"closed"``, ``"open"`` or ``"half-open"``.
        until: while open, when a probe may be made.
    """

    __slots__ = ("_cooldown", "_failures", "_policy", "generation", "healthy", "state", "until")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._cooldown = to_seconds("cooldown", policy.cooldown)
        self.state: BreakerState = CLOSED
        self.healthy: bool = True
        self.until: float = 0.0
        self.generation: int = 0

    def admit(self, now: float) -> bool:
        """Return whether an attempt may begin now. While half-open, only the one probe may."""
        if self.state == CLOSED:
            return True
        if self.state == OPEN and now >= self.until:
            self._change(HALF_OPEN)
            return True
        return False

    def success(self) -> None:
        """Count an attempt, whenever it began, that showed that the endpoint works."""
        self._failures = 0
        self.healthy = True
        if self.state != CLOSED:
            self._change(CLOSED)
            self._cooldown = to_seconds("cooldown", self._policy.cooldown)

    def failure(self, now: float, generation: int) -> None:
        """Count an attempt that failed in a way that another may not.

        Args:
            now: the moment.
            generation: the breaker's as the attempt began.
        """
        if generation != self.generation:
            return
        self.healthy = False
        if self.state == HALF_OPEN:
            self._cooldown = min(self._cooldown * 2, to_seconds("maximum", self._policy.maximum))
            self._open(now)
        elif self.state == CLOSED:
            self._failures += 1
            if self._failures >= self._policy.failures:
                self._open(now)

    def inconclusive(self, now: float, generation: int) -> None:
        """Count an attempt that ended without an answer of the endpoint.

        If it was the probe, another may be made at once.
        """
        if generation == self.generation and self.state == HALF_OPEN:
            self._change(OPEN)
            self.until = now

    def saved(self, now: float, wall: float) -> dict[str, float] | None:
        """Return the state that is to survive a restart: JSON; ``None`` while it is closed.

        Args:
            now: the moment on the breaker's clock.
            wall: the same moment, seconds since the Unix epoch.
        """
        if self.state == CLOSED:
            return None
        wait = self.until - now if self.state == OPEN else 0.0
        return {"cooldown": self._cooldown, "until": wall + wait}

    def restore(self, saved: Mapping[str, float], now: float, wall: float) -> None:
        """Restore the state that ``saved()`` returned."""
        self._cooldown = saved["cooldown"]
        self.until = now + saved["until"] - wall
        self.healthy = False
        self._change(OPEN)

    def _open(self, now: float) -> None:
        self._change(OPEN)
        self.until = now + self._cooldown

    def _change(self, state: BreakerState) -> None:
        self.state = state
        self.generation += 1
