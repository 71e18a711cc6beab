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
    df: float
    """Clusters less one where they are alike, fewer where they are not; with two ways of clustering, of the one that
    has fewer."""

    def interval(self, level: float) -> tuple[float, float]:
        """Of the mean, at a level such as 0.95."""
        half = float(stats.t.ppf((1 + level) / 2, self.df)) * self.se
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided, of a mean of 0. Where the standard error is 0 t says nothing, and it is the sign test's."""
        if self.se == 0:
            return 1.0 if self.mean == 0 else float(min(1.0, 2 * 0.5 ** (self.df + 1)))
        return float(2 * stats.t.sf(abs(self.mean) / self.se, self.df))


def clustered_mean(value_N: Floats, cluster_N: Codes, unit_N: Codes | None = None) -> ClusteredMean:
    """The mean of N values whose errors are shared within clusters, and within training runs where they are a sample.

    The standard error is the sandwich of a regression on a constant, with the correction G / (G - 1) of G clusters:
    with each value a cluster it is the sample standard deviation over the root of N. Its degrees of freedom are
    Satterthwaite's, as Bell and McCaffrey (2002) have them, for errors that are correlated within clusters as the
    values are: G - 1 where clusters are of one size, fewer where few large ones make the error. Two ways of clustering
    are put together as Cameron, Gelbach and Miller do (2011): the sum of both variances less that over their
    intersection; what clusters add to the intersection is never taken for less than nothing.

    Args:
        value_N: The values.
        cluster_N: Code of each value's cluster, from 0.
        unit_N: Code of each value's training run or base model, from 0; None where they are not a sample.

    Raises:
        ValueError: fewer than two clusters, or fewer than two units where there are codes of units.
    """
    mean = float(value_N.mean())
    residual_N = value_N - mean
    clusters = _Clusters.of(residual_N, cluster_N)
    if unit_N is None:
        return ClusteredMean(mean=mean, se=clusters.variance**0.5, df=clusters.df)
    units = _Clusters.of(residual_N, unit_N)
    both = _Clusters.of(residual_N, cluster_N * (int(unit_N.max()) + 1) + unit_N)
    variance = units.variance + max(0.0, clusters.variance - both.variance)
    return ClusteredMean(mean=mean, se=variance**0.5, df=min(clusters.df, units.df))


@dataclass(frozen=True, kw_only=True)
class _Clusters:
    """Sizes of G clusters and the sums of their residuals."""

    size_G: Floats
    sum_G: Floats
    square: float
    """Sum of the squared residuals."""

    @classmethod
    def of(cls, residual_N: Floats, cluster_N: Codes) -> "_Clusters":
        place_N = np.unique(cluster_N, return_inverse=True)[1]
        size_G = np.bincount(place_N).astype(np.float64)
        if len(size_G) < 2:
            raise ValueError("a standard error over clusters needs at least two of them")
        sum_G = np.bincount(place_N, weights=residual_N).astype(np.float64)
        return cls(size_G=size_G, sum_G=sum_G, square=float((residual_N**2).sum()))

    @property
    def variance(self) -> float:
        """Of the mean."""
        count = len(self.size_G)
        return float((self.sum_G**2).sum()) * count / (count - 1) / float(self.size_G.sum()) ** 2

    @property
    def df(self) -> float:
        """Twice the squared mean of the variance's estimate over the variance of that estimate, for normal errors."""
        size_G, count = self.size_G, len(self.size_G)
        if (size_G == size_G[0]).all():
            return count - 1
        # The sum of a cluster's residuals has the covariance [g = h] v_g - f_h v_g - f_g v_h + f_g f_h V; the trace,
        # and the sum of its squares, in sums over clusters.
        share_G = size_G / size_G.sum()
        v_G = size_G * (1 + (size_G - 1) * self._correlation)
        total, alike, mixed, shares = v_G.sum(), (v_G**2).sum(), (share_G * v_G).sum(), (share_G**2).sum()
        diagonal_G = -2 * share_G * v_G + share_G**2 * total
        trace = float((v_G + diagonal_G).sum())
        between = 2 * alike * shares + 2 * mixed**2 + total**2 * shares**2 - 4 * total * mixed * shares
        return float(trace**2 / (between + ((v_G + diagonal_G) ** 2 - diagonal_G**2).sum()))

    @property
    def _correlation(self) -> float:
        """Of two values of a cluster, by the analysis of variance; within 0 to 1."""
        size_G, count, n = self.size_G, len(self.size_G), self.size_G.sum()
        between = float((self.sum_G**2 / size_G).sum())
        within = (self.square - between) / max(1.0, n - count)
        typical = float(n - (size_G**2).sum() / n) / (count - 1)
        shared = (between / (count - 1) - within) / typical
        return min(1.0, max(0.0, shared / (shared + within))) if shared > 0 else 0.0


def least_difference(se: float, df: float, *, level: float = SIGNIFICANCE, power: float = 0.8) -> float:
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
