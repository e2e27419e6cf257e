"""The circuit breaker: a pure state machine that is told the time."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from relaybox_hooks.targets.policies import BreakerPolicy, seconds

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"


class Breaker:
    """Opens after failures in a row, lets one probe at a time through, closes on a success.

    ::

        closed --failures in a row--> open --cooldown over, admit()--> half-open
        half-open --success--> closed        half-open --failure--> open, twice the cooldown

    Times are seconds on whatever clock the caller uses. An attempt notes ``turn`` as it begins
    and hands it back with its failure: what began before the breaker last moved says nothing
    about the endpoint now, and must not be taken for the probe.
    """

    __slots__ = ("_failures", "_policy", "cooldown", "state", "turn", "until")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        #: Seconds it stays open for, the next time or this.
        self.cooldown = seconds("cooldown", policy.cooldown)
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
            self.cooldown = seconds("cooldown", self._policy.cooldown)

    def failure(self, now: float, turn: int) -> None:
        """An attempt that began in ``turn`` failed in a way that another may not."""
        if turn != self.turn:
            return
        if self.state == HALF_OPEN:
            self.cooldown = min(self.cooldown * 2, seconds("maximum", self._policy.maximum))
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

    def reopen(self, cooldown: float, until: float) -> None:
        """Be open until ``until``, as another breaker of the same endpoint was."""
        self.cooldown = cooldown
        self.until = until
        self._move(OPEN)

    def _open(self, now: float) -> None:
        self._move(OPEN)
        self.until = now + self.cooldown

    def _move(self, state: BreakerState) -> None:
        self.state = state
        self.turn += 1
