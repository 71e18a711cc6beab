"""The weight at which the surface is highest for a generation ratio: Table 4's optimum, its star and its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.frame import EXPONENT
from analysis.gam import GamFit
from analysis.gam_basis import Array

STAR = 0.05
"""The paper stars a ratio where the predicted range is under 5% of the score range: the weight hardly matters there."""
PLACES = 501
"""Weights tried, evenly spaced in w_p, so that small weights are told apart."""
DRAWS, SEED, LEVEL = 4000, 0, 0.95
WHOLE = 0.9
"""An interval over this share of the w_p axis or more says nothing about the weight."""


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best weight at one generation ratio."""

    ratio: float
    plw: float
    low: float
    high: float
    """Percentile interval of the optimum over draws of the coefficients from their posterior."""
    predicted_range: float
    """Highest less lowest predicted score over the weights, as a share of the observed scores' range."""

    @property
    def starred(self) -> bool:
        """Whether the weight hardly matters at this ratio."""
        return self.predicted_range < STAR

    @property
    def undetermined(self) -> bool:
        """Whether the interval covers (nearly) all weights."""
        return bool(self.high**EXPONENT - self.low**EXPONENT >= WHOLE)


def optima(fit: GamFit, ratios: Sequence[float], *, draws: int = DRAWS, seed: int = SEED) -> list[Optimum]:
    """The best weight within the data's weights at each ratio.

    The interval is that of the place of the maximum, not of the score there: coefficients are drawn from N(estimate,
    posterior covariance) and every draw's best weight is taken, ends included. It holds for the model, given the
    smoothing parameters, and has no correction for looking at several ratios.

    Args:
        fit: the ratio model.
        ratios: generation ratios; outside of the data's range the surface is continued straight.
        draws: of the coefficients; the same for every ratio.
        seed: of the draws.
    """
    weight_M = weights(fit)
    mean_C = fit.surface_coefficient_C
    drawn_DC = np.random.default_rng(seed).multivariate_normal(
        mean_C, fit.surface_covariance_CC, size=draws, method="eigh", check_valid="ignore"
    )
    found = []
    for ratio in ratios:
        surface_MC = fit.surface(weight_M, np.full(len(weight_M), float(ratio)))
        curve_M = surface_MC @ mean_C
        best_D = weight_M[np.argmax(surface_MC @ drawn_DC.T, axis=0)]
        low, high = np.quantile(best_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
        found.append(
            Optimum(
                ratio=float(ratio),
                plw=float(weight_M[np.argmax(curve_M)]),
                low=float(low),
                high=float(high),
                predicted_range=float(np.ptp(curve_M) / fit.score_range),
            )
        )
    return found


def weights(fit: GamFit) -> Array:
    """Weights from the smallest to the largest of the data, evenly spaced in w_p."""
    low, high = (end**EXPONENT for end in fit.weight_range)
    weight_M: Array = np.linspace(low, high, PLACES) ** (1 / EXPONENT)
    # The ends without rounding, so that an optimum at 0 or 1 is told as such.
    weight_M[[0, -1]] = fit.weight_range
    return weight_M
