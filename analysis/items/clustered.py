"""Means of items that are not independent: standard errors over clusters, and the intervals and tests from them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from analysis.items.benchmark import Floats
from analysis.levels import SIGNIFICANCE

Codes = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class ClusteredMean:
    """A mean with the standard error that clusters leave it, and Student's t for both."""

    mean: float
    se: float
    df: int
    """Clusters less one; with two ways of clustering, of the one that has fewer."""

    def interval(self, level: float) -> tuple[float, float]:
        """Of the mean, at a level such as 0.95."""
        half = float(stats.t.ppf((1 + level) / 2, self.df)) * self.se
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided, of a mean of 0; 1 where all is 0."""
        if self.se == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self.se, self.df))


def clustered_mean(value_N: Floats, cluster_N: Codes, run_N: Codes | None = None) -> ClusteredMean:
    """The mean of N values whose errors are shared within clusters, and within training runs where there are several.

    The standard error is the sandwich of a regression on a constant, with the correction G / (G - 1) of G clusters:
    with each value a cluster it is the sample standard deviation over the root of N. Two ways of clustering are
    put together as Cameron, Gelbach and Miller do (2011): the sum of both variances less that over their
    intersection; what clusters add to the intersection is never taken for less than nothing.

    Args:
        value_N: The values.
        cluster_N: Code of each value's cluster, from 0.
        run_N: Code of each value's training run, from 0; None for one run alone.

    Raises:
        ValueError: fewer than two clusters, or fewer than two runs where there are codes of runs.
    """
    residual_N = value_N - value_N.mean()
    by_cluster, clusters = _variance(residual_N, cluster_N)
    if run_N is None:
        return ClusteredMean(mean=float(value_N.mean()), se=by_cluster**0.5, df=clusters - 1)
    by_run, runs = _variance(residual_N, run_N)
    by_both, _ = _variance(residual_N, cluster_N * (int(run_N.max()) + 1) + run_N)
    variance = by_run + max(0.0, by_cluster - by_both)
    return ClusteredMean(mean=float(value_N.mean()), se=variance**0.5, df=min(clusters, runs) - 1)


def _variance(residual_N: Floats, cluster_N: Codes) -> tuple[float, int]:
    """Of the mean, and the number of clusters."""
    names, place_N = np.unique(cluster_N, return_inverse=True)
    count = len(names)
    if count < 2:
        raise ValueError("a standard error over clusters needs at least two of them")
    sum_G = np.bincount(place_N, weights=residual_N, minlength=count)
    return float((sum_G**2).sum()) * count / (count - 1) / len(residual_N) ** 2, count


def least_difference(se: float, df: int, *, level: float = SIGNIFICANCE, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided t test at ``level`` finds with probability ``power``.

    Args:
        se: Standard error of the difference.
        df: Degrees of freedom of the test.
        level: Share of false alarms.
        power: Share of studies that find a difference of that size.
    """
    critical = float(stats.t.ppf(1 - level / 2, df))
    # The noncentrality whose distribution has 1 - power below the critical value; what the other side finds is nothing.
    return float(special.nctdtrinc(df, 1 - power, critical)) * se
