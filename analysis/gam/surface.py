"""The surface of the ratio model over prompt weight and generation ratio, as contours and widgets draw it."""

from dataclasses import dataclass

import numpy as np

from analysis.arrays import Array
from analysis.gam.fit import GamFit
from analysis.gam.optimum import weights

SURFACE_RATIOS = 121


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Predicted mean over benchmarks on a grid, and its standard error."""

    weight_M: Array
    ratio_Y: Array
    score_YM: Array
    error_YM: Array


def surface(fit: GamFit, weight_M: Array | None = None, ratio_Y: Array | None = None) -> Surface:
    """The surface over the data's weights (evenly spaced in w_p) and ratios (evenly spaced in their logarithm)."""
    weight_M = weights(fit)[::5] if weight_M is None else weight_M
    low, high = fit.ratio_range
    ratio_Y = np.geomspace(low, high, SURFACE_RATIOS) if ratio_Y is None else ratio_Y
    ratio_N, weight_N = (axis.ravel() for axis in np.meshgrid(ratio_Y, weight_M, indexing="ij"))
    mean_N, error_N = fit.predict_average(weight_N, ratio_N)
    shape = len(ratio_Y), len(weight_M)
    return Surface(weight_M=weight_M, ratio_Y=ratio_Y, score_YM=mean_N.reshape(shape), error_YM=error_N.reshape(shape))
