"""The circuit breaker: a pure state machine that is told the time."""

from __future__ import annotations

from collections.abc import Mapping

from relaybox_hooks.targets.policies import CLOSED, HALF_OPEN, OPEN, BreakerPolicy, BreakerState
from relaybox_hooks.validation import to_seconds


class Breaker:
    """Opens after failures in a row, lets one probe at a time through, closes on a success.

    ::

        closed --failures in a row--> open --cooldown over, admit()--> half-open
        half-open --success--> closed        half-open --failure--> open, twice the cooldown

    Times are seconds on whatever clock the caller uses. An attempt notes ``turn`` as it begins
    and hands it back with its failure: what began before the breaker last moved says nothing
    about the endpoint now, and must not be taken for the probe.
    """

    __slots__ = ("_cooldown", "_failures", "_policy", "state", "turn", "until")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._cooldown = to_seconds("cooldown", policy.cooldown)
        self.state: BreakerState = CLOSED
        #: While open: when a probe may be made.
        self.until = 0.0
        #: How often the state has changed.
        self.turn = 0

    def admit(self, now: float) -> bool:
        """Whether an attempt may begin now. While half-open, only the one probe may."""
        if self.state == CLOSED:
            return True
        if self.state == OPEN and now >= self.until:
            self._move(HALF_OPEN)
            return True
        return False

    def success(self) -> None:
        """An attempt, whenever it began, showed that the endpoint works."""
        self._failures = 0
        if self.state != CLOSED:
            self._move(CLOSED)
            self._cooldown = to_seconds("cooldown", self._policy.cooldown)

    def failure(self, now: float, turn: int) -> None:
        """An attempt that began in ``turn`` failed in a way that another may not."""
        if turn != self.turn:
            return
        if self.state == HALF_OPEN:
            self._cooldown = min(self._cooldown * 2, to_seconds("maximum", self._policy.maximum))
            self._open(now)
        elif self.state == CLOSED:
            self._failures += 1
            if self._failures >= self._policy.failures:
                self._open(now)

    def abandon(self, now: float, turn: int) -> None:
        """An attempt that began in ``turn`` ended without an answer of the endpoint. If it was
        the probe, another may be made at once."""
        if turn == self.turn and self.state == HALF_OPEN:
            self._move(OPEN)
            self.until = now

    def saved(self, now: float, wall: float) -> dict[str, float] | None:
        """What must not be forgotten over a restart: JSON; ``None`` while it is closed.

        Args:
            now: the moment on the breaker's clock.
            wall: the same moment, seconds since the Unix epoch.
        """
        if self.state == CLOSED:
            return None
        wait = self.until - now if self.state == OPEN else 0.0
        return {"cooldown": self._cooldown, "until": wall + wait}

    def restore(self, saved: Mapping[str, float], now: float, wall: float) -> None:
        """Be as open as the breaker was that ``saved`` is of."""
        self._cooldown = saved["cooldown"]
        self.until = now + saved["until"] - wall
        self._move(OPEN)

    def _open(self, now: float) -> None:
        self._move(OPEN)
        self.until = now + self._cooldown

    def _move(self, state: BreakerState) -> None:
        self.state = state
        self.turn += 1
