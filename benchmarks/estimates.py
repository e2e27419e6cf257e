"""Estimates from samples: percentiles, ratios and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from random import Random
from statistics import median, quantiles
from typing import Final

#: Share of a ratio that its quartiles may lie apart: further apart it has not settled.
_APART: Final = 0.15

#: Draws of a bootstrap interval: its ends move in the third digit from one run to the next.
_RESAMPLES: Final = 4_000


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of ``values`` that ``share`` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def quartiles(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the first and the third quartile of ``values``; None of fewer than two."""
    if len(values) < 2:
        return None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def has_settled(ratio: float, between: tuple[float, float] | None) -> bool:
    """Return True if a ratio may be quoted: its quartiles are known, and close enough."""
    if between is None:
        return False
    low, high = between
    # Rounded, so that 15 % of a ratio in the page's digits are 15 %.
    return round(high - low, 9) <= round(_APART * abs(ratio), 9)


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
