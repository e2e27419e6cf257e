"""Estimates from samples: percentiles, ratios and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from random import Random
from statistics import median
from typing import Final

#: Draws of a bootstrap interval: its ends move in the third digit from one run to the next.
_RESAMPLES: Final = 4_000


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of ``values`` that ``share`` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def ratio_of_medians(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the median of ``after`` over that of ``before``."""
    return median(after) / median(before)


def ratio_interval(
    before: Sequence[float], after: Sequence[float], random: Random
) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of :func:`ratio_of_medians`.

    Both sides are drawn anew, each from its own values (Efron's percentile method).
    """
    ratios = [
        ratio_of_medians(random.choices(before, k=len(before)), random.choices(after, k=len(after)))
        for _ in range(_RESAMPLES)
    ]
    return percentile(ratios, 0.025), percentile(ratios, 0.975)
