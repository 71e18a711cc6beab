"""The weight at which the surface is highest for a generation ratio: Table 4's optimum, its star and its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.arrays import Array, covariance_root
from analysis.gam.fit import GamFit
from analysis.levels import TAILS
from analysis.scores.frame import EXPONENT, weight_scale

STAR = 0.05
"""The paper stars a ratio where the predicted range is under 5% of the score range: the weight hardly matters there."""
PLACES = 501
"""Weights tried, evenly spaced in w_p, so that small weights are told apart."""
OPTIMUM_DRAWS = 2000
MIN_BENCHMARKS = 3
"""With fewer, how benchmarks differ cannot be told."""
WHOLE = 0.9
"""An interval over this share of the w_p axis or more says nothing about the weight."""


@dataclass(frozen=True, kw_only=True)
class RatioOptimum:
    """The best weight at one generation ratio."""

    ratio: float
    plw: float
    low: float
    high: float
    """95% interval: of ``over``."""
    over: str
    """``benchmarks``: takes whole benchmarks for independent; ``scores``: there are too few, so single scores."""
    score_low: float
    score_high: float
    """95% interval that takes single scores for independent, as the model does; too narrow where benchmarks bend."""
    predicted_range: float
    """Highest less lowest predicted score over the weights, as a share of the observed scores' range."""

    @property
    def starred(self) -> bool:
        """Whether the weight hardly matters at this ratio."""
        return self.predicted_range < STAR

    @property
    def undetermined(self) -> bool:
        """Whether the interval covers (nearly) all weights."""
        return bool(weight_scale(self.high) - weight_scale(self.low) >= WHOLE)


def optima(fit: GamFit, ratios: Sequence[float], *, draws: int = OPTIMUM_DRAWS, seed: int = 0) -> list[RatioOptimum]:
    """The best weight within the data's weights at each ratio.

    The interval is that of the place of the maximum, not of the score there: coefficients are drawn around their
    estimates and every draw's best weight is taken, ends included; its quantiles are the interval. Over scores the
    draws are normal with the posterior covariance. Over benchmarks they are Student's t with G - 1 degrees of freedom
    and the covariance clustered by the G benchmarks, since each has a curve of its own that the model does not know
    of. Both are given the smoothing parameters, and have no correction for looking at several ratios.

    Args:
        fit: the ratio model.
        ratios: generation ratios; outside of the data's range the surface is continued straight.
        draws: of the coefficients; the same for every ratio.
        seed: of the draws.
    """
    weight_M, mean_C = weights(fit), fit.surface_coefficient_C
    generator, groups = np.random.default_rng(seed), len(fit.benchmarks)
    normal_ZC = generator.standard_normal((draws, len(mean_C)))
    drawn = {"scores": mean_C + normal_ZC @ covariance_root(fit.surface_covariance_CC).T}
    if groups >= MIN_BENCHMARKS:
        tail_Z1 = np.sqrt((groups - 1) / generator.chisquare(groups - 1, (draws, 1)))
        drawn["benchmarks"] = mean_C + normal_ZC @ covariance_root(fit.surface_clustered_CC).T * tail_Z1
    over = "benchmarks" if "benchmarks" in drawn else "scores"
    found = []
    for ratio in ratios:
        surface_MC = fit.surface(weight_M, np.full(len(weight_M), float(ratio)))
        curve_M = surface_MC @ mean_C
        ends = {name: _ends(surface_MC @ drawn_ZC.T, weight_M) for name, drawn_ZC in drawn.items()}
        found.append(
            RatioOptimum(
                ratio=float(ratio),
                plw=float(weight_M[np.argmax(curve_M)]),
                low=ends[over][0],
                high=ends[over][1],
                over=over,
                score_low=ends["scores"][0],
                score_high=ends["scores"][1],
                predicted_range=float(np.ptp(curve_M) / fit.score_range),
            )
        )
    return found


def _ends(curve_MZ: Array, weight_M: Array) -> tuple[float, float]:
    best_Z = weight_M[np.argmax(curve_MZ, axis=0)]
    low, high = np.quantile(best_Z, TAILS, method="nearest")
    return float(low), float(high)


def weights(fit: GamFit) -> Array:
    """Weights from the smallest to the largest of the data, evenly spaced in w_p."""
    low, high = map(weight_scale, fit.weight_range)
    weight_M: Array = np.linspace(low, high, PLACES) ** (1 / EXPONENT)
    # The ends without rounding, so that an optimum at 0 or 1 is told as such.
    weight_M[[0, -1]] = fit.weight_range
    return weight_M
