"""What a prompt weight gains over weight 0, from differences that several trainings show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.arrays import Array
from analysis.levels import SIGNIFICANCE

MIN_TRAININGS = 3
"""Trainings from which their own scatter is the error; with fewer it is the items'."""


@dataclass(frozen=True, kw_only=True)
class WeightGain:
    """The weight of the best mean, in points over weight 0; 95 % intervals, corrected for the choice (Bonferroni)."""

    weight: float
    gain: float
    low: float
    high: float
    excluded: float
    """The largest difference from weight 0, either way and at any weight, that the intervals still allow."""
    samples: int

    @property
    def shown(self) -> bool:
        """Whether the weight is better than 0 beyond the error of the whole choice."""
        return self.low > 0


def weight_gain(difference_SW: Array, weights: Sequence[float], error_W: Array | None = None) -> WeightGain:
    """The best of several weights above 0.

    Args:
        difference_SW: points over weight 0 of the same training otherwise, [samples, weights].
        weights: of the columns, above 0.
        error_W: standard errors of the columns' means by their items, where there are fewer than three samples.
    """
    samples, count = difference_SW.shape
    mean_W = difference_SW.mean(axis=0)
    tail = 1 - SIGNIFICANCE / (2 * count)
    if samples >= MIN_TRAININGS or error_W is None:
        spread_W = difference_SW.std(axis=0, ddof=1) if samples > 1 else np.full(count, np.inf)
        reach_W = stats.t.ppf(tail, max(1, samples - 1)) * spread_W / np.sqrt(samples)
    else:
        reach_W = stats.norm.ppf(tail) * error_W
    best = int(mean_W.argmax())
    return WeightGain(
        weight=float(weights[best]),
        gain=float(mean_W[best]),
        low=float(mean_W[best] - reach_W[best]),
        high=float(mean_W[best] + reach_W[best]),
        excluded=float((np.abs(mean_W) + reach_W).max()),
        samples=samples,
    )
