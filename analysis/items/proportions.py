"""Items that are right or wrong: intervals that hold where they are few, and McNemar's exact test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from analysis.items.clustered import Codes
from analysis.levels import SIGNIFICANCE

Rights = NDArray[np.bool_]

MEANS, CORRELATIONS = 200, 30
"""Places of the grid on which the Beta-Binomial's posterior is summed."""


def wilson(right: int, n: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion."""
    interval = stats.binomtest(right, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def beta_binomial(right_N: Rights, cluster_N: Codes, level: float) -> tuple[float, float]:
    """Interval of the mean proportion where items of one cluster share their chance of being right.

    The chances of the clusters follow a Beta distribution, of which the mean and the correlation of two items of a
    cluster are unknown, each uniform on 0 to 1 beforehand; the interval has (1 - level) / 2 of the mean's posterior on
    either side. With every item a cluster of its own it is that of the Beta posterior under a uniform prior.

    Args:
        right_N: Whether each item is right.
        cluster_N: Code of each item's cluster, from 0.
        level: Such as 0.95.
    """
    size_G = np.bincount(cluster_N)
    hits_G = np.bincount(cluster_N, weights=right_N).astype(np.intp)
    alike, times_U = np.unique(np.stack([hits_G, size_G], axis=1)[size_G > 0], axis=0, return_counts=True)
    if (alike[:, 1] == 1).all():
        right, n = int(right_N.sum()), len(right_N)
        low, high = stats.beta.ppf([(1 - level) / 2, (1 + level) / 2], right + 1, n - right + 1)
        return float(low), float(high)
    mean_M = _grid_around(float(right_N.mean()), len(right_N), int((size_G > 0).sum()))
    # Densest at 0: in large clusters a correlation of a thousandth counts.
    root_J = (np.arange(CORRELATIONS) + 0.5) / CORRELATIONS
    correlation_J = root_J**3
    strength_J = (1 - correlation_J) / correlation_J
    a_MJ = mean_M[:, None] * strength_J
    b_MJ = (1 - mean_M[:, None]) * strength_J
    log_MJ = np.zeros_like(a_MJ) - special.betaln(a_MJ, b_MJ) * times_U.sum()
    for (hits, size), times in zip(alike, times_U, strict=True):
        log_MJ += times * special.betaln(a_MJ + hits, b_MJ + size - hits)
    posterior_M = (np.exp(log_MJ - log_MJ.max()) * root_J**2).sum(axis=1)
    share_M = (np.cumsum(posterior_M) - posterior_M / 2) / posterior_M.sum()
    low, high = np.interp([(1 - level) / 2, (1 + level) / 2], share_M, mean_M)
    return float(low), float(high)


def _grid_around(mean: float, n: int, clusters: int) -> NDArray[np.float64]:
    """Evenly spaced places within 0 to 1 that hold the posterior, however strongly the items of a cluster agree."""
    centre = (mean * n + 1) / (n + 2)
    spread = (centre * (1 - centre) / (clusters + 3)) ** 0.5
    low, high = max(1e-9, centre - 8 * spread), min(1 - 1e-9, centre + 8 * spread)
    return np.linspace(low, high, MEANS)


@dataclass(frozen=True, kw_only=True)
class PairedProportions:
    """Two models on the same items, each right or wrong."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @classmethod
    def count(cls, a_N: Rights, b_N: Rights) -> "PairedProportions":
        """From the items."""
        both, only_a, only_b = int((a_N & b_N).sum()), int((a_N & ~b_N).sum()), int((~a_N & b_N).sum())
        return cls(both=both, only_a=only_a, only_b=only_b, neither=len(a_N) - both - only_a - only_b)

    @property
    def n(self) -> int:
        """Items."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def p(self) -> float:
        """McNemar's exact test: of the items on which the two differ, how uneven is the split."""
        split = self.only_a + self.only_b
        return float(stats.binomtest(self.only_b, split).pvalue) if split else 1.0

    def interval(self, level: float) -> tuple[float, float]:
        """Of the difference b - a, by Newcombe's hybrid score method for paired data (1998, method 10).

        It puts Wilson's limits of the two proportions together, with their correlation over the items, and holds
        where few items differ, where a standard error is too small or 0.
        """
        n = self.n
        a, b = (self.both + self.only_a) / n, (self.both + self.only_b) / n
        a_low, a_high = wilson(self.both + self.only_a, n, level)
        b_low, b_high = wilson(self.both + self.only_b, n, level)
        down = self._half(b - b_low, a_high - a)
        up = self._half(b_high - b, a - a_low)
        return b - a - down, b - a + up

    def _half(self, first: float, second: float) -> float:
        return float(np.sqrt(max(0.0, first**2 - 2 * self._correlation * first * second + second**2)))

    @property
    def _correlation(self) -> float:
        a_right, b_right = self.both + self.only_a, self.both + self.only_b
        margins = a_right * (self.n - a_right) * b_right * (self.n - b_right)
        if margins == 0:
            return 0.0
        product = self.both * self.neither - self.only_a * self.only_b
        # Newcombe's continuity correction; only an apparent positive correlation is reduced.
        corrected = max(0.0, product - self.n / 2) if product > 0 else float(product)
        return float(corrected / margins**0.5)

    def least_difference(self, level: float = SIGNIFICANCE, power: float = 0.8) -> float:
        """The smallest difference that the test finds with probability ``power``, at this share of differing items.

        By the normal approximation (Connor 1987). An item that differs either way is added: where no item
        differs, it is not known that none would.
        """
        share = (self.only_a + self.only_b + 1) / (self.n + 1)
        z_level, z_power = float(stats.norm.ppf(1 - level / 2)), float(stats.norm.ppf(power))
        # d = (z_level sqrt(share) + z_power sqrt(share - d^2)) / sqrt(n), solved for d.
        n, front = self.n, z_level * share**0.5
        square = z_power**2
        d = (front * n**0.5 + (max(0.0, square * (share * (n + square) - front**2))) ** 0.5) / (n + square)
        return float(min(1.0, d))
