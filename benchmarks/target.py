"""Targets: a figure, the limit that it is to keep, and whether the figure can be trusted.

A ratio of rounds whose quartiles lie further apart than 15 % of it has not settled: another run
may say something else. Such a figure is neither met nor missed. If it does not settle in
:data:`MOST_RUNS` runs, a steadier figure of the same rounds decides in its place: CPU time per
event in place of a rate, loop lag in thread CPU time in place of a 99th percentile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final, Literal, TypeAlias, TypeVar

from benchmarks.estimates import has_settled, quartiles

#: Runs in which a target may settle.
MOST_RUNS: Final = 5
#: Contender of a figure that is measured beside nothing.
ALONE: Final = "none"

Sense: TypeAlias = Literal["at most", "at least"]
Verdict: TypeAlias = Literal["met", "missed", "not settled", "reported"]

FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True)
class Target:
    """Limit of a figure, and the figure that was measured.

    Attributes:
        what: the question; its name within its benchmark.
        measured: the figure; of rounds their median.
        limit: what is allowed; None for a figure that is only reported.
        sense: the side of the limit that is allowed.
        contender: what it was measured beside, :data:`ALONE` for nothing. Such targets are in
            the page's first table; those with None are in their benchmark's alone.
        ratio: True for a ratio of rounds, which can fail to settle.
        quartiles: of the rounds; None where there are too few.
        stand_in: the target of the same benchmark that decides if this one does not settle.
        decided_by: that target, once it has decided.
        runs: runs that were made until it settled, or in all.
        spare: how many times as much as it got the receiver could take; None without one.
    """

    what: str
    measured: float
    limit: float | None
    sense: Sense = "at most"
    contender: str | None = None
    ratio: bool = False
    quartiles: tuple[float, float] | None = None
    stand_in: str | None = None
    decided_by: Target | None = None
    runs: int = 1
    spare: float | None = None

    @classmethod
    def of_ratios(
        cls,
        what: str,
        ratios: Sequence[float],
        limit: float | None,
        *,
        sense: Sense = "at most",
        contender: str | None = None,
        stand_in: str | None = None,
        spare: float | None = None,
    ) -> Target:
        """Return the target of a ratio that each round has one of."""
        return cls(
            what,
            median(ratios),
            limit,
            sense,
            contender,
            ratio=True,
            quartiles=quartiles(ratios),
            stand_in=stand_in,
            spare=spare,
        )

    @property
    def settled(self) -> bool:
        """True if the figure may be quoted; always, if it is no ratio."""
        return not self.ratio or has_settled(self.measured, self.quartiles)

    @property
    def verdict(self) -> Verdict:
        """Whether the limit is kept, as far as that can be told."""
        if not self.settled:
            return self.decided_by.verdict if self.decided_by else "not settled"
        if self.limit is None:
            return "reported"
        if self.sense == "at most":
            return "met" if self.measured <= self.limit else "missed"
        return "met" if self.measured >= self.limit else "missed"

    def as_json(self) -> dict[str, Any]:
        """Return what a run's file and the summary keep of it, without what is not known."""
        decider = self.decided_by
        kept: dict[str, Any] = {
            "what": self.what,
            "contender": self.contender,
            "measured": self.measured,
            "sense": self.sense,
            "limit": self.limit,
            "quartiles": list(self.quartiles) if self.quartiles else None,
            "settled": self.settled if self.ratio else None,
            "runs": self.runs,
            "decided_by": decider and {"what": decider.what, "measured": decider.measured},
            "spare": self.spare,
            "verdict": self.verdict,
        }
        return {name: value for name, value in kept.items() if value is not None}


def share_of_limit(target: Mapping[str, Any]) -> float | None:
    """Return a target's figure as a share of its limit, 1 at most where it is kept.

    None where there is nothing to share: nothing is allowed, or there is no limit.

    Args:
        target: as :meth:`Target.as_json` returns it.
    """
    measured, limit = target["measured"], target.get("limit")
    if not limit or not measured:
        return 0.0 if limit else None
    return float(measured / limit if target["sense"] == "at most" else limit / measured)


def until_settled(
    measure: Callable[[], FoundT],
    targets_of: Callable[[FoundT], Sequence[Target]],
    runs: int,
) -> tuple[FoundT, list[Target]]:
    """Measure until all targets have settled.

    Args:
        measure: makes one run.
        targets_of: the targets of a run, the same ones each time.
        runs: how many are made at most; at least one is.

    Returns:
        The last run, and each target of the first run that it settled in. One that settled in
        none has that of the last run, with ``decided_by`` its stand-in if that has settled.
    """
    kept: dict[str, Target] = {}
    for run in range(1, runs + 1):
        found = measure()
        for target in targets_of(found):
            earlier = kept.get(target.what)
            if earlier is None or not earlier.settled:
                kept[target.what] = replace(target, runs=run)
        if all(target.settled for target in kept.values()):
            break
    return found, [decided(target, kept) for target in kept.values()]


def decided(target: Target, others: Mapping[str, Target]) -> Target:
    """Return ``target`` as its stand-in decides it, if it has had its runs and did not settle.

    Args:
        others: the benchmark's targets by name.
    """
    if target.settled or target.runs < MOST_RUNS or target.stand_in is None:
        return target
    decider = others[target.stand_in]
    return replace(target, decided_by=decider) if decider.settled else target
